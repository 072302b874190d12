"""Raw JSON slices taken apart one level at a time, with the place of each said in the caller's terms when it is wrong.

A place is written as callers know it: `messages[2].content[0].type`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from gateway.core.errors import ApiError, bad_body

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Object(msgspec.Struct, gc=False):
    """Any object, and nothing of it."""


_DECODE_FIELDS = msgspec.json.Decoder(dict[str, Raw]).decode
_DECODE_ITEMS = msgspec.json.Decoder(list[Raw]).decode
_DECODE_OBJECTS = msgspec.json.Decoder(list[_Object]).decode
_DECODE_TEXT = msgspec.json.Decoder(str).decode
_DECODE_NUMBER = msgspec.json.Decoder(int | float).decode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NULL = b"null"
_PLACE_MAX_CHARS = 120
_LARGE_FROM_BYTES = 131_072
OBJECTS_MAX = 10_000
"""Of one field that is translated: each costs time that all other requests wait for."""
# Quotes inside texts are escaped, so this finds objects; and texts that end with a brace, which are as few as texts.
_OBJECT = re.compile(rb"\{\s*\"")
UNSUPPORTED = "unsupported_by_upstream"


def unsupported(place: str, why: str) -> ApiError:
    """400: what the caller asked for has no equal on the wire of the upstream that was chosen."""
    return ApiError(400, why, "invalid_request_error", param=place[:_PLACE_MAX_CHARS], code=UNSUPPORTED)


def wrong_type(place: str, expected: str) -> ApiError:
    """400 for a value of the wrong type."""
    place = place[:_PLACE_MAX_CHARS]
    return bad_body(f"Invalid type for '{place}': expected {expected}.", param=place, code="invalid_type")


def missing(place: str) -> ApiError:
    """400 for a value that must be there."""
    return bad_body(f"Missing required parameter: '{place}'.", param=place, code="missing_required_parameter")


def is_null(raw: Raw) -> bool:
    """Whether it says nothing."""
    return memoryview(raw) == _NULL


def is_text(raw: Raw) -> bool:
    """Whether it is a string."""
    return bytes(memoryview(raw)[:1]) == b'"'


def members(raw: Raw, place: str) -> dict[str, Raw]:
    """An object's members that are not null. Raises `ApiError`."""
    try:
        return {name: value for name, value in _DECODE_FIELDS(raw).items() if not is_null(value)}
    except UNREADABLE:
        raise wrong_type(place, "an object") from None


def items(raw: Raw, place: str) -> list[Raw]:
    """An array's items; of a large one they must be objects. Raises `ApiError`."""
    large = len(memoryview(raw)) > _LARGE_FROM_BYTES
    try:
        if large:
            # Fails at the first that is none, before millions of numbers have become millions of slices.
            _DECODE_OBJECTS(raw)
        return _DECODE_ITEMS(raw)
    except UNREADABLE:
        raise wrong_type(place, "an array of objects" if large else "an array") from None


def refuse_crowd(fields: Mapping[str, Raw]) -> None:
    """Raise `ApiError` for a field with too many objects to be translated."""
    for name, raw in fields.items():
        if len(memoryview(raw)) <= _LARGE_FROM_BYTES:
            continue
        whole = bytes(raw)
        if whole.count(b"{") > OBJECTS_MAX and sum(1 for _ in _OBJECT.finditer(whole)) > OBJECTS_MAX:
            why = f"'{name}' has more than {OBJECTS_MAX} parts, too many to be translated for this model."
            raise bad_body(why, param=name[:_PLACE_MAX_CHARS], code="array_above_max_length")


def text(raw: Raw | None, place: str) -> str:
    """A string's value. Raises `ApiError`, also where it is missing."""
    if raw is None:
        raise missing(place)
    try:
        return _DECODE_TEXT(raw)
    except UNREADABLE:
        raise wrong_type(place, "a string") from None


def number(raw: Raw, place: str) -> float:
    """A number's value. Raises `ApiError`."""
    try:
        value: float = _DECODE_NUMBER(raw)
    except UNREADABLE:
        raise wrong_type(place, "a number") from None
    return value


def boolean(raw: Raw | None, place: str) -> bool:
    """A boolean's value, False where it is missing. Raises `ApiError`."""
    if raw is None or bytes(raw) == b"false":
        return False
    if bytes(raw) == b"true":
        return True
    raise wrong_type(place, "a boolean")


def refuse_others(fields: Mapping[str, Raw], known: frozenset[str], place: str, upstream: str) -> None:
    """Raise `ApiError` for a member that has no translation, rather than leave it out."""
    for name in fields:
        if name not in known:
            where = f"{place}.{name}"
            raise unsupported(where, f"'{where[:_PLACE_MAX_CHARS]}' can't be translated for {upstream}.")
