import json

import pytest

from loadtests.simulator.answers import Answer, Finish
from loadtests.simulator.completions import body, events
from loadtests.simulator.events import Ident, Part
from loadtests.simulator.wire import Api, Ask

IDENT = Ident("abc", 1_700_000_000)
ANSWER = Answer(("He", "llo"), Finish.STOP)
ASK = Ask(Api.COMPLETIONS, "m", "q", 3, stream=True)


def choices(data: list[bytes]) -> list[dict]:
    return [json.loads(each[6:])["choices"][0] for each in data]


def test_a_stream_has_no_role_and_plain_text() -> None:
    stream = events(ASK, ANSWER, IDENT)
    assert stream.opening == []
    assert [choice["text"] for choice in choices(stream.contents)] == ["He", "llo"]
    assert [part for part, _ in stream.closing] == [Part.FINISH, Part.DONE]
    assert json.loads(stream.closing[0][1][6:])["object"] == "text_completion"


def test_usage_comes_only_if_asked() -> None:
    stream = events(ASK._replace(include_usage=True), ANSWER, IDENT)
    (usage,) = [json.loads(data[6:]) for part, data in stream.closing if part is Part.USAGE]
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 5)


def test_a_single_body_is_the_text() -> None:
    found = body(ASK, ANSWER, IDENT)
    assert (found["choices"][0]["text"], found["object"]) == ("Hello", "text_completion")


@pytest.mark.parametrize("count", [1, 2])
def test_several_choices_and_logprobs_in_stream_and_body(count: int) -> None:
    ask = ASK._replace(choices=count, logprobs=1)
    found = choices(events(ask, ANSWER, IDENT).contents)
    for index in range(count):
        mine = [choice for choice in found if choice["index"] == index]
        assert "".join(choice["text"] for choice in mine) == "Hello"
        assert [choice["logprobs"]["tokens"] for choice in mine] == [["He"], ["llo"]]
    assert [choice["index"] for choice in body(ask, ANSWER, IDENT)["choices"]] == list(range(count))
    assert choices(events(ASK._replace(choices=2), ANSWER, IDENT).contents)[0]["logprobs"] is None
