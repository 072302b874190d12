"""`metadata` of a request body -> the attributes that eligibility rules may read.

The caller says what it likes there: attributes decide who may get a candidate, never whose data or limits it is.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from rollout.core.jsonlogic import INTEGER_MAX
from rollout.core.model import NO_ATTRIBUTES, Attribute, Subject

ENTRIES_MAX = 16
NAME_MAX_CHARS = 64
TEXT_MAX_CHARS = 512
RAW_MAX_BYTES = 131_072
"""More than metadata within these bounds ever takes, each character as an escape."""

_Name = Annotated[str, Meta(max_length=NAME_MAX_CHARS)]
_Text = Annotated[str, Meta(max_length=TEXT_MAX_CHARS)]
_Whole = Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]
_Attributes = Annotated[dict[_Name, _Text | _Whole | float | bool | None], Meta(max_length=ENTRIES_MAX)]
_DECODE = msgspec.json.Decoder(_Attributes | None).decode


def with_attributes(subject: Subject, metadata: Raw) -> Subject | None:
    """Add what a caller's metadata says to a subject; None for metadata that can't be read, or is too much.

    OpenAI has texts only; numbers and booleans are read as well, as over OFREP.
    """
    if len(bytes(metadata)) > RAW_MAX_BYTES:
        return None
    try:
        attributes: dict[str, Attribute] | None = _DECODE(metadata)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return Subject(*subject[:4], attributes or NO_ATTRIBUTES)
