"""Streams through the whole stack, however they are cut into reads: traps 15 and 16."""

import json

import pytest

from tests.system.traps.caller import CHAT, Answer, Line, chat, fault, over_lines
from tests.system.traps.conftest import World, until

pytestmark = pytest.mark.system

SAID = "Grüße, 東京 🎉🏳️‍🌈 \\n data: [DONE] \\u2028 ünïcödé ends"
SAY = f"[[say:{SAID}]]"
FEATURES = {"summarize": "openai", "vllm": "vllm", "claude": "anthropic"}


@pytest.mark.parametrize("asked", [None, False, True])
@pytest.mark.parametrize("feature", [*FEATURES])
async def test_15_usage_comes_exactly_when_asked_for(world: World, feature: str, *, asked: bool | None) -> None:
    counted = f'copilot/{feature}"'
    before = world.total("gen_ai_client_token_usage_count", counted)
    fields = {} if asked is None else {"stream_options": {"include_usage": asked}}
    line = world.line()
    answer = await line.ask(chat("[[tokens:5]] usage", feature, stream=True, max_tokens=50, **fields))
    line.close()
    assert answer.done
    chunks = [event for event in answer.events if isinstance(event, dict)]
    usages = [chunk for chunk in chunks if chunk.get("usage")]
    if asked:
        assert usages == chunks[-1:]
        assert usages[0]["choices"] == []
        assert usages[0]["usage"]["completion_tokens"] == 5
    else:
        assert usages == []
        assert all(chunk["choices"] for chunk in chunks)
    assert sum(bool(chunk["choices"] and chunk["choices"][0].get("finish_reason")) for chunk in chunks) == 1
    await until(lambda: world.total("gen_ai_client_token_usage_count", counted) == before + 2)


@pytest.mark.parametrize("feature", [*FEATURES])
async def test_15_messages_always_say_their_usage(world: World, feature: str) -> None:
    line = world.line()
    answer = await line.ask(chat("[[tokens:5]] usage", feature, stream=True, max_tokens=50), path="/v1/messages")
    line.close()
    kinds = [event["type"] for event in answer.events]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    (delta,) = [event for event in answer.events if event["type"] == "message_delta"]
    assert delta["usage"]["output_tokens"] == 5


def told(answer: Answer, path: str) -> str:
    if path == "/v1/messages":
        return "".join(
            event["delta"].get("text", "") for event in answer.events if event["type"] == "content_block_delta"
        )
    return answer.text


@pytest.mark.parametrize(
    ("feature", "path"),
    [
        ("patient", "/v1/chat/completions"),
        ("claude", "/v1/chat/completions"),
        ("claude", "/v1/messages"),
        ("patient", "/v1/messages"),
    ],
)
async def test_16_every_split_of_the_bytes_gives_the_same_text(world: World, feature: str, path: str) -> None:
    line = world.line()
    whole = await line.ask(chat(SAY, feature, stream=True, max_tokens=90), path=path)
    line.close()
    text = told(whole, path)
    assert "東京 🎉" in text

    async def split(line: Line, at: int) -> tuple[bool, str]:
        prompt = fault("split", split_at=at, gap_s=0.003) + SAY
        answer = await line.ask(chat(prompt, feature, stream=True, max_tokens=90), path=path)
        return answer.whole and not answer.in_band_error, told(answer, path)

    # The upstream's own stream is longer than what is passed on, by the framing and the usage event.
    step = 1 if feature == "patient" and path == CHAT else 5
    found = await over_lines(world.url, range(0, len(whole.body) * 4 // 3, step), split, lines=48)
    assert set(found) == {(True, text)}


@pytest.mark.parametrize(
    "kind", ["drip", "crlf", "comments", "extra_fields", "multi_line", "odd_chunks", "eof_body", "gzip"]
)
@pytest.mark.parametrize("feature", ["summarize", "claude"])
async def test_16_unusual_streams_give_the_same_text(world: World, kind: str, feature: str) -> None:
    line = world.line()
    plain = await line.ask(chat(SAY, feature, stream=True, max_tokens=90))
    figures = {"gap_s": 0.0005} if kind == "drip" else {}
    answer = await line.ask(chat(fault(kind, **figures) + SAY, feature, stream=True, max_tokens=90))
    line.close()
    assert (answer.text, answer.done, answer.whole) == (plain.text, True, True)
    assert json.dumps(answer.text)


async def test_16_a_callers_bytes_may_be_split_anywhere_too(world: World) -> None:
    body = json.dumps(chat(SAY, user="Grüße"), ensure_ascii=False).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer gp-traps-test\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    )
    request = head + body

    async def split(line: Line, at: int) -> tuple[int, str]:
        await line.send_raw(request[:at])
        assert line.writer is not None
        await line.writer.drain()
        await line.pause()
        await line.send_raw(request[at:])
        answer = await line.answer()
        return answer.status, answer.text

    found = await over_lines(world.url, range(1, len(request)), split, lines=32)
    assert len(set(found)) == 1
    assert found[0][0] == 200
    assert "東京 🎉" in found[0][1]
