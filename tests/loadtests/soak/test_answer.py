import json

import pytest

from loadtests.soak.answer import Fate, fate_of
from loadtests.soak.plan import PlannedCall


def call(operation: str = "chat", *, stream: bool = True) -> PlannedCall:
    return PlannedCall(0, "id", operation, b"", stream, b"abc123", None, 0.0)


def fate(body: bytes, operation: str = "chat", status: int = 200, *, stream: bool = True) -> Fate:
    return fate_of(call(operation, stream=stream), status, body)[0]


SAID = b'data: {"choices":[{"delta":{"content":"abc123"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (SAID + DONE, Fate.WHOLE),
        (SAID, Fate.BROKEN),
        (DONE, Fate.WRONG),
        (SAID + SAID + DONE, Fate.WRONG),
        (SAID + b'data: {"error":{}}\n\n', Fate.TOLD),
        (SAID + b'data: {"error":{}}\n\n' + DONE, Fate.BROKEN),
    ],
)
def test_a_stream_of_a_chat(body: bytes, expected: Fate) -> None:
    assert fate(body) is expected


def test_a_stream_of_a_response_repeats_its_text_at_the_end() -> None:
    delta = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"abc123"}\n\n'
    end = b'event: response.completed\ndata: {"type":"response.completed","text":"abc123"}\n\n'
    assert fate(delta + end, "responses") is Fate.WHOLE
    assert fate(delta + delta + end, "responses") is Fate.WRONG
    assert fate(delta, "responses") is Fate.BROKEN
    assert fate(delta + b'event: error\ndata: {"type":"error"}\n\n', "responses") is Fate.TOLD


def test_a_stream_of_a_message() -> None:
    assert fate(b"data: abc123\n\nevent: message_stop\ndata: {}\n\n", "messages") is Fate.WHOLE


def test_a_plain_answer_holds_its_marker_once() -> None:
    assert fate(b'{"text":"abc123"}', stream=False) is Fate.WHOLE
    assert fate(b'{"text":"another"}', stream=False) is Fate.WRONG


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error":"x"}', b'{"error":{"message":"m"}}'])
def test_an_error_of_another_shape_is_no_answer(body: bytes) -> None:
    assert fate(body, status=503) is Fate.BROKEN


def test_an_error_answer_says_its_code() -> None:
    error = {"error": {"message": "m", "type": "t", "param": None, "code": "c"}}
    assert fate_of(call(), 503, json.dumps(error).encode()) == (Fate.REFUSED, "503 c")
