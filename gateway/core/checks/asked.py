"""What a request asks for, as far as the checks of its answer need it: its text, and whether JSON was wished for."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec
from msgspec import Raw

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
U = TypeVar("U")

TEXT_MAX_CHARS = 65_536
"""Of the request's text: beyond it the checks don't look."""
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NULL = b"null"


class Shape(Enum):
    """Of the JSON that was wished for."""

    ANY = "any"
    OBJECT = "object"


class Asked(NamedTuple):
    """`user`: the last that a person (or a tool) said; `context`: all the rest; `json`: None if free text will do.

    `required`: names that the wished-for JSON object must have at its top level.
    """

    user: str = ""
    context: str = ""
    json: Shape | None = None
    required: tuple[str, ...] = ()


class _Part(msgspec.Struct):
    text: str = ""


class _Turn(msgspec.Struct):
    role: str = ""
    content: str | list[_Part] | None = None


class _Schema(msgspec.Struct):
    type: str | list[str] = ""
    required: list[str] = []


class _Named(msgspec.Struct):
    """A schema, with or without its OpenAI wrapping."""

    schema: _Schema | None = None


class _Format(msgspec.Struct):
    type: str = ""
    json_schema: _Named | None = None
    schema: _Schema | None = None


class _Holder(msgspec.Struct):
    """`text` of responses, `output_config` of messages."""

    format: _Format | None = None


class _Structured(msgspec.Struct):
    """vLLM's own."""

    json: Raw = Raw(_NULL)


_DECODE_TURNS = msgspec.json.Decoder(list[_Turn]).decode
_DECODE_TEXT = msgspec.json.Decoder(str | list[_Part]).decode
_DECODE_FORMAT = msgspec.json.Decoder(_Format | None).decode
_DECODE_HOLDER = msgspec.json.Decoder(_Holder | None).decode
_DECODE_STRUCTURED = msgspec.json.Decoder(_Structured | None).decode
_DECODE_SCHEMA = msgspec.json.Decoder(_Schema).decode


def asked(fields: Mapping[str, Raw], operation: str) -> Asked:
    """Read a request. `fields`: the body's top level. What can't be read counts as not said."""
    turns = _turns(fields, operation)
    last = next((place for place in range(len(turns) - 1, -1, -1) if turns[place][0] == "user"), None)
    context = [text for place, (_, text) in enumerate(turns) if place != last]
    shape, required = _wish(fields)
    return Asked("" if last is None else turns[last][1], "\n".join(context)[:TEXT_MAX_CHARS], shape, required)


def _turns(fields: Mapping[str, Raw], operation: str) -> list[tuple[str, str]]:
    """(role, text) of each turn, the oldest first."""
    apart = {"responses": "instructions", "messages": "system"}.get(operation, "")
    found = [("system", _read(_DECODE_TEXT, fields[apart], _flat) or "")] if apart in fields else []
    place = {"responses": "input", "text_completion": "prompt"}.get(operation, "messages")
    if place not in fields:
        return found
    alone = _read(_DECODE_TEXT, fields[place], _alone)
    if alone is not None:
        return [*found, ("user", alone[:TEXT_MAX_CHARS])]
    turns = _read(_DECODE_TURNS, fields[place], lambda value: value) or []
    return found + [(turn.role, _flat(turn.content)) for turn in turns]


def _alone(content: str | list[_Part]) -> str | None:
    return content if isinstance(content, str) else None


def _flat(content: str | list[_Part] | None) -> str:
    text = content if isinstance(content, str) else "\n".join(part.text for part in content or ())
    return text[:TEXT_MAX_CHARS]


def _wish(fields: Mapping[str, Raw]) -> tuple[Shape | None, tuple[str, ...]]:
    """The shape of the JSON wished for, by whichever of the ways to say so."""
    formats = [
        _read(_DECODE_FORMAT, fields["response_format"], lambda value: value) if "response_format" in fields else None,
        *(_held(fields[name]) for name in ("text", "output_config") if name in fields),
    ]
    for each in formats:
        if each is not None and each.type == "json_object":
            return Shape.OBJECT, ()
        if each is not None and each.type == "json_schema":
            named = each.json_schema.schema if each.json_schema is not None else None
            return _shaped(each.schema or named)
    return _wish_of_vllm(fields)


def _held(raw: Raw) -> _Format | None:
    return _read(_DECODE_HOLDER, raw, lambda value: None if value is None else value.format)


def _wish_of_vllm(fields: Mapping[str, Raw]) -> tuple[Shape | None, tuple[str, ...]]:
    schema = fields.get("guided_json")
    if schema is None and "structured_outputs" in fields:
        schema = _read(
            _DECODE_STRUCTURED, fields["structured_outputs"], lambda value: None if value is None else value.json
        )
    if schema is None or bytes(schema) == _NULL:
        return None, ()
    return _shaped(_read(_DECODE_SCHEMA, schema, lambda value: value))


def _shaped(schema: _Schema | None) -> tuple[Shape, tuple[str, ...]]:
    if schema is None or schema.type != "object":
        return Shape.ANY, ()
    return Shape.OBJECT, tuple(schema.required)


def _read(decode: Callable[[Raw], T], raw: Raw, see: Callable[[T], U | None]) -> U | None:
    try:
        return see(decode(raw))
    except _UNREADABLE:
        return None
