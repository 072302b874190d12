"""The text of answers, whole and streamed: both shapes of an answer give the same text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.answer_text import answer_text

OPERATIONS = ("chat", "text_completion", "responses", "messages")


def plain(value: object) -> bytes:
    return json.dumps(value).encode()


def stream(*events: object, done: bool = True) -> bytes:
    lines = [f"data: {json.dumps(each)}\n\n" for each in events]
    return "".join([": ping\n\n", *lines, "data: [DONE]\n\n" * done]).encode()


def chunk(index: int = 0, **delta: object) -> dict[str, object]:
    return {"choices": [{"index": index, "delta": delta}]}


def called(index: int, **function: str) -> dict[str, object]:
    return chunk(tool_calls=[{"index": index, "function": function}])


WHOLE = {
    "chat": {"choices": [{"index": 1, "message": {"content": "no"}}, {"message": {"content": "Hej"}}]},
    "text_completion": {"choices": [{"index": 0, "text": "Hej"}]},
    "responses": {
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "He"}, {"text": "j"}]},
        ]
    },
    "messages": {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hej"}]},
}
STREAMED = {
    "chat": stream(chunk(role="assistant"), chunk(content="He"), chunk(1, content="x"), chunk(content="j")),
    "text_completion": stream({"choices": [{"text": "He"}]}, {"choices": [{"text": "j"}]}, {"choices": []}),
    "responses": stream(
        {"type": "response.created", "response": {"output": []}},
        {"type": "response.output_text.delta", "delta": "Hej"},
        {"type": "response.completed", "response": WHOLE["responses"]},
        done=False,
    ),
    "messages": stream(
        {"type": "message_start", "message": {}},
        {"type": "content_block_start", "content_block": {"type": "text", "text": "H"}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "ej"}},
        {"type": "message_stop"},
        done=False,
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_whole_and_streamed_answers_have_the_same_text(operation: str) -> None:
    assert answer_text(operation, plain(WHOLE[operation]), stream=False) == "Hej"
    assert answer_text(operation, STREAMED[operation], stream=True) == "Hej"


CALLS = {
    "chat": {
        "choices": [{"message": {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]
    },
    "responses": {"output": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
    "messages": {"content": [{"type": "tool_use", "name": "f", "input": {}}]},
}
STREAMED_CALLS = {
    "chat": stream(called(0, name="f"), called(0, arguments="{"), called(0, arguments="}"), chunk(tool_calls=[{}])),
    "responses": stream({"type": "response.incomplete", "response": CALLS["responses"]}),
    "messages": stream(
        {"type": "message_start"},
        {"type": "content_block_delta", "delta": {"partial_json": "lost"}},
        {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f"}},
        {"type": "content_block_delta", "delta": {"partial_json": "{"}},
        {"type": "content_block_delta", "delta": {"partial_json": "}"}},
    ),
}


@pytest.mark.parametrize("operation", CALLS)
def test_a_call_of_a_tool_is_a_line(operation: str) -> None:
    assert answer_text(operation, plain(CALLS[operation]), stream=False) == "f({})"
    assert answer_text(operation, STREAMED_CALLS[operation], stream=True) == "f({})"


def test_what_the_model_refuses_is_text_too_and_a_call_comes_after_it() -> None:
    message = {"refusal": "No.", "tool_calls": [{"function": {"name": "f"}}, {}]}
    assert answer_text("chat", plain({"choices": [{"message": message}]}), stream=False) == "No.\nf()"
    assert answer_text("chat", stream(chunk(refusal="No.")), stream=True) == "No."


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"choices":[]}', b"\xff", b"data: {\n\n", b"data: {}\n\n"]
)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_is_no_answer_has_no_text(operation: str, body: bytes, streamed: bool) -> None:  # noqa: FBT001
    assert answer_text(operation, body, stream=streamed) is None


@given(body=st.binary(max_size=200), operation=st.sampled_from(OPERATIONS), streamed=st.booleans())
def test_no_bytes_raise(body: bytes, operation: str, streamed: bool) -> None:  # noqa: FBT001
    assert isinstance(answer_text(operation, body, stream=streamed), str | None)


@given(text=st.text(max_size=40))
def test_a_text_comes_out_as_it_went_in(text: str) -> None:
    assert answer_text("chat", plain({"choices": [{"message": {"content": text}}]}), stream=False) == text
    assert answer_text("chat", stream(*[chunk(content=each) for each in text], chunk()), stream=True) == text
