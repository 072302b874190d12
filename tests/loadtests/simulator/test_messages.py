import json

import pytest

from loadtests.simulator.answers import Answer, Finish
from loadtests.simulator.events import Events, Ident
from loadtests.simulator.messages import body, events
from loadtests.simulator.tools import ToolCall
from loadtests.simulator.wire import Api, Ask

ASK = Ask(Api.MESSAGES, "m", "q", 3, stream=True)
IDENT = Ident("abc", 1_700_000_000)
CALLS = Answer((), Finish.TOOL_CALLS, (ToolCall("f", '{"a":1}'), ToolCall("g", "{}")))


def payloads(stream: Events) -> list[dict]:
    data = [*stream.opening, *stream.contents, *(each for _, each in stream.closing)]
    found = [each.decode().split("\n") for each in data]
    parsed = [json.loads(lines[1].removeprefix("data: ")) for lines in found]
    assert [lines[0].removeprefix("event: ") for lines in found] == [payload["type"] for payload in parsed]
    return parsed


def test_a_text_is_one_block_between_start_and_stop() -> None:
    found = payloads(events(ASK, Answer(("He", "llo"), Finish.STOP), IDENT))
    assert [payload["type"] for payload in found] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert found[0]["message"]["content"] == []
    assert [payload["delta"]["text"] for payload in found[3:5]] == ["He", "llo"]
    assert found[6]["usage"]["output_tokens"] == 2


def test_calls_are_a_block_each_and_their_json_adds_up() -> None:
    found = payloads(events(ASK, CALLS, IDENT))
    for index, call in enumerate(CALLS.calls):
        mine = [payload for payload in found if payload.get("index") == index]
        assert (mine[0]["content_block"]["name"], mine[0]["content_block"]["input"]) == (call.name, {})
        assert "".join(payload["delta"]["partial_json"] for payload in mine[1:-1]) == call.arguments
        assert mine[-1]["type"] == "content_block_stop"
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [(Finish.STOP, "end_turn"), (Finish.LENGTH, "max_tokens"), (Finish.CONTENT_FILTER, "refusal")],
)
def test_a_message_says_why_it_ended(finish: Finish, reason: str) -> None:
    found = body(ASK, Answer(("a",), finish), IDENT)
    assert (found["stop_reason"], found["content"]) == (reason, [{"type": "text", "text": "a"}])
    assert (found["usage"]["input_tokens"], found["usage"]["output_tokens"]) == (3, 1)


def test_a_message_of_calls_has_their_inputs_as_objects() -> None:
    assert [block["input"] for block in body(ASK, CALLS, IDENT)["content"]] == [{"a": 1}, {}]
