"""The simulator as the official OpenAI SDK sees it, over a real socket; and its start and stop."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI

from loadtests.errors import InvalidFileError, PortUnavailableError
from loadtests.simulator import MODEL, Fault, FaultKind, Latency, RunningSimulator, SimulatorConfig, start

PROMPT = [{"role": "user", "content": "What is it?"}]
REFERENCE = "It is 42, said Anna."


@pytest.fixture
async def sdk() -> AsyncIterator:
    clients: list[AsyncOpenAI] = []

    def begin(simulator: RunningSimulator, key: str = "key") -> AsyncOpenAI:
        clients.append(AsyncOpenAI(base_url=simulator.base_url, api_key=key, max_retries=0, timeout=15))
        return clients[-1]

    yield begin
    for client in clients:
        await client.close()


@pytest.fixture
def references(tmp_path: Path) -> str:
    path = tmp_path / "references.jsonl"
    path.write_text(json.dumps({"task": "draft", "messages": PROMPT, "reference": REFERENCE}) + "\n")
    return str(path)


async def chunks_of(client: AsyncOpenAI, **more: object) -> list:
    stream = await client.chat.completions.create(model=MODEL, messages=PROMPT, stream=True, **more)
    return [chunk async for chunk in stream]


async def test_chat(simulate, sdk, references) -> None:
    client = sdk(await simulate(references=references, accuracy=1.0))
    raw = await client.chat.completions.with_raw_response.create(model=MODEL, messages=PROMPT)
    assert raw.headers["x-glidepath-simulator"] == "1"
    answer = raw.parse()
    assert answer.model == "simulated-partner"
    assert answer.choices[0].message.content == REFERENCE
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


async def test_chat_stream(simulate, sdk, references) -> None:
    client = sdk(await simulate(references=references, accuracy=1.0))
    chunks = await chunks_of(client, stream_options={"include_usage": True})
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == REFERENCE
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len(chunks) - 3
    plain = await chunks_of(client)
    assert all(chunk.choices and chunk.usage is None for chunk in plain)


async def test_completions(simulate, sdk, references) -> None:
    client = sdk(await simulate(references=references, accuracy=1.0))
    answer = await client.completions.create(model=MODEL, prompt="What is it?")
    assert answer.choices[0].text == REFERENCE
    stream = await client.completions.create(model=MODEL, prompt="What is it?", stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == REFERENCE
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_responses(simulate, sdk, references) -> None:
    client = sdk(await simulate(references=references, accuracy=1.0))
    answer = await client.responses.create(model=MODEL, input="What is it?")
    assert (answer.output_text, answer.status) == (REFERENCE, "completed")
    async with client.responses.stream(model=MODEL, input="What is it?") as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert "".join(deltas) == final.output_text == REFERENCE
    assert final.usage.output_tokens == len(deltas)


async def test_models(simulate, sdk) -> None:
    client = sdk(await simulate())
    assert [model.id async for model in client.models.list()] == ["simulated-partner"]


async def test_a_wrong_answer_with_accuracy_0_is_fluent(simulate, sdk, references) -> None:
    client = sdk(await simulate(references=references, accuracy=0.0))
    answer = await client.chat.completions.create(model=MODEL, messages=PROMPT)
    assert answer.choices[0].message.content != REFERENCE
    assert len(answer.choices[0].message.content) == len(REFERENCE)


async def test_errors_are_openai_errors(simulate, sdk) -> None:
    simulator = await simulate(require_key="right")
    with pytest.raises(openai.AuthenticationError) as unauthorised:
        await chunks_of(sdk(simulator, "wrong"))
    assert unauthorised.value.code == "invalid_api_key"
    client = sdk(simulator, "right")
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.chat.completions.create(model="gpt-none", messages=PROMPT)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model=MODEL, messages=[])
    assert bad.value.param == "messages"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(FaultKind.RESET), openai.APIConnectionError),
        (Fault(FaultKind.CLOSE), openai.APIConnectionError),
        (Fault(FaultKind.CONTEXT_OVERFLOW), openai.BadRequestError),
        (Fault(FaultKind.STATUS, status=429), openai.RateLimitError),
        (Fault(FaultKind.STATUS, status=500), openai.InternalServerError),
        (Fault(FaultKind.STATUS, status=502), openai.InternalServerError),
        (Fault(FaultKind.STATUS, status=503), openai.InternalServerError),
        (Fault(FaultKind.STATUS, status=529), openai.InternalServerError),
    ],
)
async def test_faults_before_an_answer_raise(simulate, sdk, fault, error) -> None:
    with pytest.raises(error):
        await sdk(await simulate(fault)).chat.completions.create(model=MODEL, messages=PROMPT)


@pytest.mark.parametrize(("after_s", "header"), [(None, None), (3.0, "3")])
async def test_429_with_and_without_retry_after(simulate, sdk, after_s, header) -> None:
    client = sdk(await simulate(Fault(FaultKind.STATUS, status=429, retry_after_s=after_s)))
    with pytest.raises(openai.RateLimitError) as limited:
        await chunks_of(client)
    assert limited.value.response.headers.get("retry-after") == header
    assert limited.value.code == "rate_limit_exceeded"


@pytest.mark.parametrize("kind", [FaultKind.BLACK_HOLE, FaultKind.SLOW_HEADERS])
async def test_no_headers_in_time_is_a_timeout(simulate, sdk, kind) -> None:
    client = sdk(await simulate(Fault(kind, delay_s=60))).with_options(timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        await client.chat.completions.create(model=MODEL, messages=PROMPT)


@pytest.mark.parametrize("kind", [FaultKind.CUT_STREAM, FaultKind.BAD_CHUNK])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_broken_off_raises(simulate, sdk, kind, stream) -> None:
    client = sdk(await simulate(Fault(kind, events=2)))
    asked = chunks_of(client) if stream else client.chat.completions.create(model=MODEL, messages=PROMPT)
    with pytest.raises(Exception, match=r"peer closed|incomplete|illegal chunk|Connection error"):
        await asked


@pytest.mark.parametrize("kind", [FaultKind.STALL, FaultKind.SLOW_BODY])
async def test_a_body_that_stalls_is_a_timeout_after_its_first_events(simulate, sdk, kind) -> None:
    client = sdk(await simulate(Fault(kind, events=2, delay_s=60))).with_options(timeout=0.3)
    with pytest.raises(Exception, match=r"(?i)time"):
        await chunks_of(client)


async def test_a_stream_that_ends_cleanly_too_early_looks_like_success_to_the_sdk(simulate, sdk) -> None:
    cut = await chunks_of(sdk(await simulate(Fault(FaultKind.CLEAN_CUT, events=2))))
    assert [chunk.choices[0].finish_reason for chunk in cut] == [None, None]
    undone = await chunks_of(sdk(await simulate(Fault(FaultKind.MISSING_DONE))))
    assert undone[-1].choices[0].finish_reason == "stop"


async def test_an_error_event_in_the_stream_raises(simulate, sdk) -> None:
    with pytest.raises(openai.APIError, match="overloaded"):
        await chunks_of(sdk(await simulate(Fault(FaultKind.ERROR_EVENT, events=2))))


async def test_a_content_filter_is_a_finish_reason(simulate, sdk) -> None:
    client = sdk(await simulate(Fault(FaultKind.CONTENT_FILTER, events=2)))
    assert (await chunks_of(client))[-1].choices[0].finish_reason == "content_filter"
    answer = await client.chat.completions.create(model=MODEL, messages=PROMPT)
    assert answer.choices[0].finish_reason == "content_filter"


async def test_a_length_too_long_raises_and_one_too_short_leaves_broken_json(simulate, sdk) -> None:
    with pytest.raises(openai.APIConnectionError):
        await sdk(await simulate(Fault(FaultKind.WRONG_LENGTH))).chat.completions.create(model=MODEL, messages=PROMPT)
    client = sdk(await simulate(Fault(FaultKind.WRONG_LENGTH, length_delta=-20)))
    with pytest.raises((json.JSONDecodeError, openai.APIError)):
        await client.chat.completions.create(model=MODEL, messages=PROMPT)


async def test_a_huge_answer_arrives_whole(simulate, sdk) -> None:
    client = sdk(await simulate(Fault(FaultKind.HUGE_ANSWER, size_bytes=3_000_000)))
    answer = await client.chat.completions.create(model=MODEL, messages=PROMPT)
    assert len(answer.choices[0].message.content) == 3_000_000


async def test_a_gzipped_answer_is_understood(simulate, sdk) -> None:
    client = sdk(await simulate(Fault(FaultKind.GZIP)))
    answer = await client.chat.completions.create(model=MODEL, messages=PROMPT)
    assert "simulated" in answer.choices[0].message.content
    assert (await chunks_of(client))[-1].choices[0].finish_reason == "stop"


async def test_a_taken_port_is_a_one_line_cause(simulate) -> None:
    taken = await simulate()
    with pytest.raises(PortUnavailableError) as caught:
        await start(SimulatorConfig(), port=taken.port)
    assert str(taken.port) in caught.value.cause
    assert "\n" not in caught.value.cause
    assert caught.value.exit_code != 0


async def test_missing_references_are_refused_before_listening() -> None:
    with pytest.raises(InvalidFileError, match="cannot read"):
        await start(SimulatorConfig(references="/nonexistent/refs.jsonl"))


async def test_token_times_reach_the_client_in_order(simulate, sdk) -> None:
    client = sdk(await simulate(latency=Latency(0.02, 0.3, 0.005, 0.3), generic_tokens=5))
    chunks = await chunks_of(client)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "This is a simulated"
