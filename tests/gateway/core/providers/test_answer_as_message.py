import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ApiError
from gateway.core.providers.answer_as_chat import answer_as_chat
from gateway.core.providers.answer_as_message import ChatCounts, answer_as_message, message_usage, stop_of

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def translate(finish: str | None = "stop", usage: object = None, **message: object) -> dict[str, object]:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}
    return json.loads(answer_as_message(json.dumps(body).encode()))


def test_a_whole_answer() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    assert translate(content="h\u00e9", usage=usage) == {
        "id": "chatcmpl-1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "h\u00e9"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens": 3,
        },
    }


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_thoughts_texts_and_tool_calls(name: str) -> None:
    bare = {"function": {"name": "g", "arguments": None}}
    answer = translate("tool_calls", content="a", tool_calls=[CALL, bare], **{name: "hm"})
    assert answer["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "chatcmpl-1_1", "name": "g", "input": {}},
    ]
    assert answer["stop_reason"] == "tool_use"


def test_a_refusal_is_text() -> None:
    answer = translate(refusal="no")
    assert (answer["content"], answer["stop_reason"]) == ([{"type": "text", "text": "no"}], "refusal")


def test_a_call_cut_off_by_the_limit_is_left_out() -> None:
    cut = {"id": "c", "function": {"name": "f", "arguments": '{"a'}}
    answer = translate("length", content="a", tool_calls=[CALL, cut])
    assert [block["type"] for block in answer["content"]] == ["text", "tool_use"]
    assert answer["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("finish", "matched", "called", "refused", "stop"),
    [
        ("stop", None, False, False, ("end_turn", None)),
        ("stop", "END", False, False, ("stop_sequence", "END")),
        ("stop", 151645, False, False, ("end_turn", None)),
        ("stop", None, True, False, ("tool_use", None)),
        ("stop", None, False, True, ("refusal", None)),
        ("length", None, True, False, ("max_tokens", None)),
        ("tool_calls", None, True, False, ("tool_use", None)),
        ("function_call", None, False, False, ("tool_use", None)),
        ("content_filter", None, False, False, ("refusal", None)),
        ("abort", None, False, False, ("end_turn", None)),
        (None, None, False, False, ("end_turn", None)),
    ],
)
def test_why_generation_ended(
    *, finish: str | None, matched: str | int | None, called: bool, refused: bool, stop: tuple[str, str | None]
) -> None:
    assert stop_of(finish, matched, called=called, refused=refused) == stop


def test_more_cached_than_sent_is_not_believed() -> None:
    assert message_usage(ChatCounts(3))["input_tokens"] == 3
    body = translate(content="a", usage={"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 9}})
    assert (body["usage"]["input_tokens"], body["usage"]["cache_read_input_tokens"]) == (0, 3)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":[{"message":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"x"}}]}}]}',
    ],
)
def test_what_is_no_chat_completion_is_the_upstreams_fault(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        answer_as_message(body)
    assert (caught.value.status, caught.value.code) == (502, "upstream_bad_answer")


@given(st.binary(max_size=40))
def test_any_bytes_raise_nothing_but_an_api_error(body: bytes) -> None:
    with pytest.raises(ApiError):
        answer_as_message(body)


@given(st.text(max_size=9), st.dictionaries(st.text(max_size=5), st.integers(), max_size=3))
def test_there_and_back_again(said: str, given_input: dict[str, int]) -> None:
    blocks = [{"type": "text", "text": said}] if said else []
    blocks += [{"type": "tool_use", "id": "t", "name": "f", "input": given_input}]
    message = {"id": "m", "model": "c", "content": blocks, "stop_reason": "tool_use", "usage": {"input_tokens": 1}}
    back = json.loads(answer_as_message(answer_as_chat(json.dumps(message).encode(), 0)))
    assert (back["content"], back["stop_reason"]) == (blocks, "tool_use")
