import json

from loadtests.simulator.answering import Voice, answer
from loadtests.simulator.answers import Finish, References
from loadtests.simulator.directives import Directives
from loadtests.simulator.tools import Tool, Toolbox
from loadtests.simulator.wire import Api, Ask

VOICE = Voice(References({"q": "the reference"}, ()), 0, 1.0, 5)
ASK = Ask(Api.CHAT, "m", "q", 1)
BOX = Toolbox((Tool("f", {}),))


def said(ask: Ask, **wishes: object) -> str:
    return answer(ask, Directives(ask.question, **wishes), VOICE).text


def test_the_reference_else_a_generic_answer_of_the_length_asked_for() -> None:
    assert said(ASK) == "the reference"
    assert len(answer(ASK._replace(question="?"), Directives("?"), VOICE).pieces) == 5
    assert len(answer(ASK, Directives("q", tokens=3), VOICE).pieces) == 3


def test_what_the_prompt_dictates_wins_and_is_cut_at_the_limit() -> None:
    assert said(ASK, say="hello you") == "hello you"
    cut = answer(ASK._replace(max_tokens=1), Directives("q", say="hello you"), VOICE)
    assert (cut.text, cut.finish) == ("hello", Finish.LENGTH)


def test_a_schema_is_met_and_an_open_one_says_simulated() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert json.loads(said(ASK._replace(schema=schema))) == {"a": 1}
    assert json.loads(said(ASK._replace(schema={}))) == {"simulated": True}


def test_a_tool_is_called_once_and_its_result_is_repeated() -> None:
    first = answer(ASK._replace(question="call f", toolbox=BOX), Directives("call f"), VOICE)
    assert ([call.name for call in first.calls], first.finish, first.text) == (["f"], Finish.TOOL_CALLS, "")
    assert first.tokens == 1
    second = said(ASK._replace(question="call f", toolbox=BOX, tool_result="22 C"))
    assert second == "The tool said: 22 C"
