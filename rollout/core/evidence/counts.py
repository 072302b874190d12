"""Which arm a unit came from, counted by the share in force: how likely that is under other odds than the share's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from rollout.core.model import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Sequence


class ArmCounts(msgspec.Struct, frozen=True, array_like=True):
    """Units of each arm: (share in millipct, candidate's, baseline's), sorted by share, shares strictly inside (0, 1).

    A unit at a share of 0 or 1 could only have come from one arm and is left out.
    """

    by_share: tuple[tuple[int, int, int], ...] = ()


def log_likelihood_ratios(counts: ArmCounts, log_odds: Sequence[float]) -> list[float]:
    """For each shift of the log odds, ln of the likelihood of the counts under it over that under the shares."""
    return [
        math.fsum(
            candidate * shift - (candidate + baseline) * _log_mass(share, shift)
            for share, candidate, baseline in counts.by_share
        )
        for shift in log_odds
    ]


def _log_mass(share_millipct: int, shift: float) -> float:
    """ln(p e^shift + 1 - p)."""
    return math.log1p(share_millipct / BUCKETS * math.expm1(shift))
