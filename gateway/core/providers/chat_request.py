"""A chat completion's request as Anthropic's messages take it.

Everything a caller sends is translated, listed here as having no bearing on the answer, or refused by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from gateway.core.providers import slices
from gateway.core.providers.chat_turns import turns_of
from gateway.core.providers.slices import is_null, members, missing, unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.errors import ApiError

MAX_TOKENS_DEFAULT = 8_192
"""Anthropic wants `max_tokens`, chat callers need not say it. Models from 2024 on generate as many."""

DROPPED = frozenset(
    {
        "metadata",  # labels for the caller's own use
        "prediction",  # only ever makes an answer faster
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "seed",  # best effort by OpenAI's own words
        "stream_options",  # acted on by the stream's translation
    }
)
"""What leaves the answer as it is; a user id is not among them but becomes `metadata.user_id`."""

_ENCODE = msgspec.json.Encoder().encode
_UPSTREAM = "an Anthropic upstream"
_TEMPERATURE_MAX = 1
_NEUTRAL: Mapping[str, tuple[bytes, ...]] = {
    "frequency_penalty": (b"0", b"0.0"),
    "logit_bias": (b"{}",),
    "logprobs": (b"false",),
    "modalities": (b'["text"]',),
    "n": (b"1",),
    "presence_penalty": (b"0", b"0.0"),
    "service_tier": (b'"auto"', b'"default"'),
    "store": (b"false",),
    "top_logprobs": (b"0",),
    "verbosity": (b'"medium"',),
}
"""Parameters Anthropic has no equal of, and the values that ask for nothing."""

_AS_IT_IS = frozenset({"top_p", "top_k", "thinking"})
"""`top_k` and `thinking` are extensions that chat callers of vLLM and of Anthropic know."""

_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_TOOL_MEMBERS = frozenset({"type", "function"})
_FUNCTION_MEMBERS = frozenset({"name", "description", "parameters", "strict"})
_SCHEMA_MEMBERS = frozenset({"name", "description", "schema", "strict"})
_NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def translate_chat_request(
    fields: Mapping[str, Raw], raw_model: Raw, max_tokens_default: int = MAX_TOKENS_DEFAULT
) -> bytes:
    """Body for `POST /v1/messages`. Raises `ApiError` 400 for what can't be translated, naming it."""
    said = {name: value for name, value in fields.items() if not is_null(value)}
    system, messages = turns_of(said.get("messages"))
    body: dict[str, object] = {"model": raw_model, "max_tokens": max_tokens_default}
    if system is not None:
        body["system"] = system
    body["messages"] = messages
    for name, value in said.items():
        _take(name, value, body)
    _take_tools(said, body)
    return _ENCODE(body)


def _take(name: str, value: Raw, body: dict[str, object]) -> None:
    """Put one parameter where it belongs."""
    taker = _TAKERS.get(name)
    if taker is not None:
        taker(value, body)
    elif name in _AS_IT_IS:
        body[name] = value
    elif name in _NEUTRAL:
        if bytes(value).replace(b" ", b"") not in _NEUTRAL[name]:
            raise unsupported(name, f"'{name}' can't be set for {_UPSTREAM}.")
    elif name not in DROPPED and name not in _ELSEWHERE:
        raise _unknown(name)


def _unknown(name: str) -> ApiError:
    return unsupported(name, f"'{name[:80]}' can't be translated for {_UPSTREAM}.")


def _take_max_tokens(value: Raw, body: dict[str, object]) -> None:
    body["max_tokens"] = value


def _take_temperature(value: Raw, body: dict[str, object]) -> None:
    hot = slices.number(value, "temperature") > _TEMPERATURE_MAX
    body["temperature"] = _TEMPERATURE_MAX if hot else value


def _take_stop(value: Raw, body: dict[str, object]) -> None:
    body["stop_sequences"] = [value] if slices.is_text(value) else slices.items(value, "stop")


def _take_stream(value: Raw, body: dict[str, object]) -> None:
    body["stream"] = value


def _take_user(value: Raw, body: dict[str, object]) -> None:
    body.setdefault("metadata", {"user_id": value})


def _take_safety_identifier(value: Raw, body: dict[str, object]) -> None:
    body["metadata"] = {"user_id": value}


def _take_effort(value: Raw, body: dict[str, object]) -> None:
    word = slices.text(value, "reasoning_effort")
    if word == "none":
        body["thinking"] = {"type": "disabled"}
        return
    effort = _EFFORTS.get(word)
    if effort is None:
        raise unsupported("reasoning_effort", f"'reasoning_effort' must be one of none, {', '.join(_EFFORTS)}.")
    _output_config(body)["effort"] = effort


def _take_format(value: Raw, body: dict[str, object]) -> None:
    """A JSON schema is Anthropic's `output_config.format`; plain JSON mode has no equal there."""
    place = "response_format"
    fields = members(value, place)
    kind = slices.text(fields.get("type"), f"{place}.type")
    if kind == "text":
        return
    if kind != "json_schema":
        why = f"'{place}' of type '{kind[:40]}' can't be translated for {_UPSTREAM}: use 'json_schema'."
        raise unsupported(place, why)
    slices.refuse_others(fields, frozenset({"type", "json_schema"}), place, _UPSTREAM)
    if "json_schema" not in fields:
        raise missing(f"{place}.json_schema")
    described = members(fields["json_schema"], f"{place}.json_schema")
    slices.refuse_others(described, _SCHEMA_MEMBERS, f"{place}.json_schema", _UPSTREAM)
    if "schema" not in described:
        raise missing(f"{place}.json_schema.schema")
    _output_config(body)["format"] = {"type": "json_schema", "schema": described["schema"]}


def _output_config(body: dict[str, object]) -> dict[str, object]:
    config = body.setdefault("output_config", {})
    if not isinstance(config, dict):  # pragma: no cover - only this module puts it there
        raise TypeError
    return config


def _take_tools(said: Mapping[str, Raw], body: dict[str, object]) -> None:
    """The tools, which of them to use, and whether one at a time; without tools the other two say nothing."""
    if "tools" not in said:
        return
    tools = [_tool(each, f"tools[{at}]") for at, each in enumerate(slices.items(said["tools"], "tools"))]
    if not tools:
        return
    body["tools"] = tools
    choice = _choice(said["tool_choice"]) if "tool_choice" in said else None
    parallel = "parallel_tool_calls"
    if parallel in said and not slices.boolean(said[parallel], parallel):
        choice = choice or {"type": "auto"}
        if choice["type"] != "none":
            choice["disable_parallel_tool_use"] = True
    if choice is not None:
        body["tool_choice"] = choice


def _tool(value: Raw, place: str) -> dict[str, object]:
    fields = members(value, place)
    kind = slices.text(fields.get("type"), f"{place}.type")
    if kind != "function":
        raise unsupported(f"{place}.type", f"Tools of type '{kind[:40]}' can't be translated for {_UPSTREAM}.")
    slices.refuse_others(fields, _TOOL_MEMBERS, place, _UPSTREAM)
    if "function" not in fields:
        raise missing(f"{place}.function")
    function = members(fields["function"], f"{place}.function")
    slices.refuse_others(function, _FUNCTION_MEMBERS, f"{place}.function", _UPSTREAM)
    if "name" not in function:
        raise missing(f"{place}.function.name")
    tool: dict[str, object] = {"name": function["name"]}
    if "description" in function:
        tool["description"] = function["description"]
    tool["input_schema"] = function.get("parameters", _NO_PARAMETERS)
    if "strict" in function:
        tool["strict"] = function["strict"]
    return tool


def _choice(value: Raw) -> dict[str, object]:
    place = "tool_choice"
    if slices.is_text(value):
        word = slices.text(value, place)
        if word not in _CHOICES:
            raise unsupported(place, f"'{place}' must be one of {', '.join(_CHOICES)} or name a function.")
        return {"type": _CHOICES[word]}
    fields = members(value, place)
    kind = slices.text(fields.get("type"), f"{place}.type")
    if kind != "function" or "function" not in fields:
        raise unsupported(place, f"'{place}' of type '{kind[:40]}' can't be translated for {_UPSTREAM}.")
    function = members(fields["function"], f"{place}.function")
    return {"type": "tool", "name": slices.text(function.get("name"), f"{place}.function.name")}


_TAKERS: Mapping[str, Callable[[Raw, dict[str, object]], None]] = {
    "max_tokens": _take_max_tokens,
    "max_completion_tokens": _take_max_tokens,
    "temperature": _take_temperature,
    "stop": _take_stop,
    "stream": _take_stream,
    "user": _take_user,
    "safety_identifier": _take_safety_identifier,
    "reasoning_effort": _take_effort,
    "response_format": _take_format,
}
_ELSEWHERE = frozenset({"model", "messages", "tools", "tool_choice", "parallel_tool_calls"})
