import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.simulator.answers import Answer, Finish
from loadtests.simulator.chunks import DONE, Ident, body, event, events
from loadtests.simulator.wire import Api, Ask

IDENT = Ident("abc", 1_700_000_000)
ANSWER = Answer(("He", "llo"), Finish.STOP)


def ask(api: Api = Api.CHAT, *, include_usage: bool = False) -> Ask:
    return Ask(api, "m", "q", 3, stream=True, include_usage=include_usage)


def payload(data: bytes) -> dict:
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    assert b"\r" not in data
    return json.loads(data[6:])


def test_a_chat_stream_has_the_role_first_then_content_finish_and_done() -> None:
    stream = events(ask(), ANSWER, IDENT)
    (opening,) = map(payload, stream.opening)
    assert opening["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [payload(data)["choices"][0]["delta"] for data in stream.contents] == [{"content": "He"}, {"content": "llo"}]
    finish, done = stream.closing
    assert payload(finish)["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]
    assert done == DONE


def test_a_text_stream_has_no_role_and_plain_text() -> None:
    stream = events(ask(Api.COMPLETIONS), ANSWER, IDENT)
    assert stream.opening == []
    assert [payload(data)["choices"][0]["text"] for data in stream.contents] == ["He", "llo"]
    assert payload(stream.closing[0])["object"] == "text_completion"


@pytest.mark.parametrize("api", [Api.CHAT, Api.COMPLETIONS])
def test_usage_comes_in_a_chunk_without_choices_only_if_asked(api: Api) -> None:
    asked = events(ask(api, include_usage=True), ANSWER, IDENT)
    usage = payload(asked.closing[1])
    assert usage["choices"] == []
    assert usage["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert all(payload(data)["usage"] is None for data in asked.opening + asked.contents)
    plain = events(ask(api), ANSWER, IDENT)
    assert all(b"usage" not in data for part in plain for data in part)


@given(st.lists(st.text(), max_size=5))
def test_spliced_content_is_what_encoding_the_whole_chunk_would_give(pieces: list[str]) -> None:
    stream = events(ask(), Answer(tuple(pieces), Finish.STOP), IDENT)
    assert [payload(data)["choices"][0]["delta"]["content"] for data in stream.contents] == pieces


def test_single_bodies_have_the_answer_usage_and_a_name_that_says_simulated() -> None:
    chat = body(ask(), ANSWER, IDENT)
    assert chat["choices"][0]["message"]["content"] == "Hello"
    assert chat["object"] == "chat.completion"
    assert chat["system_fingerprint"] == "fp_simulator"
    assert chat["usage"]["total_tokens"] == 5
    text = body(ask(Api.COMPLETIONS), ANSWER, IDENT)
    assert (text["choices"][0]["text"], text["object"]) == ("Hello", "text_completion")


def test_an_event_may_be_named() -> None:
    assert event({"a": 1}, "x") == b'event: x\ndata: {"a":1}\n\n'
