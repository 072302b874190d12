import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.simulator.answers import Answer, Finish
from loadtests.simulator.chat import DONE, body, events
from loadtests.simulator.events import Ident, Part
from loadtests.simulator.tools import ToolCall
from loadtests.simulator.wire import Api, Ask

IDENT = Ident("abc", 1_700_000_000)
ANSWER = Answer(("He", "llo"), Finish.STOP)
CALLS = Answer((), Finish.TOOL_CALLS, (ToolCall("f", '{"a":1}'), ToolCall("g", "{}")))
ASK = Ask(Api.CHAT, "m", "q", 3, stream=True)


def payload(data: bytes) -> dict:
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    assert b"\r" not in data
    return json.loads(data[6:])


def test_a_stream_has_the_role_first_then_content_finish_and_done() -> None:
    stream = events(ASK, ANSWER, IDENT)
    (opening,) = map(payload, stream.opening)
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [payload(data)["choices"][0]["delta"] for data in stream.contents] == [{"content": "He"}, {"content": "llo"}]
    (finish_part, finish), done = stream.closing
    assert finish_part is Part.FINISH
    assert payload(finish)["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert done == (Part.DONE, DONE)


def test_usage_comes_in_a_chunk_without_choices_only_if_asked() -> None:
    asked = events(ASK._replace(include_usage=True), ANSWER, IDENT)
    (usage,) = [payload(data) for part, data in asked.closing if part is Part.USAGE]
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert all(payload(data)["usage"] is None for data in asked.opening + asked.contents)
    plain = events(ASK, ANSWER, IDENT)
    assert all(b"usage" not in data for data in plain.opening + plain.contents)


@given(st.lists(st.text(), max_size=5))
def test_spliced_content_is_what_encoding_the_whole_chunk_would_give(pieces: list[str]) -> None:
    stream = events(ASK, Answer(tuple(pieces), Finish.STOP), IDENT)
    assert [payload(data)["choices"][0]["delta"]["content"] for data in stream.contents] == pieces


def test_a_single_body_has_the_answer_usage_and_a_name_that_says_simulated() -> None:
    found = body(ASK, ANSWER, IDENT)
    assert found["choices"][0]["message"]["content"] == "Hello"
    assert found["object"] == "chat.completion"
    assert found["system_fingerprint"] == "fp_simulator"
    assert found["usage"]["total_tokens"] == 5


def test_several_choices_share_the_stream_and_each_has_role_text_and_finish() -> None:
    ask = ASK._replace(choices=3)
    stream = events(ask, ANSWER, IDENT)
    for index in range(3):
        found = [payload(data)["choices"][0] for data in (*stream.opening, *stream.contents)]
        mine = [choice["delta"] for choice in found if choice["index"] == index]
        assert mine[0]["role"] == "assistant"
        assert "".join(delta["content"] for delta in mine) == "Hello"
    assert [payload(data)["choices"][0]["index"] for _, data in stream.closing[:-1]] == [0, 1, 2]
    whole = body(ask, ANSWER, IDENT)
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert whole["usage"]["completion_tokens"] == 6


def test_logprobs_cover_each_token() -> None:
    ask = ASK._replace(logprobs=2)
    content = body(ask, ANSWER, IDENT)["choices"][0]["logprobs"]["content"]
    assert [each["token"] for each in content] == ["He", "llo"]
    assert all(len(each["top_logprobs"]) == 2 for each in content)
    streamed = [payload(data)["choices"][0]["logprobs"]["content"] for data in events(ask, ANSWER, IDENT).contents]
    assert [each for part in streamed for each in part] == content


def test_calls_take_the_place_of_content() -> None:
    message = body(ASK, CALLS, IDENT)["choices"][0]["message"]
    assert message["content"] is None
    assert [call["function"] for call in message["tool_calls"]] == [
        {"name": "f", "arguments": '{"a":1}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert len({call["id"] for call in message["tool_calls"]}) == 2


@pytest.mark.parametrize("choices", [1, 2])
def test_streamed_calls_come_name_first_and_their_arguments_add_up(choices: int) -> None:
    stream = events(ASK._replace(choices=choices), CALLS, IDENT)
    found = [payload(data)["choices"][0] for data in stream.contents]
    for choice in range(choices):
        deltas = [each["delta"]["tool_calls"][0] for each in found if each["index"] == choice]
        for index, call in enumerate(CALLS.calls):
            first, *rest = [delta for delta in deltas if delta["index"] == index]
            assert (first["type"], first["function"]) == ("function", {"name": call.name, "arguments": ""})
            assert "".join(delta["function"]["arguments"] for delta in rest) == call.arguments
    assert payload(stream.closing[0][1])["choices"][0]["finish_reason"] == "tool_calls"
