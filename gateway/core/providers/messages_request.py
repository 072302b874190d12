"""An Anthropic messages request as chat completions take it, at vLLM, OpenAI and those that speak like OpenAI.

Everything a caller sends is translated, listed here as having no bearing on the answer, or refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from gateway.core.providers import slices
from gateway.core.providers.messages_turns import messages_of
from gateway.core.providers.slices import is_null, members, missing, refuse_others, unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DROPPED = frozenset(
    {
        "cache_control",  # what is cached changes the price only
        "diagnostics",
        "service_tier",
    }
)
"""What leaves the answer as it is."""

_ENCODE = msgspec.json.Encoder().encode
_UPSTREAM = "this upstream"
_VLLM = "vllm"
_AS_IT_IS = frozenset({"temperature", "top_p"})
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_CHOICE_MEMBERS = frozenset({"type", "name", "disable_parallel_tool_use"})
_THINKING_MEMBERS = frozenset({"type", "budget_tokens", "display"})
_CONFIG_MEMBERS = frozenset({"effort", "format"})
_FORMAT_MEMBERS = frozenset({"type", "schema"})
# Hints about caching and streaming; calls by other tools are refused by value.
_TOOL_MEMBERS = frozenset(
    {"type", "name", "description", "input_schema", "strict", "cache_control", "eager_input_streaming"}
)
_LOW_BUDGET_TOKENS = 4_096
_MEDIUM_BUDGET_TOKENS = 16_384
_FORMAT_NAME = "output"
_NEUTRAL: Mapping[str, tuple[bytes, ...]] = {"speed": (b'"standard"',)}


def translate_messages_request(fields: Mapping[str, Raw], raw_model: Raw, kind: str) -> bytes:
    """Body for `POST /v1/chat/completions` of an upstream of `kind`. Raises `ApiError` 400, naming what is wrong."""
    said = {name: value for name, value in fields.items() if not is_null(value)}
    body: dict[str, object] = {"model": raw_model}
    body["messages"] = messages_of(said.get("system"), said.get("messages"))
    if "max_tokens" not in said:
        raise missing("max_tokens")
    body["max_tokens" if kind == _VLLM else "max_completion_tokens"] = said["max_tokens"]
    for name, value in said.items():
        _take(name, value, body, kind)
    if slices.boolean(said.get("stream"), "stream"):
        body["stream_options"] = {"include_usage": True}
    _continue_last(body, kind)
    return _ENCODE(body)


def _take(name: str, value: Raw, body: dict[str, object], kind: str) -> None:
    """Put one parameter where it belongs."""
    taker = _TAKERS.get(name)
    if taker is not None:
        taker(value, body)
    elif name in _AS_IT_IS or (name == "top_k" and kind == _VLLM):
        body[name] = value
    elif name in _NEUTRAL:
        if bytes(value) not in _NEUTRAL[name]:
            raise unsupported(name, f"'{name}' can't be set for {_UPSTREAM}.")
    elif name not in DROPPED and name not in _ELSEWHERE:
        raise unsupported(name, f"'{name[:80]}' can't be translated for {_UPSTREAM}.")


def _continue_last(body: dict[str, object], kind: str) -> None:
    """A last message of the assistant's is to be continued, which vLLM can do and OpenAI can't."""
    messages = body["messages"]
    if not isinstance(messages, list) or not messages or messages[-1]["role"] != "assistant":
        return
    place = f"messages[{len(messages) - 1}].role"
    if kind != _VLLM or "tool_calls" in messages[-1]:
        raise unsupported("messages", f"'{place}': {_UPSTREAM} can't continue a message of the assistant's.")
    body["add_generation_prompt"] = False
    body["continue_final_message"] = True


def _take_stream(value: Raw, body: dict[str, object]) -> None:
    body["stream"] = value


def _take_stop(value: Raw, body: dict[str, object]) -> None:
    body["stop"] = slices.items(value, "stop_sequences")


def _take_metadata(value: Raw, body: dict[str, object]) -> None:
    user = members(value, "metadata").get("user_id")
    if user is not None:
        body["user"] = user


def _take_thinking(value: Raw, body: dict[str, object]) -> None:
    """A budget becomes an effort, unless one is said elsewhere; chat models that think do so of their own accord."""
    fields = members(value, "thinking")
    kind = slices.text(fields.get("type"), "thinking.type")
    if kind not in {"enabled", "adaptive", "disabled"}:
        raise unsupported("thinking.type", f"'thinking.type' '{kind[:40]}' can't be translated for {_UPSTREAM}.")
    refuse_others(fields, _THINKING_MEMBERS, "thinking", _UPSTREAM)
    if kind == "enabled" and "budget_tokens" in fields:
        budget = slices.number(fields["budget_tokens"], "thinking.budget_tokens")
        medium = "medium" if budget <= _MEDIUM_BUDGET_TOKENS else "high"
        body.setdefault("reasoning_effort", "low" if budget <= _LOW_BUDGET_TOKENS else medium)


def _take_output_config(value: Raw, body: dict[str, object]) -> None:
    fields = members(value, "output_config")
    refuse_others(fields, _CONFIG_MEMBERS, "output_config", _UPSTREAM)
    if "effort" in fields:
        body["reasoning_effort"] = fields["effort"]
    if "format" in fields:
        _take_format(fields["format"], body, "output_config.format")


def _take_output_format(value: Raw, body: dict[str, object]) -> None:
    _take_format(value, body, "output_format")


def _take_format(value: Raw, body: dict[str, object], place: str) -> None:
    fields = members(value, place)
    kind = slices.text(fields.get("type"), f"{place}.type")
    if kind != "json_schema":
        raise unsupported(f"{place}.type", f"'{place}.type' '{kind[:40]}' can't be translated for {_UPSTREAM}.")
    refuse_others(fields, _FORMAT_MEMBERS, place, _UPSTREAM)
    if "schema" not in fields:
        raise missing(f"{place}.schema")
    described = {"name": _FORMAT_NAME, "schema": fields["schema"], "strict": True}
    body["response_format"] = {"type": "json_schema", "json_schema": described}


def _take_tools(value: Raw, body: dict[str, object]) -> None:
    tools = [_tool(each, f"tools[{at}]") for at, each in enumerate(slices.items(value, "tools"))]
    if tools:
        body["tools"] = tools


def _tool(value: Raw, place: str) -> dict[str, object]:
    fields = members(value, place)
    kind = slices.text(fields["type"], f"{place}.type") if "type" in fields else "custom"
    if kind != "custom":
        raise unsupported(f"{place}.type", f"Anthropic's own tool '{kind[:40]}' is not there at {_UPSTREAM}.")
    refuse_others(fields, _TOOL_MEMBERS, place, _UPSTREAM)
    for name in ("name", "input_schema"):
        if name not in fields:
            raise missing(f"{place}.{name}")
    function = {"name": fields["name"], "parameters": fields["input_schema"]}
    function |= {name: fields[name] for name in ("description", "strict") if name in fields}
    return {"type": "function", "function": function}


def _take_choice(value: Raw, body: dict[str, object]) -> None:
    place = "tool_choice"
    fields = members(value, place)
    kind = slices.text(fields.get("type"), f"{place}.type")
    refuse_others(fields, _CHOICE_MEMBERS, place, _UPSTREAM)
    if kind == "tool":
        name = slices.text(fields.get("name"), f"{place}.name")
        body[place] = {"type": "function", "function": {"name": name}}
    elif kind in _CHOICES:
        body[place] = _CHOICES[kind]
    else:
        raise unsupported(f"{place}.type", f"'{place}.type' '{kind[:40]}' can't be translated for {_UPSTREAM}.")
    if slices.boolean(fields.get("disable_parallel_tool_use"), f"{place}.disable_parallel_tool_use"):
        body["parallel_tool_calls"] = False


_TAKERS: Mapping[str, Callable[[Raw, dict[str, object]], None]] = {
    "stream": _take_stream,
    "stop_sequences": _take_stop,
    "metadata": _take_metadata,
    "thinking": _take_thinking,
    "output_config": _take_output_config,
    "output_format": _take_output_format,
    "tools": _take_tools,
    "tool_choice": _take_choice,
}
_ELSEWHERE = frozenset({"model", "messages", "system", "max_tokens"})
