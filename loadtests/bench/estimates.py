"""Medians with intervals that assume nothing about how a noisy machine errs: order statistics of turns."""

from __future__ import annotations

from math import ceil, comb
from statistics import median
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COVERAGE = 0.95


class Estimate(msgspec.Struct, frozen=True):
    """A median over turns and an interval that holds the true one with probability `coverage`.

    Of one turn the coverage is 0; of what is counted rather than sampled (memory) it is 1.
    """

    value: float
    low: float
    high: float
    coverage: float
    turns: int


def estimate(values: Sequence[float]) -> Estimate:
    """The median and the narrowest pair of order statistics that covers it with 95 %, else the extremes.

    Raises ValueError of no values.
    """
    if not values:
        raise ValueError("no values to take a median of")
    ordered = sorted(values)
    count = len(ordered)
    rank = 1
    while rank < (count + 1) // 2 and _coverage(count, rank + 1) >= _COVERAGE:
        rank += 1
    return Estimate(median(ordered), ordered[rank - 1], ordered[count - rank], _coverage(count, rank), count)


def _coverage(count: int, rank: int) -> float:
    """Probability that a median lies between the values of `rank` from below and from above."""
    beyond = sum(comb(count, below) for below in range(rank))
    return 1 - 2 * beyond / float(2**count)


def within_turns(mine: Mapping[int, float], others: Mapping[int, float]) -> Estimate | None:
    """The ratio of two subjects: the median of the ratios within a turn; None where they share no turn.

    Within a turn both were measured within seconds, so a machine that changes speed in between changes both.
    """
    ratios = [value / others[turn] for turn, value in mine.items() if others.get(turn)]
    return estimate(ratios) if ratios else None


def differences(mine: Mapping[int, float], others: Mapping[int, float]) -> Estimate | None:
    """As `within_turns`, for what one subject adds to another."""
    found = [value - others[turn] for turn, value in mine.items() if turn in others]
    return estimate(found) if found else None


def quantile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank quantile of sorted values: the smallest one that at least `share` of them don't exceed."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
