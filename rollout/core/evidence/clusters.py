"""Units of one user belong together: a cluster-robust confidence sequence, for arms that stick to users.

There the draws of one user are one draw, and an e-process by request errs (15-25 % false alarms). Here users are hashed
into 512 groups, and the spread of the groups' sums says how uncertain the total is: groups of whole users are
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
    from numpy.typing import NDArray

    from rollout.core.evidence.score import Scores, Units

GROUPS = 512
CANDIDATE_GROUPS_MIN = 30
GROUP_SHARE_MAX = 0.1
BAD_OUTCOMES_MIN = 10
_HALVINGS = 40
_NONE: tuple[int, ...] = (0,) * GROUPS


class ClusterSums(msgspec.Struct, frozen=True, array_like=True):
    """Sums of U and p(1 - p) for each group of users, in steps of 2**-32, and counts.

    `candidates`: units of the candidate in each group; `bad_*`: units of the arm with an outcome below one half.
    """

    contrast: tuple[int, ...] = _NONE
    overlap: tuple[int, ...] = _NONE
    candidates: tuple[int, ...] = _NONE
    bad_candidates: int = 0
    bad_baselines: int = 0


class Admissibility(NamedTuple):
    """Whether the sequence may be used, and the reason if not."""

    admissible: bool
    reason: str = ""


def cluster_sums(units: Units, scores: Scores, group: Integers) -> ClusterSums:
    """The sums of a batch; `group`: the user's, in 0..511, the same on every replica for the whole ramp."""
    bad = units.outcome < 0.5  # noqa: PLR2004  the middle of the scale
    return ClusterSums(
        _by_group(group, on_grid(scores.contrast)),
        _by_group(group, on_grid(scores.overlap)),
        _by_group(group, units.candidate.astype(np.int64)),
        int((bad & units.candidate).sum()),
        int((bad & ~units.candidate).sum()),
    )


def add(first: ClusterSums, second: ClusterSums) -> ClusterSums:
    """The sums of both."""
    return ClusterSums(
        _added(first.contrast, second.contrast),
        _added(first.overlap, second.overlap),
        _added(first.candidates, second.candidates),
        first.bad_candidates + second.bad_candidates,
        first.bad_baselines + second.bad_baselines,
    )


def admissible(sums: ClusterSums, effect: float, *, binary: bool) -> Admissibility:
    """Whether there are users enough for the sequence to hold around `effect`; `binary`: outcomes are 0 or 1."""
    if sum(count > 0 for count in sums.candidates) < CANDIDATE_GROUPS_MIN:
        return Admissibility(admissible=False, reason=f"fewer than {CANDIDATE_GROUPS_MIN} groups of candidate users")
    squares = _residuals(sums, effect) ** 2
    if squares.max() > GROUP_SHARE_MAX * squares.sum():
        return Admissibility(
            admissible=False, reason=f"one group of users has over {GROUP_SHARE_MAX:.0%} of the spread"
        )
    if binary and min(sums.bad_candidates, sums.bad_baselines) < BAD_OUTCOMES_MIN:
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


def lower_bound(sums: ClusterSums, variance_tuned: float, alpha: float) -> float:
    """The largest effect such that it and all smaller ones are rejected at `alpha`; -1 if none is.

    `variance_tuned`: the variance of the sum of U at which a decision is expected.
    """
    rejected, kept = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = (rejected + kept) / 2
        residuals = _residuals(sums, middle)
        strays = boundary(float((residuals**2).sum()), variance_tuned, alpha)
        if residuals.sum() >= strays:
            rejected = middle
        else:
            kept = middle
    return rejected


def interval(sums: ClusterSums, variance_tuned: float, alpha: float) -> Interval:
    """The effects not rejected at `alpha`, half of it on each side."""
    mirrored = msgspec.structs.replace(sums, contrast=tuple(-each for each in sums.contrast))
    return Interval(
        lower_bound(sums, variance_tuned, alpha / 2),
        -lower_bound(mirrored, variance_tuned, alpha / 2),
    )


def _residuals(sums: ClusterSums, effect: float) -> Reals:
    """The sum of U of each group, less what `effect` explains."""
    contrast, overlap = np.array(sums.contrast, np.float64), np.array(sums.overlap, np.float64)
    residuals: NDArray[np.float64] = (contrast - effect * overlap) / STEPS_PER_ONE
    return residuals


def _by_group(group: Integers, values: Integers) -> tuple[int, ...]:
    totals = np.zeros(GROUPS, np.int64)
    np.add.at(totals, group, values)
    return tuple(totals.tolist())


def _added(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(one + other for one, other in zip(first, second, strict=True))
