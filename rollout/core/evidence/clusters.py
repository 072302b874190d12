"""Units of one user belong together: a cluster-robust confidence sequence, for arms that stick to users.

There the draws of one user are one draw, and an e-process by request errs (15-25 % false alarms). Here users are hashed
into 128 groups, and the spread of the groups' sums says how uncertain the total is: groups of whole users are
independent of each other, whatever happens inside them. Sums by group are all that is kept; they add. The sequence is
asymptotic: `admissible` says from when it may be used. It judges the mean effect over the run, not that of the next
unit, which is why a promotion may ask for it as well.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from rollout.core.evidence.fixed_point import STEPS_PER_ONE, Integers, Reals, on_grid
from rollout.core.evidence.interval import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from rollout.core.evidence.score import Scores, Units

GROUPS = 128
"""Enough for a variance (its error is an eighth), and few enough to be kept for each metric and window of a ramp."""
CANDIDATE_GROUPS_MIN = 30
GROUP_SHARE_MAX = 0.1
"""Of the squares of the groups' sizes, which is what their spread would be if all in a group were alike."""
SPREAD_SHARE_MAX = 0.25
"""Of the spread that was seen: the largest of 128 alike has up to a tenth of it by chance."""
BAD_OUTCOMES_MIN = 10
_HALVINGS = 40
_ONE_STEP = int(STEPS_PER_ONE)
_NONE: tuple[int, ...] = (0,) * GROUPS


class ClusterSums(msgspec.Struct, frozen=True, array_like=True):
    """Sums of U and p(1 - p) for each group of users, in steps of 2**-32, and counts.

    `candidates`: units of the candidate in each group whose outcome is known; `outcome`: the sum of their outcomes, in
    steps; `bad_*`: units of the arm with an outcome below one half. `units`: all, with those that are left out.
    """

    contrast: tuple[int, ...] = _NONE
    overlap: tuple[int, ...] = _NONE
    candidates: tuple[int, ...] = _NONE
    bad_candidates: int = 0
    bad_baselines: int = 0
    units: int = 0
    outcome: tuple[int, ...] = _NONE

    @property
    def n_eff(self) -> float:
        """The information gathered: units, each weighted with p(1 - p)."""
        return sum(self.overlap) / STEPS_PER_ONE

    @property
    def estimate(self) -> float | None:
        """The overlap-weighted mean effect; None before there is any."""
        return sum(self.contrast) / sum(self.overlap) if any(self.overlap) else None


class Admissibility(NamedTuple):
    """Whether the sequence may be used, and the reason if not."""

    admissible: bool
    reason: str = ""


def cluster_sums(units: Units, scores: Scores, group: Integers, known: NDArray[np.bool_] | None = None) -> ClusterSums:
    """The sums of a batch; `group`: the user's, in 0..127, the same on every replica for the whole ramp.

    `known`: False for a unit that is left out (scored at its prediction); None: all are known. Who is left out is
    neither good nor bad, and says nothing of the candidate's own mean: the prediction is of both arms' outcomes.
    """
    is_known = np.ones(len(group), np.bool_) if known is None else known
    bad, candidate = (units.outcome < 0.5) & is_known, units.candidate & is_known  # noqa: PLR2004  the scale's middle
    return ClusterSums(
        _by_group(group, on_grid(scores.contrast)),
        _by_group(group, on_grid(scores.overlap)),
        _by_group(group, candidate.astype(np.int64)),
        int((bad & units.candidate).sum()),
        int((bad & ~units.candidate).sum()),
        len(group),
        _by_group(group, on_grid(candidate * units.outcome)),
    )


def add(first: ClusterSums, second: ClusterSums) -> ClusterSums:
    """The sums of both."""
    return ClusterSums(
        _added(first.contrast, second.contrast),
        _added(first.overlap, second.overlap),
        _added(first.candidates, second.candidates),
        first.bad_candidates + second.bad_candidates,
        first.bad_baselines + second.bad_baselines,
        first.units + second.units,
        _added(first.outcome, second.outcome),
    )


def total(sums: Iterable[ClusterSums]) -> ClusterSums:
    """All of `sums` as one."""
    merged = ClusterSums()
    for each in sums:
        merged = add(merged, each)
    return merged


def mirrored(sums: ClusterSums) -> ClusterSums:
    """The same with the arms' roles changed: its effects are the negative ones."""
    return msgspec.structs.replace(sums, contrast=tuple(-each for each in sums.contrast))


def of_candidate(sums: ClusterSums) -> ClusterSums:
    """The same of the candidate alone: its "effect" is the mean of its outcomes, whatever the baseline does."""
    overlap = tuple(count * _ONE_STEP for count in sums.candidates)
    return msgspec.structs.replace(
        sums, contrast=sums.outcome, overlap=overlap, units=sum(sums.candidates), bad_baselines=0
    )


def admissible(sums: ClusterSums, effect: float, *, binary: bool, harm: bool = False) -> Admissibility:
    """Whether there are users enough for the sequence to hold around `effect`; `binary`: outcomes are 0 or 1.

    An arm with next to no bad outcome has no spread by which it could be proven good. For `harm` it may be the one
    arm that has them, if the other would have shown as many by now had it been as bad.
    """
    if sum(count > 0 for count in sums.candidates) < CANDIDATE_GROUPS_MIN:
        return Admissibility(admissible=False, reason=f"fewer than {CANDIDATE_GROUPS_MIN} groups of candidate users")
    for squares, most in (
        (_reals(sums.overlap) ** 2, GROUP_SHARE_MAX),
        (_residuals(sums, effect) ** 2, SPREAD_SHARE_MAX),
    ):
        if squares.max() > most * squares.sum():
            return Admissibility(admissible=False, reason=f"one group of users weighs over {most:.0%} of all")
    if binary and min(_bad_outcomes(sums, harm=harm)) < BAD_OUTCOMES_MIN:
        return Admissibility(admissible=False, reason=f"fewer than {BAD_OUTCOMES_MIN} bad outcomes in an arm")
    return Admissibility(admissible=True)


def boundary(variance: float, variance_tuned: float, alpha: float) -> float:
    """How far a sum of variance `variance` strays to one side, at any time, with probability `alpha` (below 1/2).

    `variance_tuned`: the variance at which the boundary is tightest.
    """
    double = 2.0 * alpha
    rho2 = (-2.0 * math.log(double) + math.log(1.0 - 2.0 * math.log(double))) / variance_tuned
    grown = variance * rho2 + 1.0
    return math.sqrt(2.0 * grown / rho2 * math.log1p(math.sqrt(grown) / double))


def evidence_against(sums: ClusterSums, effect: float, variance_tuned: float, alpha: float) -> float:
    """How far the sum lies above what "the effect is `effect` or less" allows: at 1 that is rejected at `alpha`."""
    residuals = _residuals(sums, effect)
    return float(residuals.sum()) / boundary(float((residuals**2).sum()), variance_tuned, alpha)


def spread(sums: ClusterSums, effect: float) -> float:
    """The variance of the sum of U around `effect`."""
    return float((_residuals(sums, effect) ** 2).sum())


def lower_bound(sums: ClusterSums, variance_tuned: float, alpha: float) -> float:
    """The largest effect such that it and all smaller ones are rejected at `alpha`; -1 if none is.

    `variance_tuned`: the variance of the sum of U at which a decision is expected.
    """
    contrast, overlap = _reals(sums.contrast), _reals(sums.overlap)
    rejected, kept = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = (rejected + kept) / 2
        residuals = contrast - middle * overlap
        if residuals.sum() >= boundary(float((residuals**2).sum()), variance_tuned, alpha):
            rejected = middle
        else:
            kept = middle
    return rejected


def interval(sums: ClusterSums, variance_tuned: float, alpha: float) -> Interval:
    """The effects not rejected at `alpha`, half of it on each side."""
    return Interval(
        lower_bound(sums, variance_tuned, alpha / 2),
        -lower_bound(mirrored(sums), variance_tuned, alpha / 2),
    )


def _bad_outcomes(sums: ClusterSums, *, harm: bool) -> tuple[float, float]:
    """Of each arm that was seen; for harm at least as many as it would have had at the other's rate."""
    candidates = sum(sums.candidates)
    baselines = sums.units - candidates
    bad, other = float(sums.bad_candidates), float(sums.bad_baselines)
    if not baselines:
        return bad, bad
    if harm:
        return max(bad, other * candidates / baselines), max(other, bad * baselines / candidates)
    return bad, other


def _residuals(sums: ClusterSums, effect: float) -> Reals:
    """The sum of U of each group, less what `effect` explains."""
    residuals: NDArray[np.float64] = _reals(sums.contrast) - effect * _reals(sums.overlap)
    return residuals


def _reals(steps: tuple[int, ...]) -> Reals:
    return np.array(steps, np.float64) / STEPS_PER_ONE


def _by_group(group: Integers, values: Integers) -> tuple[int, ...]:
    totals = np.zeros(GROUPS, np.int64)
    np.add.at(totals, group, values)
    return tuple(totals.tolist())


def _added(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(one + other for one, other in zip(first, second, strict=True))
