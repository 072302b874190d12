import json

import pytest

from loadtests.simulator.answers import Answer, Finish
from loadtests.simulator.events import Events, Ident, Part
from loadtests.simulator.responses import body, events, response_id
from loadtests.simulator.tools import ToolCall
from loadtests.simulator.wire import Api, Ask

ASK = Ask(Api.RESPONSES, "m", "q", 3, stream=True)
IDENT = Ident("abc", 1_700_000_000)
CALLS = Answer((), Finish.TOOL_CALLS, (ToolCall("f", '{"a":1}'), ToolCall("g", "{}")))


def payloads(stream: Events) -> list[dict]:
    data = [*stream.opening, *stream.contents, *(each for _, each in stream.closing)]
    found = [each.decode().split("\n") for each in data]
    parsed = [json.loads(lines[1].removeprefix("data: ")) for lines in found]
    assert [lines[0].removeprefix("event: ") for lines in found] == [payload["type"] for payload in parsed]
    assert [payload["sequence_number"] for payload in parsed] == list(range(len(parsed)))
    return parsed


def test_a_text_comes_in_the_official_order() -> None:
    found = payloads(events(ASK, Answer(("He", "llo"), Finish.STOP), IDENT))
    assert [payload["type"].removeprefix("response.") for payload in found] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [payload["delta"] for payload in found if "delta" in payload] == ["He", "llo"]
    assert found[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"


def test_calls_come_one_after_the_other_and_their_arguments_add_up() -> None:
    stream = events(ASK, CALLS, IDENT)
    found = payloads(stream)
    for index, call in enumerate(CALLS.calls):
        mine = [payload for payload in found if payload.get("output_index") == index]
        assert mine[0]["type"] == "response.output_item.added"
        assert mine[0]["item"]["arguments"] == ""
        assert "".join(payload["delta"] for payload in mine if "delta" in payload) == call.arguments
        assert [payload["type"] for payload in mine[-2:]] == [
            "response.function_call_arguments.done",
            "response.output_item.done",
        ]
        assert mine[-1]["item"] == found[-1]["response"]["output"][index]
    assert [part for part, _ in stream.closing] == [Part.FINISH, Part.FINISH, Part.DONE]


@pytest.mark.parametrize(
    ("finish", "status", "reason"),
    [
        (Finish.STOP, "completed", None),
        (Finish.LENGTH, "incomplete", "max_output_tokens"),
        (Finish.CONTENT_FILTER, "incomplete", "content_filter"),
    ],
)
def test_an_answer_cut_short_is_incomplete_with_a_reason(finish: Finish, status: str, reason: str | None) -> None:
    found = body(ASK, Answer(("a",), finish), IDENT)
    assert found["status"] == status
    assert (found["incomplete_details"] or {}).get("reason") == reason
    assert found["usage"]["total_tokens"] == 4
    assert payloads(events(ASK, Answer(("a",), finish), IDENT))[-1]["type"] == f"response.{status}"


def test_what_was_asked_is_repeated_and_the_id_names_the_answer() -> None:
    ask = ASK._replace(previous_id="resp_1", store=True, echoed={"metadata": {"a": "b"}, "temperature": 0.5})
    found = body(ask, CALLS, IDENT)
    assert found["id"] == response_id(IDENT)
    assert (found["previous_response_id"], found["store"]) == ("resp_1", True)
    assert (found["metadata"], found["temperature"]) == ({"a": "b"}, 0.5)
    assert [item["type"] for item in found["output"]] == ["function_call"] * 2
