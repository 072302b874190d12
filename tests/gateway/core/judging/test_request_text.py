"""What was asked, of each operation, as a judge reads it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.judging.request_text import request_text, turns_of

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {}}}
CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Ulm"}'}}


def read(operation: str, **fields: object) -> str | None:
    return request_text(operation, json.dumps(fields).encode())


def test_a_chat_is_read_turn_by_turn() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "How warm"}, {"type": "text", "text": "is it?"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL, {"function": None}, 7]},
        {"role": "tool", "tool_call_id": "c", "content": "21"},
        "no message",
    ]
    assert read("chat", messages=messages) == (
        'system:\nBe brief.\n\nuser:\nHow warm\nis it?\n\nassistant:\nweather({"city":"Ulm"})\n\ntool:\n21'
    )


def test_what_else_an_answer_has_to_fit_is_told() -> None:
    user = [{"role": "user", "content": "hi"}]
    told = read("chat", messages=user, tools=[TOOL, {"type": "web"}, 3], response_format={"type": "json_object"})
    assert told == 'user:\nhi\n\n(tools on offer: weather, web)\n\n(form of the answer: {"type":"json_object"})'
    assert read("responses", input="hi", text={"format": "x"}, tools=[{"name": "f"}]) == (
        'user:\nhi\n\n(tools on offer: f)\n\n(form of the answer: {"format":"x"})'
    )


@pytest.mark.parametrize(("prompt", "text"), [("Once", "user:\nOnce"), (["a", "b"], "user:\na"), ([[1, 2]], None)])
def test_a_prompt_is_what_a_user_says(prompt: object, text: str | None) -> None:
    """Token numbers are no text."""
    assert read("text_completion", prompt=prompt) == text


def test_responses_have_instructions_and_items() -> None:
    assert read("responses", instructions="Brief.", input="hi") == "system:\nBrief.\n\nuser:\nhi"
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "u"}]},
        {"type": "function_call", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "output": "21"},
        5,
    ]
    assert read("responses", input=items) == (
        "user:\nhi\n[input_image]\n\nfunction_call:\nweather({})\n\nfunction_call_output:\n21"
    )


def test_messages_have_blocks_and_results_within_results() -> None:
    blocks = [
        {"type": "tool_use", "name": "weather", "input": {"city": "Ulm"}},
        {"type": "tool_result", "content": [{"type": "text", "text": "21"}, {"type": "image", "source": {}}]},
        {"type": "refusal", "refusal": "No."},
    ]
    system = [{"type": "text", "text": "Brief."}]
    assert read("messages", system=system, messages=[{"role": "user", "content": blocks}]) == (
        'system:\nBrief.\n\nuser:\nweather({"city":"Ulm"})\n21\n[image]\nNo.'
    )


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"messages":5}', b'{"messages":[{"role":"user","content":""}]}', b'{"messages":[{"role"'],
)
def test_where_nothing_can_be_read_there_is_nothing(body: bytes) -> None:
    assert request_text("chat", body) is None


def test_of_a_great_many_turns_the_first_and_the_last_are_read() -> None:
    text = read("chat", messages=[{"role": "user", "content": f"turn {number}"} for number in range(1_000)])
    assert text is not None
    assert "user:\nturn 99\n\n(left out):\n600 more\n\nuser:\nturn 700\n" in text
    assert text.startswith("user:\nturn 0\n")
    assert text.endswith("turn 999")
    parts = [{"type": "text", "text": str(number)} for number in range(401)]
    assert "\n99\n1 more\n101\n" in str(read("chat", messages=[{"role": "user", "content": parts}]))


def test_depth_is_no_way_to_break_it() -> None:
    deep = b'{"content":[' * 400 + b'"x"' + b"]}" * 400
    assert request_text("chat", b'{"messages":[{"role":"user","content":[' + deep + b"]}]}") in {None, "user:\nx"}
    assert request_text("chat", b'{"messages":' + b"[" * 100_000) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "type", "name", "input", "tool_calls", "function", "output"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=30,
)


@given(
    st.sampled_from(["chat", "text_completion", "responses", "messages"]),
    st.dictionaries(
        st.sampled_from(["messages", "prompt", "input", "instructions", "system", "tools", "text"]), VALUES, max_size=5
    ),
)
def test_no_body_breaks_it(operation: str, fields: dict[str, object]) -> None:
    text = read(operation, **fields)
    assert text is None or text


def test_turns_without_what_else_an_answer_has_to_fit() -> None:
    body = b'{"messages":[{"role":"system","content":""},{"role":"user","content":"hi"}],"tools":[{"type":"x"}]}'
    assert turns_of("chat", body) == [("user", "hi")]
    assert turns_of("chat", b"{") == []
