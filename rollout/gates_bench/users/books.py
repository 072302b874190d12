"""What a gateway's worker adds to the store of such requests: a twin of its books, which a test compares with them.

The sums by groups of users, of every request; and beside them those of each user's first request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rollout.core.evidence.cluster_parts import cell_of, parts_of, vectors_of
from rollout.core.evidence.clusters import GROUPS, cluster_sums
from rollout.core.evidence.fixed_point import STEPS_PER_ONE, on_grid
from rollout.core.evidence.ledger import gathered
from rollout.core.evidence.plans import epoch_of, key_of, series_of, vector_of
from rollout.core.evidence.score import RunningMean, Units, score

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rollout.core.model import FeatureFlag
    from rollout.core.sums import SumKey
    from rollout.gates_bench.users.world import Requests

    Reals = NDArray[np.float64]
    Integers = NDArray[np.int64]

_GOOD = 1.0
"""What an answer's form is predicted to be before any was seen."""
_PREDICTION_STEPS = 1_024


class UsersBooks:
    """Of one ramp whose flag asks for one metric of form."""

    def __init__(self) -> None:
        self._steps, self._counts = np.zeros(GROUPS, np.int64), np.zeros(GROUPS, np.int64)
        self._first = RunningMean(_GOOD)
        self._known = np.zeros(0, np.int64)

    def summed(self, flag: FeatureFlag, requests: Requests, entered_s: float) -> dict[SumKey, list[int]]:
        """What a batch adds, all of which enters at Unix time `entered_s`. Its outcomes predict later ones only."""
        return self._by_groups(flag, requests, entered_s) | self._by_first(flag, requests, entered_s)

    def _by_groups(self, flag: FeatureFlag, requests: Requests, entered_s: float) -> dict[SumKey, list[int]]:
        (part,) = parts_of(flag)
        group = requests.digest % GROUPS
        units = _units(flag, requests, self._others_mean()[group])
        sums = cluster_sums(units, score(units), group)
        np.add.at(self._steps, group, on_grid(units.outcome))
        np.add.at(self._counts, group, 1)
        cell = cell_of(part, flag.progress, entered_s)
        return vectors_of(part, flag.feature, flag.progress, cell, [sums] * len(part.series))

    def _others_mean(self) -> Reals:
        """For each group the mean of all others."""
        steps, counts = self._steps.sum() - self._steps, self._counts.sum() - self._counts
        means: Reals = (_GOOD + steps / STEPS_PER_ONE) / (1 + counts)
        return means

    def _by_first(self, flag: FeatureFlag, requests: Requests, entered_s: float) -> dict[SumKey, list[int]]:
        (series,) = series_of(flag)
        _, first = np.unique(requests.digest, return_index=True)
        new = first[~np.isin(requests.digest[first], self._known)]
        if not len(new):
            return {}
        self._known = np.concatenate([self._known, requests.digest[new]])
        predicted = round(self._first.value * _PREDICTION_STEPS) / _PREDICTION_STEPS
        units = _units(flag, requests.at(new), np.full(len(new), predicted))
        self._first = self._first.after(units.outcome)
        key = key_of(flag.feature, flag.progress, series.prefix, epoch_of(flag.progress, entered_s))
        return {key: vector_of(gathered(series.plan, units))}


def _units(flag: FeatureFlag, requests: Requests, predicted: Reals) -> Units:
    share = np.full(len(requests.digest), flag.share_millipct, np.int64)
    return Units(share, requests.candidate, requests.good.astype(np.float64), predicted)
