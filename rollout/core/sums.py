"""Sums of evidence: vectors of whole numbers that many writers add to. Whole, so any order of adding gives the same.

Fractions are carried in fixed point by whoever adds. What can't be added is refused before anything is written.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SUM_MAX = 2.0**62
"""A sum stays within this on both sides, so a 64-bit integer always holds it."""
ELEMENTS_MAX = 256
VALUES_PER_FLUSH_MAX = 20_000
VALUES_PER_EPOCH_MAX = 100_000
EPOCHS_MAX = 4_096
KEEP_S = 90 * 86_400.0
"""An epoch is forgotten when nothing was added to it for this long."""
REMEMBER_FLUSH_S = 600.0
"""A flush that is sent again within this time counts once; give up sending it before."""
_NAME_MAX = 200


class SumKey(NamedTuple):
    """One vector: of a feature, in an epoch (a number its writers agree on), under a name of printable ASCII."""

    feature: str
    epoch: int
    name: str


class Replacement(NamedTuple):
    """Vectors of one feature and epoch by name: exactly as found (empty: absent), and what takes their place."""

    feature: str
    epoch: int
    found: Mapping[str, Sequence[int]]
    instead: Mapping[str, Sequence[int]]


def fits(current: int, delta: int) -> bool:
    """Tell whether the sum stays in range. In floats, so that a store that counts with those finds the same."""
    return abs(float(current) + float(delta)) <= SUM_MAX


def merge(current: Sequence[int], delta: Sequence[int]) -> list[int]:
    """Add element by element, the shorter as if it ended in zeros; InvalidArgument when a sum leaves its range."""
    merged = []
    for old, more in zip_longest(current, delta, fillvalue=0):
        if not fits(old, more):
            raise out_of_range()
        merged.append(old + more)
    return merged


def check_flush(deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> None:
    """InvalidArgument for a flush that no store would take."""
    if not _is_name(flush_id):
        raise InvalidArgument("a flush needs an id", f"1 to {_NAME_MAX} characters of printable ASCII")
    if sum(map(len, deltas.values())) > VALUES_PER_FLUSH_MAX:
        raise InvalidArgument("a flush holds too many values", f"at most {VALUES_PER_FLUSH_MAX}, else split it")
    for key, vector in deltas.items():
        if not _is_name(key.name) or not 0 < len(vector) <= ELEMENTS_MAX or not 0 <= key.epoch < 2**53:
            raise InvalidArgument(f"{key} can't be summed", f"1 to {ELEMENTS_MAX} elements, an epoch from 0, a name")
        if not all(fits(0, value) for value in vector):
            raise out_of_range()


def check_replacement(asked: Replacement) -> None:
    """InvalidArgument for one that no store would take."""
    vectors = {SumKey(asked.feature, asked.epoch, name): vector for name, vector in asked.instead.items()}
    check_flush(vectors, "replacement")
    if not all(map(_is_name, asked.found)) or sum(map(len, asked.found.values())) > VALUES_PER_FLUSH_MAX:
        raise InvalidArgument("a replacement names too many sums, or none", f"at most {VALUES_PER_FLUSH_MAX} values")


def out_of_range() -> InvalidArgument:
    """The fault of a sum that a 64-bit integer might not hold."""
    return InvalidArgument("a sum of evidence leaves the range of 64-bit integers", "begin a new epoch")


def too_many() -> InvalidArgument:
    """The fault of a flush that would make a feature's sums grow over their bounds."""
    hint = f"at most {VALUES_PER_EPOCH_MAX} values per epoch and {EPOCHS_MAX} epochs: ask for fewer metrics and margins"
    return InvalidArgument("a feature has too many sums of evidence", hint)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _NAME_MAX and text.isascii() and text.isprintable()
