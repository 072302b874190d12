"""What is left of epochs that are over, as vectors of whole numbers beside the sums of those that are not.

A ramp of weeks has thousands of epochs. Once an epoch can get no more units, what it adds to each harm value is carried
over (`restart.carry`), and its sums are replaced by that, both in one step of the store. Names begin with `folded.`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rollout.core.evidence.plans import EPOCH_S
from rollout.core.evidence.restart import Carried
from rollout.core.evidence.stored_rows import unreadable
from rollout.core.sums import REMEMBER_FLUSH_S, Replacement, SumKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.model import FeatureFlag

NOT_FOLDED = -1
EPOCHS_AT_ONCE = 16
"""How many are folded in one step: what was left lying for weeks must not become one large write."""
SETTLED_S = REMEMBER_FLUSH_S
"""Nobody sends a unit again for so long."""
_MANTISSA = 2.0**53
_EXPONENT_MAX = 62
"""Of a logarithm: sums stay below 2**62 themselves."""


def folded_name(prefix: str, *parts: object) -> str:
    """The name of a part of what is folded of a series."""
    return ".".join(("folded", prefix, *map(str, parts)))


def last_over(flag: FeatureFlag, age_s: float, now_s: float) -> int:
    """The last epoch that can get no more units of this age; below 0 if there is none."""
    settled_s = now_s - flag.progress.ramp_began_s - age_s - SETTLED_S
    return math.floor(settled_s / EPOCH_S) - 1


def vector_of_carried(carried: Carried) -> list[int]:
    """All of it in one row; the same bits come back."""
    row = [carried.epoch]
    for value in carried.logs:
        mantissa, exponent = math.frexp(value)
        row += [int(mantissa * _MANTISSA), exponent]
    return row


def carried_of(name: str, vector: Sequence[int], bets: int) -> Carried | None:
    """The inverse, of the sum of this name; None of nothing, InvalidArgument for what is none of so many bets."""
    if not vector:
        return None
    mantissas, exponents = vector[1::2], vector[2::2]
    sizes_fit = len(vector) == 1 + 2 * bets and vector[0] >= 0
    if not sizes_fit or max(map(abs, mantissas)) > _MANTISSA or max(exponents) > _EXPONENT_MAX:
        raise unreadable(name)
    pairs = zip(mantissas, exponents, strict=True)
    return Carried(vector[0], tuple(math.ldexp(mantissa / _MANTISSA, exponent) for mantissa, exponent in pairs))


def with_late(carried: Carried | None, growth: Sequence[float]) -> Carried | None:
    """Of units that came after their epoch was carried over: they count for all copies begun by now, and for no other.

    Which those are the clocks decide, never an outcome. `growth`: log growth of each bet; None of nothing carried over.
    """
    if carried is None:
        return None
    return Carried(carried.epoch, tuple(log + more for log, more in zip(carried.logs, growth, strict=True)))


def vector_at(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], name: str) -> Sequence[int]:
    """What the store has under a name in this attempt."""
    return sums.get(SumKey(flag.feature, flag.progress.attempt, name), ())


def carried_at(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], name: str, bets: int) -> Carried | None:
    """What the store has carried over under a name, see `carried_of`."""
    return carried_of(name, vector_at(flag, sums, name), bets)


def replacing(
    flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], gone: Sequence[str], instead: Mapping[str, Sequence[int]]
) -> Replacement:
    """Put `instead` in the place of those that are gone, as they were read here."""
    found = {name: tuple(vector_at(flag, sums, name)) for name in (*gone, *instead)}
    return Replacement(flag.feature, flag.progress.attempt, found, instead)
