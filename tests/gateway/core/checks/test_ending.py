from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.checks.ending import Ending, ending_of, truncated

PROSE = "the report says that sales in the north grew by a tenth because two large customers moved their orders " * 3


def stream(*events: object) -> bytes:
    return "".join(f"data: {json.dumps(each)}\n\n" for each in events).encode() + b"data: [DONE]\n\n"


def chat(reason: str | None, index: int = 0) -> dict[str, object]:
    return {"choices": [{"index": index, "delta": {}, "message": {"content": "x"}, "finish_reason": reason}]}


WHOLE = [
    (chat("stop"), Ending.STOP),
    (chat("length"), Ending.LENGTH),
    (chat("tool_calls"), Ending.TOOL),
    (chat("content_filter"), Ending.REFUSED),
    (chat(None), Ending.UNKNOWN),
    (chat("brand_new"), Ending.UNKNOWN),
    (chat("length", index=1), Ending.UNKNOWN),
    ({"status": "completed", "output": []}, Ending.STOP),
    ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, Ending.LENGTH),
    ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, Ending.REFUSED),
    ({"type": "message", "stop_reason": "end_turn"}, Ending.STOP),
    ({"type": "message", "stop_reason": "max_tokens"}, Ending.LENGTH),
    ({"type": "message", "stop_reason": "refusal"}, Ending.REFUSED),
    ([], Ending.UNKNOWN),
]


@pytest.mark.parametrize(("answer", "ending"), WHOLE)
def test_whole_answers(answer: object, ending: Ending) -> None:
    assert ending_of(json.dumps(answer).encode(), stream=False) is ending


@pytest.mark.parametrize(
    ("body", "ending"),
    [
        (stream(chat(None), chat("length"), {"choices": [], "usage": {}}), Ending.LENGTH),
        (stream(chat("length", index=1), chat("stop")), Ending.STOP),
        (stream({"choices": [{"delta": {"content": "finish_reason"}}]}), Ending.UNKNOWN),
        (stream({"type": "response.completed", "response": {"status": "completed"}}), Ending.STOP),
        (stream({"type": "response.output_text.delta", "delta": '"status"', "status": None}), Ending.UNKNOWN),
        (
            stream(
                {
                    "type": "x",
                    "response": {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
                }
            ),
            Ending.LENGTH,
        ),
        (
            stream({"type": "message_delta", "delta": {"stop_reason": "tool_use"}}, {"type": "message_stop"}),
            Ending.TOOL,
        ),
        (b"data: _reason\n\n", Ending.UNKNOWN),
    ],
)
def test_streams(body: bytes, ending: Ending) -> None:
    assert ending_of(body, stream=True) is ending


@given(st.binary(), st.booleans())
def test_nonsense_has_an_unknown_end(body: bytes, streamed: bool) -> None:  # noqa: FBT001  drawn
    assert isinstance(ending_of(body, stream=streamed), Ending)


@pytest.mark.parametrize(
    ("text", "ending", "verdict"),
    [
        ("Whole.", Ending.LENGTH, True),
        ("and then", Ending.STOP, False),
        ("```python\nprint(", Ending.STOP, True),
        ("```python\nprint()\n```", Ending.STOP, False),
        ("```x", Ending.TOOL, False),
        ("no", Ending.REFUSED, False),
        ("short", Ending.UNKNOWN, None),
        (PROSE, Ending.UNKNOWN, True),
        (PROSE + "and,", Ending.UNKNOWN, True),
        (PROSE + "so it is.", Ending.UNKNOWN, False),
        (PROSE + "in 2024", Ending.UNKNOWN, None),
        (PROSE + "\nAnna", Ending.UNKNOWN, None),
        (PROSE + "\n- one more thing", Ending.UNKNOWN, None),
        (PROSE + "``` x ``` and", Ending.UNKNOWN, None),
    ],
)
def test_truncated(text: str, ending: Ending, verdict: bool | None) -> None:  # noqa: FBT001  a table
    assert truncated(text, ending) is verdict
