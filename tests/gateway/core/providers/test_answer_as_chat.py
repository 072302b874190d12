import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ApiError
from gateway.core.providers.answer_as_chat import FINISH_OF_STOP, Counts, ThinkingCount, answer_as_chat, chat_usage
from gateway.core.sse_typed import MessageCounts

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "h\u00e9"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 3},
}


def translate(**fields: object) -> dict[str, object]:
    return json.loads(answer_as_chat(json.dumps({**MESSAGE, **fields}).encode(), 1_700_000_000))


def test_a_whole_answer() -> None:
    assert translate() == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "claude",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "h\u00e9", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


def test_thoughts_texts_and_tool_calls() -> None:
    message = translate(
        content=[
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "text", "text": "a"},
            {"type": "text", "text": "b"},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": "\u00e9"}},
            {"type": "tool_use", "id": "t2", "name": "g"},
        ]
    )["choices"][0]["message"]
    assert (message["content"], message["reasoning"]) == ("ab", "hm")
    first, second = message["tool_calls"]
    assert json.loads(first["function"].pop("arguments")) == {"a": "\u00e9"}
    assert first == {"id": "t1", "type": "function", "function": {"name": "f"}}
    assert second == {"id": "t2", "type": "function", "function": {"name": "g", "arguments": "{}"}}


def test_calls_without_words_and_nothing_at_all() -> None:
    used = translate(content=[{"type": "tool_use", "id": "t", "name": "f", "input": {}}])
    assert used["choices"][0]["message"]["content"] is None
    assert translate(content=[])["choices"][0]["message"]["content"] == ""


@pytest.mark.parametrize(("stop", "finish"), [*FINISH_OF_STOP.items(), (None, "stop"), ("new", "stop")])
def test_why_generation_ended(stop: str | None, finish: str) -> None:
    assert translate(stop_reason=stop)["choices"][0]["finish_reason"] == finish


def test_the_prompts_tokens_include_cached_ones() -> None:
    counts = Counts(5, 20, 100, 3, ThinkingCount(2))
    assert chat_usage(counts) == {
        "prompt_tokens": 125,
        "completion_tokens": 3,
        "total_tokens": 128,
        "prompt_tokens_details": {"cached_tokens": 100},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert "completion_tokens_details" not in chat_usage(Counts(output_tokens_details=ThinkingCount()))
    assert "completion_tokens_details" not in chat_usage(MessageCounts())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"content":5}',
        b'{"content":[{"type":"tool_use","input":{"a":"\xff"}}]}',
        b'{"content":' + b"[" * 9_999,
    ],
)
def test_what_is_no_message_is_the_upstreams_fault(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        answer_as_chat(body, 0)
    assert (caught.value.status, caught.value.code) == (502, "upstream_bad_answer")


@given(st.binary(max_size=40))
def test_any_bytes_raise_nothing_but_an_api_error(body: bytes) -> None:
    with pytest.raises(ApiError):
        answer_as_chat(body, 0)
