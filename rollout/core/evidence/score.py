"""The randomisation score: what one unit says about candidate against baseline, using nothing but the known coin flip.

    U = (Z - p)(Y - m)        E[U | past] = p(1 - p) * effect on this unit
    overlap = p(1 - p)        the information a unit carries

Z: was the unit assigned to the candidate; p: the share in force at its draw; Y in [0, 1]: its outcome, higher is
better; m in [0, 1]: a prediction of Y from the past and from what was known before the draw. A bad m costs power, never
validity. Never divides by p, so a share of 0.001 % neither explodes nor dominates; p of 0 or 1 says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.fixed_point import Integers, Reals, on_grid, real
from rollout.core.model import BUCKETS

if TYPE_CHECKING:
    from numpy.typing import NDArray


FALL_MIN = 1e-6
"""Instead of nothing, where X can't fall at all: a share of 0 or 1, a floor of 1."""


class Units(NamedTuple):
    """A batch of outcomes of one metric, all arrays of one length.

    `share_millipct`: in force at the draw; `candidate`: assigned, whoever answered; `outcome`, `predicted`: in [0, 1].
    """

    share_millipct: Integers
    candidate: NDArray[np.bool_]
    outcome: Reals
    predicted: Reals


class Scores(NamedTuple):
    """U and p(1 - p) of each unit."""

    contrast: Reals
    overlap: Reals


def score(units: Units) -> Scores:
    """Score a batch; InvalidArgument if a share, an outcome or a prediction is out of range or not a number."""
    _check(units)
    share = units.share_millipct / BUCKETS
    overlap = share * (1.0 - share)
    return Scores((units.candidate - share) * (units.outcome - units.predicted), overlap)


def for_noninferiority(scores: Scores, margin: float) -> Reals:
    """X with E[X | past] <= 0 as long as the candidate is worse by `margin` (in [0, 1]) or more; |X| <= 1."""
    return scores.contrast + margin * scores.overlap


def for_harm(scores: Scores, margin: float) -> Reals:
    """X with E[X | past] <= 0 as long as the candidate is worse by at most `margin` (in [0, 1]); |X| <= 1."""
    return -for_noninferiority(scores, margin)


def harm_fall(units: Units, margin: float) -> Reals:
    """How far X of `for_harm` can fall at most, whatever arm and outcome: known before the draw, and above zero.

    X = -(Z - p)(Y - m) - margin p(1 - p) is least for a good answer of the candidate, -(1 - p)(1 - m), or a bad one of
    the baseline, -p m, each less the last term. b, the larger of both with it, is a function of p, m and the margin
    alone, so E[X / b | past] = E[X | past] / b <= 0 wherever E[X | past] <= 0, and X / b >= -1: all that betting asks
    for. Where failures are rare and the share is small, a good answer says little against harm and a bad one much for
    it. X of `for_noninferiority` falls by almost 1 there: nothing is to be gained.
    """
    share = units.share_millipct / BUCKETS
    of_candidate, of_baseline = (1.0 - share) * (1.0 - units.predicted), share * units.predicted
    falls: Reals = np.maximum(of_candidate, of_baseline) + margin * share * (1.0 - share)
    return np.maximum(falls, FALL_MIN)


def below_floor(units: Units, floor: float) -> Reals:
    """X with E[X | past] <= 0 as long as the candidate's mean outcome is `floor` (in [0, 1]) or more; |X| <= 1.

    Says nothing of the baseline: one that is down can't make the candidate look fine.
    """
    return units.candidate * (floor - units.outcome)


def floor_fall(floor: float) -> float:
    """How far X of `below_floor` can fall at most, and above zero: Y <= 1. See `harm_fall`."""
    return max(1.0 - floor, FALL_MIN)


class RunningMean(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Mean of the outcomes so far, starting from `prior` as if one outcome had been that. `steps`: sum, fixed point."""

    prior: float = 0.5
    steps: int = 0
    count: int = 0

    @property
    def value(self) -> float:
        """The prediction for every unit of the next batch."""
        return (self.prior + real(self.steps)) / (1 + self.count)

    def after(self, outcomes: Reals) -> RunningMean:
        """The mean once a batch is known: predictions of a batch use the mean before it."""
        return RunningMean(self.prior, self.steps + int(on_grid(outcomes).sum()), self.count + len(outcomes))


def _check(units: Units) -> None:
    if len({len(column) for column in units}) != 1:
        raise InvalidArgument("the columns of a batch of units differ in length", "give one value for each unit")
    in_range = ((units.share_millipct >= 0) & (units.share_millipct <= BUCKETS)).all()
    for column in (units.outcome, units.predicted):
        in_range &= ((column >= 0.0) & (column <= 1.0)).all()  # false for what is not a number
    if not in_range:
        raise InvalidArgument(
            "a unit's share, outcome or prediction is out of range",
            f"shares are 0..{BUCKETS} millipct, outcomes and predictions in [0, 1]",
        )
