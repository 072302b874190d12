"""Latency quantiles as exceedance: the candidate passes (1 + margin) x no more often than the baseline passes x.

x is the baseline's rolling quantile, known before the unit (it is published in the snapshot), so the score's martingale
is exact for that statement, load waves included. The quantile comes from counts in logarithmic buckets of 4.4 %, which
add like every other sum. Timeouts and aborted streams never ended: their latency is infinite. A cancel counts as what
had passed by then: it exceeds if it came after x.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from rollout.core.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rollout.core.evidence.fixed_point import Reals

_STEPS_PER_DOUBLING = 16
_DOUBLINGS = 23
_SMALLEST_S = 0.001
# 1 ms ... 2.3 h; what is slower is in one last bucket without an end.
_ROOT = 1.0442737824274138  # 2 ** (1/16)
_WITHIN_DOUBLING = np.cumprod([1.0] + [_ROOT] * (_STEPS_PER_DOUBLING - 1))
EDGES_S: Reals = np.concatenate([_SMALLEST_S * 2.0**power * _WITHIN_DOUBLING for power in range(_DOUBLINGS)])
"""Upper edges of the buckets."""


class LatencyCounts(msgspec.Struct, frozen=True, array_like=True):
    """Latencies of the baseline in some window: (bucket, count), sorted by bucket, none empty."""

    by_bucket: tuple[tuple[int, int], ...] = ()


def counted(latency_s: Reals) -> LatencyCounts:
    """Count a batch of latencies; infinite for what never ended."""
    _check(latency_s)
    buckets, counts = np.unique(np.searchsorted(EDGES_S, latency_s), return_counts=True)
    return LatencyCounts(tuple(zip(buckets.tolist(), counts.tolist(), strict=True)))


def add(windows: Sequence[LatencyCounts]) -> LatencyCounts:
    """The counts of all of `windows`: of workers, or of the minutes that make up a rolling window."""
    merged: dict[int, int] = {}
    for window in windows:
        for bucket, count in window.by_bucket:
            merged[bucket] = merged.get(bucket, 0) + count
    return LatencyCounts(tuple(sorted(merged.items())))


def yardstick_s(counts: LatencyCounts, quantile: float, count_min: int) -> float | None:
    """The `quantile` (in (0, 1)) of a window, as the upper edge of its bucket.

    None below `count_min` latencies, or if the quantile itself never ended: then there is nothing to compare with.
    """
    total = sum(count for _, count in counts.by_bucket)
    if total < max(1, count_min):
        return None
    reached = np.cumsum([count for _, count in counts.by_bucket])
    bucket = counts.by_bucket[int(np.searchsorted(reached, math.ceil(quantile * total)))][0]
    return float(EDGES_S[bucket]) if bucket < len(EDGES_S) else None


def within(latency_s: Reals, candidate: NDArray[np.bool_], yardsticks_s: Reals, margin: float) -> Reals:
    """The outcomes Y of a batch: 1 within the yardstick, 0 beyond it. The candidate's is (1 + `margin`) times longer.

    The margin is in the yardstick, so these outcomes are tested against a margin of zero.
    """
    _check(latency_s)
    allowed = np.where(candidate, (1.0 + margin) * yardsticks_s, yardsticks_s)
    return (latency_s <= allowed).astype(np.float64)


def _check(latency_s: Reals) -> None:
    if not (latency_s >= 0.0).all():
        raise InvalidArgument("a latency is negative or not a number", "give infinity for what never ended")
