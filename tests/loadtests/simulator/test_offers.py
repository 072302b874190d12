import pytest

from loadtests.simulator.offers import toolbox_of
from loadtests.simulator.tools import NO_TOOLS, Tool, Toolbox
from loadtests.simulator.wire import Api, WireError

SCHEMA = {"type": "object"}
CHAT = [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]
RESPONSES = [{"type": "function", "name": "f", "parameters": SCHEMA}]
MESSAGES = [{"name": "f", "input_schema": SCHEMA}]
BOX = Toolbox((Tool("f", SCHEMA),))


@pytest.mark.parametrize(("api", "tools"), [(Api.CHAT, CHAT), (Api.RESPONSES, RESPONSES), (Api.MESSAGES, MESSAGES)])
def test_each_endpoint_words_the_same_tools(api: Api, tools: list) -> None:
    assert toolbox_of(api, tools, None, parallel=None) == BOX
    assert toolbox_of(api, None, None, parallel=None) is NO_TOOLS


@pytest.mark.parametrize(
    ("api", "tools", "choice", "word", "named"),
    [
        (Api.CHAT, CHAT, "none", "none", None),
        (Api.CHAT, CHAT, "required", "required", None),
        (Api.CHAT, CHAT, {"type": "function", "function": {"name": "f"}}, "required", "f"),
        (Api.RESPONSES, RESPONSES, {"type": "function", "name": "f"}, "required", "f"),
        (Api.MESSAGES, MESSAGES, {"type": "auto"}, "auto", None),
        (Api.MESSAGES, MESSAGES, {"type": "any"}, "required", None),
        (Api.MESSAGES, MESSAGES, {"type": "tool", "name": "f"}, "required", "f"),
    ],
)
def test_choices_in_either_vendors_words(
    api: Api, tools: list, choice: str | dict, word: str, named: str | None
) -> None:
    assert toolbox_of(api, tools, choice, parallel=None) == BOX._replace(choice=word, named=named)


def test_parallel_calls_can_be_switched_off() -> None:
    assert not toolbox_of(Api.CHAT, CHAT, None, parallel=False).parallel
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    assert not toolbox_of(Api.MESSAGES, MESSAGES, choice, parallel=None).parallel


def test_tools_that_the_partners_machines_would_run_are_left_out() -> None:
    assert toolbox_of(Api.RESPONSES, [*RESPONSES, {"type": "web_search"}], None, parallel=None) == BOX
    more = [*MESSAGES, {"type": "web_search_20250305", "name": "web_search"}]
    assert toolbox_of(Api.MESSAGES, more, None, parallel=None) == BOX


@pytest.mark.parametrize(
    ("tools", "choice", "param"),
    [
        (CHAT, "sometimes", "tool_choice"),
        (CHAT, {"type": "function", "function": {"name": "g"}}, "tool_choice"),
        ([{"type": "function"}], None, "tools[0]"),
        ([{"type": "function", "function": {"name": "f", "parameters": 7}}], None, "tools[0]"),
    ],
)
def test_what_cannot_be_followed_is_a_400(tools: list, choice: object, param: str) -> None:
    with pytest.raises(WireError) as caught:
        toolbox_of(Api.CHAT, tools, choice, parallel=None)
    assert (caught.value.status, caught.value.param) == (400, param)
