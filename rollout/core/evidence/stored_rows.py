"""Reading what the store has under names of ours: another version of the program may have written it otherwise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rollout.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

UNUSABLE = (InvalidArgument, ArithmeticError, ValueError, TypeError, LookupError)
"""What sums may come to that nobody of this version has written."""
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_HINT = "another version of the program wrote it? drop it, and begin another attempt"


def unreadable(name: str) -> InvalidArgument:
    """The fault of a sum that can't be read."""
    return InvalidArgument(f"the store's sum {name!r} can't be read", _HINT)


def numbers_in(name: str, text: str, count: int) -> tuple[int, ...]:
    """So many whole numbers from 0, with dots between: the part `text` of a name. InvalidArgument for another form."""
    parts = text.split(".")
    if len(parts) != count or not all(map(_NUMBER.fullmatch, parts)):
        raise unreadable(name)
    return tuple(map(int, parts))


def counts_in(name: str, vector: Sequence[int], most: int, *, least: int = 0) -> Sequence[int]:
    """The vector, if it is a row of counts; InvalidArgument for more than `most`, negative ones, or too few."""
    if not least <= len(vector) <= most or any(value < 0 for value in vector):
        raise unreadable(name)
    return vector


def told(fault: Exception) -> str:
    """One line of what is wrong with sums, for `UNUSABLE`."""
    return fault.cause if isinstance(fault, InvalidArgument) else f"the store's sums can't be used: {fault!r:.120}"
