"""What a document's fault is in words: how the value is written, not by which pattern it is checked."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, get_args

import msgspec

from rollout.core.errors import nearest_names

_PLACE = re.compile(r"^(?P<fault>.*) - at `\$(?P<path>[^`]*)`$", re.DOTALL)
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[[^\]]*\]")
_SHAPES = {
    "^[0-9]{1,9}[smhd]$": "write a duration as 30s, 5m, 2h or 1d",
    r"^([01][0-9]|2[0-3]):[0-5][0-9]$": "write a time as 09:30",
    r"^[+-](0[0-9]|1[0-4]):[0-5][0-9]$": "write an offset as +02:00",
    r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$": "write a date as 2026-12-24",
}
_KINDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "nothing",
}
_KIND = re.compile(r"`(" + "|".join(_KINDS) + r")`")


def in_words(fault: msgspec.ValidationError, kind: type[msgspec.Struct]) -> str:
    """Say what is wrong in a value of that kind, and where; the decoder's own words where there are no better ones."""
    found = _PLACE.match(str(fault))
    if found is None:
        return _plain(str(fault), None)
    path = found["path"]
    return f"{path.removeprefix('.')}: {_plain(found['fault'], _annotation_at(kind, path))}"


def _plain(fault: str, annotation: Any) -> str:  # noqa: ANN401  any annotation
    shape = next((words for pattern, words in _SHAPES.items() if pattern in _patterns(annotation)), None)
    if shape is not None and fault.startswith("Expected"):
        return shape
    choices = sorted(_choices(annotation))
    wrong = re.fullmatch(r"Invalid enum value '?(.*?)'?", fault, re.DOTALL)
    if wrong is not None and choices:
        nearest = nearest_names(wrong[1], choices)
        meant = f"did you mean {nearest[0]}? " if nearest else ""
        return f"{wrong[1]!r} is not possible; {meant}use {' or '.join(choices)}"
    return _KIND.sub(lambda kind: _KINDS[kind[1]], fault).replace("Expected", "expected", 1)


def _annotation_at(kind: Any, path: str) -> Any:  # noqa: ANN401  any annotation
    """Follow a path of keys and indices through the types; None where it leads nowhere."""
    here = kind
    for name in (step[1] for step in _STEP.finditer(path) if step[1] is not None):
        struct = _struct_in(here)
        if struct is None:
            return None
        here = next((field.type for field in msgspec.structs.fields(struct) if field.encode_name == name), None)
    return here


def _parts(annotation: Any) -> list[Any]:  # noqa: ANN401  any annotation
    nested = (*get_args(annotation), *getattr(annotation, "__metadata__", ()))
    return [annotation, *(part for each in nested for part in _parts(each))]


def _struct_in(annotation: Any) -> type[msgspec.Struct] | None:  # noqa: ANN401  any annotation
    parts = (part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, msgspec.Struct))
    return next(parts, None)


def _patterns(annotation: Any) -> set[str | None]:  # noqa: ANN401  any annotation
    return {part.pattern for part in _parts(annotation) if isinstance(part, msgspec.Meta)}


def _choices(annotation: Any) -> set[str]:  # noqa: ANN401  any annotation
    parts = _parts(annotation)
    enums = [part for part in parts if isinstance(part, type) and issubclass(part, Enum)]
    return {str(each.value) for enum in enums for each in enum} | {part for part in parts if isinstance(part, str)}
