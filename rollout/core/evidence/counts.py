"""Errors are compared by an exact conditional test: given an error, which arm did it come from.

With a share p and candidate errors e^theta times as frequent, an error is the candidate's with probability
q(theta) = p e^theta / (p e^theta + 1 - p): the common error rate cancels, so outages and load waves that hit both arms
say nothing. Errors are counted for each share in force; that is all the test needs, whatever path the share takes.
An error counts once for a conversation and minute: what follows in the same minute is the same error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from rollout.core.evidence import restart
from rollout.core.evidence.eprocess import log_mean_exp
from rollout.core.model import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from rollout.core.evidence.fixed_point import Integers

LOG_RATIOS = (
    0.15, 0.1804, 0.217, 0.2609, 0.3138, 0.3774, 0.4539, 0.5459, 0.6566, 0.7897, 0.9497, 1.142, 1.374, 1.652, 1.987,
    2.39, 2.874, 3.457, 4.157, 5.0,
)  # fmt: skip
"""How far beyond the margin the alternatives lie, as log rate ratios: geometric from 0.15 to 5."""


class ArmCounts(msgspec.Struct, frozen=True, array_like=True):
    """Events of each arm: (share in millipct, candidate's, baseline's), sorted by share, shares strictly inside (0, 1).

    An event at a share of 0 or 1 could only have come from one arm and is left out.
    """

    by_share: tuple[tuple[int, int, int], ...] = ()


def counted(share_millipct: Integers, candidate: NDArray[np.bool_]) -> ArmCounts:
    """Count a batch of events."""
    shares, where = np.unique(share_millipct, return_inverse=True)
    total = np.bincount(where, minlength=len(shares))
    of_candidate = np.bincount(where[candidate], minlength=len(shares))
    rows = zip(shares.tolist(), of_candidate.tolist(), (total - of_candidate).tolist(), strict=True)
    return ArmCounts(tuple(row for row in rows if 0 < row[0] < BUCKETS))


def add(first: ArmCounts, second: ArmCounts) -> ArmCounts:
    """The counts of both."""
    merged = {share: (candidate, baseline) for share, candidate, baseline in first.by_share}
    for share, candidate, baseline in second.by_share:
        before = merged.get(share, (0, 0))
        merged[share] = (before[0] + candidate, before[1] + baseline)
    return ArmCounts(tuple((share, *merged[share]) for share in sorted(merged)))


def log_likelihood_ratios(counts: ArmCounts, log_ratios: Sequence[float], null_log_ratio: float) -> list[float]:
    """For each alternative, ln of the likelihood of the counts under it over that under `null_log_ratio`."""
    return [
        math.fsum(
            candidate * (log_ratio - null_log_ratio)
            - (candidate + baseline) * (_log_mass(share, log_ratio) - _log_mass(share, null_log_ratio))
            for share, candidate, baseline in counts.by_share
        )
        for log_ratio in log_ratios
    ]


def allowed_ratio(baseline_errors: int, baseline_units: int, ratio: float, difference: float) -> float:
    """The rate ratio that is no harm yet: `ratio`, or what `difference` is at the baseline's rate if that is more.

    From what the baseline did before the epoch for which it is used, as the yardstick of latency is. So a few more
    errors than almost none are no harm, and one quick test stands for both limits.
    """
    rate = (baseline_errors + 0.5) / (baseline_units + 1)
    return max(ratio, 1.0 + difference / rate)


def harm_growth(counts: ArmCounts, ratio_margin: float) -> list[float]:
    """For each alternative, the log growth of an epoch against "at most `ratio_margin` times the baseline's"."""
    null = math.log(ratio_margin)
    return log_likelihood_ratios(counts, [null + each for each in LOG_RATIOS], null)


def harm_log_value(counts_by_epoch: Mapping[int, ArmCounts], ratio_margins: Mapping[int, float]) -> float:
    """Log E against "at most the ratio margin (> 0) of each epoch, times the baseline's rate", restarted at each."""
    return restart.log_value(
        {epoch: harm_growth(counts, ratio_margins[epoch]) for epoch, counts in counts_by_epoch.items()}
    )


def noninferiority_log_value(counts: ArmCounts, ratio_margin: float) -> float:
    """Log E against "at least `ratio_margin` (> 0) times the baseline's rate"."""
    null = math.log(ratio_margin)
    return log_mean_exp(log_likelihood_ratios(counts, [null - each for each in LOG_RATIOS], null))


def _log_mass(share_millipct: int, log_ratio: float) -> float:
    """ln(p e^theta + 1 - p)."""
    return math.log1p(share_millipct / BUCKETS * math.expm1(log_ratio))
