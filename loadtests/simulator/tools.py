"""Which of the tools it was offered the simulator calls, and with what: deterministic, valid by their schemas."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from loadtests.simulator.schema import instance

AUTO: Final = "auto"
REQUIRED: Final = "required"


class Tool(NamedTuple):
    """One function the caller offers, with the JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Any]


class Toolbox(NamedTuple):
    """All the tools of a request; `choice` is `auto`, `none` or `required`, `named` the tool that must be called."""

    tools: tuple[Tool, ...] = ()
    choice: str = AUTO
    named: str | None = None
    parallel: bool = True


class ToolCall(NamedTuple):
    """One call: the function's name, and its arguments as JSON text."""

    name: str
    arguments: str


NO_TOOLS: Final = Toolbox()


def calls_for(toolbox: Toolbox, question: str, *, after_result: bool) -> tuple[ToolCall, ...]:
    """Return the calls to make: what is forced, else the tools the question names, unless a result has just come."""
    chosen = _chosen(toolbox, question, after_result=after_result)
    return tuple(ToolCall(tool.name, _arguments(tool)) for tool in chosen[: None if toolbox.parallel else 1])


def _chosen(toolbox: Toolbox, question: str, *, after_result: bool) -> tuple[Tool, ...]:
    if toolbox.named is not None:
        return tuple(tool for tool in toolbox.tools if tool.name == toolbox.named)[:1]
    asked_for = tuple(tool for tool in toolbox.tools if tool.name in question)
    if toolbox.choice == REQUIRED:
        return asked_for or toolbox.tools[:1]
    return asked_for if toolbox.choice == AUTO and not after_result else ()


def _arguments(tool: Tool) -> str:
    return msgspec.json.encode(instance({"type": "object", **tool.schema})).decode()
