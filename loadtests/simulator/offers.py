"""Tools as each endpoint words them, read into one toolbox."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from loadtests.simulator.tools import AUTO, NO_TOOLS, REQUIRED, Tool, Toolbox
from loadtests.simulator.wire import Api, WireError

Choice = str | dict[str, Any] | None

# OpenAI's words, and Anthropic's for the same.
_CHOICES: Final = {AUTO: AUTO, "none": "none", REQUIRED: REQUIRED, "any": REQUIRED}


def toolbox_of(
    api: Api, tools: Sequence[Mapping[str, Any]] | None, choice: Choice, *, parallel: bool | None
) -> Toolbox:
    """Return the tools a request offers; raises WireError (400) for a choice that is none of them."""
    if not tools:
        return NO_TOOLS
    found = tuple(tool for number, each in enumerate(tools) if (tool := _tool(api, each, number)) is not None)
    word, named = (choice, None) if isinstance(choice, str) else _wanted(choice or {})
    if word not in _CHOICES:
        raise WireError(400, f"Invalid value for tool_choice: {str(word)[:60]!r}.", param="tool_choice")
    if named is not None and all(tool.name != named for tool in found):
        raise WireError(400, f"Tool choice {str(named)[:60]!r} not found in tools.", param="tool_choice")
    alone = isinstance(choice, dict) and choice.get("disable_parallel_tool_use") is True
    return Toolbox(found, _CHOICES[word], named, parallel is not False and not alone)


def _tool(api: Api, offered: Mapping[str, Any], number: int) -> Tool | None:
    """Return one function; None for tools that the partner's own machines would run."""
    if api is not Api.MESSAGES and offered.get("type") != "function":
        return None
    if api is Api.MESSAGES and offered.get("type", "custom") != "custom":
        return None
    inner = offered.get("function") if api is Api.CHAT else offered
    schema = (inner or {}).get("input_schema" if api is Api.MESSAGES else "parameters") or {}
    name = (inner or {}).get("name")
    if not isinstance(name, str) or not name or not isinstance(schema, dict):
        raise WireError(400, "A tool needs a name and a schema.", param=f"tools[{number}]")
    return Tool(name, schema)


def _wanted(choice: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the word and the name that a choice in object form stands for, in either vendor's words."""
    kind = str(choice.get("type", AUTO))
    if kind not in {"function", "tool"}:
        return kind, None
    inner = choice.get("function")
    name = inner.get("name") if isinstance(inner, dict) else choice.get("name")
    return REQUIRED, str(name)
