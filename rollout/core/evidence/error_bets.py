"""Harm by errors, as bets on whose unit failed: valid for the difference of rates, whatever the baseline's rate does.

    X = (A - p) Y - d p (1 - p)        E[X | past] = p (1 - p) (effect on this unit - d)
    factor of a unit: 1 + a X / (1 - p)

A: was the unit assigned to the candidate; p: the share in force at its draw; Y: did it fail; d: the margin. A failure
of the candidate gains a, one of the baseline takes a p / (1 - p), and every unit takes a d p. So what an epoch adds to
a bet follows from counts by share: nothing is predicted, no ratio is assumed, the order is no matter, and counts that
were added up anywhere give the same bits. A share of 0 or 1 drew nothing and says nothing.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.evidence import restart
from rollout.core.evidence.names import is_drawn
from rollout.core.model import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollout.core.evidence.plans import ErrorCounts
    from rollout.core.evidence.restart import Carried

    CountsByShare = Mapping[int, ErrorCounts]

BETS = (
    0.2, 0.2847, 0.4054, 0.5771, 0.8216, 1.17, 1.665, 2.371, 3.375, 4.804, 6.84, 9.738, 13.86, 19.74, 28.1, 40.0,
)  # fmt: skip
"""What a failure of the candidate gains at a small share, geometric from 0.2 to 40.

The best bet is there how many times as frequent failures are as they may be, less one.
"""
BETS_VERSION = "bets1"
"""In the names of what is folded; another one for other bets: their values are not comparable."""
_MOST = 0.95
"""Of what may be bet at a share: a factor stays above 0.05."""
_SHARES_KEPT = 1_024


class LogFactors(NamedTuple):
    """What a unit adds to the log of one bet: a failed one of either arm, or any other."""

    candidate: float
    baseline: float
    other: float


def log_growth(by_share: CountsByShare, margin: float) -> list[float]:
    """For each bet, the log growth of units counted by share (millipct), against "at most `margin` more failures"."""
    drawn = [(log_factors(share, margin), found) for share, found in by_share.items() if is_drawn(share)]
    return [
        math.fsum(term for factors, found in drawn for term in _terms(factors[bet], found)) for bet in range(len(BETS))
    ]


def log_value(by_epoch: Mapping[int, CountsByShare], margin: float, before: Carried | None = None) -> float:
    """Log E against "at most `margin` more failures", restarted at each epoch; `before`: of epochs that were folded."""
    return restart.log_value({epoch: log_growth(counts, margin) for epoch, counts in by_epoch.items()}, before)


@lru_cache(_SHARES_KEPT)
def log_factors(share_millipct: int, margin: float) -> tuple[LogFactors, ...]:
    """Of each bet, for a share strictly inside (0, 1).

    A bet a is made as 1 / (1/a + 1/most): about itself where it is small, and never beyond what can be lost.
    """
    share = share_millipct / BUCKETS
    odds, cost = share / (1.0 - share), margin * share
    most = _MOST / (odds + cost)
    made = [1.0 / (1.0 / bet + 1.0 / most) for bet in BETS]
    return tuple(
        LogFactors(math.log1p(bet - bet * cost), math.log1p(-bet * odds - bet * cost), math.log1p(-bet * cost))
        for bet in made
    )


def _terms(of_one: LogFactors, found: ErrorCounts) -> tuple[float, float, float]:
    failed = found.candidate_errors + found.baseline_errors
    others = found.candidate_units + found.baseline_units - failed
    return found.candidate_errors * of_one.candidate, found.baseline_errors * of_one.baseline, others * of_one.other
