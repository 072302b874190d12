"""Units by kind: of one metric in one batch they differ in arm and outcome alone, so what each adds is soon computed.

The core scores one unit of each kind; a batch is then a column of kinds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rollout.core.evidence import error_bets, score
from rollout.core.evidence.eprocess import LAMBDAS
from rollout.core.evidence.fixed_point import STEPS_PER_ONE, log_growth
from rollout.core.evidence.score import Scores, Units

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Reals = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Integers = NDArray[np.int64]

OUTCOMES = 3
KINDS = 2 * OUTCOMES
BLOCKS = 60
LEFT_OUT = 2
"""An outcome beside 0 and 1: scored at its prediction."""
_CANDIDATE = np.repeat([False, True], OUTCOMES)
_BETS = np.array(LAMBDAS)[:, np.newaxis]


class Column(NamedTuple):
    """Units of a metric that come of age: the kind of each, where in the batch, and what was known at their draw."""

    kind: Integers
    positions: Integers
    share_millipct: int
    predicted: float


class Growths(NamedTuple):
    """What kinds add to the logs of several series: [series, bets, kinds]; `counts`: [series, kinds, blocks].

    Blocks are as many consecutive parts of a column: the more there are, the closer is what is known of the way.
    """

    each: Reals
    counts: Reals

    def totals(self) -> Reals:
        """Log growths of the batch: [series, bets]."""
        total: Reals = (self.each @ self.counts.sum(axis=2, keepdims=True))[:, :, 0]
        return total

    def rises(self) -> Reals:
        """Up to where logs rise within the batch at most, [series, bets]: as if in a block all that falls came last."""
        grown_by = (self.each @ self.counts).cumsum(axis=2)
        before = np.zeros_like(grown_by)
        before[:, :, 1:] = grown_by[:, :, :-1]
        highest: Reals = (before + np.maximum(self.each, 0.0) @ self.counts).max(axis=2)
        return np.maximum(highest, 0.0)

    def of_units(self, series: int, kind: Integers) -> Reals:
        """Log growths [bets, n] of the units of one series."""
        own: Reals = self.each[series][:, kind]
        return own


def kind_of(candidate: Flags, outcome: Integers) -> Integers:
    """The kinds of units; `outcome` 0, 1 or LEFT_OUT."""
    kind: Integers = candidate * OUTCOMES + outcome
    return kind


def _part(units: Units, own: slice) -> Units:
    return Units(units.share_millipct[own], units.candidate[own], units.outcome[own], units.predicted[own])


def growths(columns: Sequence[Column], margins: Sequence[float], *, harm: bool) -> Growths:
    """One row for each column, each against its margin."""
    units = _one_of_each(columns)
    scores = score.score(units)
    x = np.empty((len(columns), KINDS))
    for row, margin in enumerate(margins):
        own = slice(row * KINDS, (row + 1) * KINDS)
        of_row = Scores(scores.contrast[own], scores.overlap[own])
        if harm:
            x[row] = score.for_harm(of_row, margin) / score.harm_fall(_part(units, own), margin)
        else:
            x[row] = score.for_noninferiority(of_row, margin)
    return Growths(grown(x), counted([column.kind for column in columns]))


def grown(x: Reals) -> Reals:
    """Log growths [series, bets, kinds] of X [series, kinds]."""
    steps: Reals = log_growth(_BETS * x[:, np.newaxis]) / STEPS_PER_ONE
    return steps


def counted(kinds: Sequence[Integers], width: int = KINDS) -> Reals:
    """How many units of each of `width` kinds there are in each block: [series, kinds, blocks]."""
    rows = [np.bincount(kind + width * _blocks(len(kind)), minlength=width * BLOCKS) for kind in kinds]
    return np.array(rows, np.float64).reshape(len(rows), BLOCKS, width).transpose(0, 2, 1)


@lru_cache(maxsize=2_048)
def _blocks(units: int) -> Integers:
    """The block of each of so many units."""
    return np.arange(units) * BLOCKS // max(1, units)


def error_growths(column: Column, margin: float) -> Growths:
    """Of bets on errors: outcome 0 is a failed unit."""
    return Growths(_of_errors(column.share_millipct, margin), counted([column.kind]))


@lru_cache(maxsize=64)
def _of_errors(share_millipct: int, margin: float) -> Reals:
    each = [
        (of_one.baseline, of_one.other, of_one.other, of_one.candidate, of_one.other, of_one.other)
        for of_one in error_bets.log_factors(share_millipct, margin)
    ]
    return np.array(each)[np.newaxis]


def _one_of_each(columns: Sequence[Column]) -> Units:
    predicted = np.repeat([column.predicted for column in columns], KINDS)
    outcome = predicted.copy().reshape(len(columns), 2, OUTCOMES)
    outcome[:, :, :LEFT_OUT] = (0.0, 1.0)
    return Units(
        np.repeat([column.share_millipct for column in columns], KINDS),
        np.tile(_CANDIDATE, len(columns)),
        outcome.ravel(),
        predicted,
    )
