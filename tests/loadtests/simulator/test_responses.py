import json

import pytest

from loadtests.simulator.answers import Answer, Finish
from loadtests.simulator.chunks import Ident
from loadtests.simulator.responses import body, events
from loadtests.simulator.wire import Api, Ask

ASK = Ask(Api.RESPONSES, "m", "q", 3, stream=True)
IDENT = Ident("abc", 1_700_000_000)


def test_events_are_named_as_they_say_and_numbered_without_gaps() -> None:
    stream = events(ASK, Answer(("He", "llo"), Finish.STOP), IDENT)
    found = [data.decode().split("\n") for part in stream for data in part]
    payloads = [json.loads(lines[1].removeprefix("data: ")) for lines in found]
    assert [lines[0].removeprefix("event: ") for lines in found] == [payload["type"] for payload in payloads]
    assert [payload["sequence_number"] for payload in payloads] == list(range(10))
    assert [payload["delta"] for payload in payloads if "delta" in payload] == ["He", "llo"]
    assert payloads[-1]["type"] == "response.completed"
    assert payloads[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"


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
    last = events(ASK, Answer(("a",), finish), IDENT).closing[-1]
    assert last.startswith(f"event: response.{status}\n".encode())
