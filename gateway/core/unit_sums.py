"""From units to vectors of evidence: where each belongs, and what it was predicted to be."""

from __future__ import annotations

from collections import Counter
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from rollout.core.claims import Claim, draw_of
from rollout.core.errors import InvalidArgument
from rollout.core.evidence.arms import BASELINE, CANDIDATE, units_key
from rollout.core.evidence.ledger import MetricPlan, gathered
from rollout.core.evidence.names import gathers
from rollout.core.evidence.plans import epoch_of, key_of, plans_of, prefix_of, vector_of
from rollout.core.evidence.score import RunningMean, Units
from rollout.core.model import EMPTY_SNAPSHOT
from rollout.core.ramp_model import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.units import Unit
    from rollout.core.model import FeatureFlag, Snapshot
    from rollout.core.sums import SumKey

_METRIC = "errors"
_REVISIONS_KEPT = 64
"""Of each feature: units come of age long after their revision."""
_USUALLY_GOOD = RunningMean(prior=1.0)


class _Place(msgspec.Struct, frozen=True, eq=False):
    """Where units of a revision belong, the share at their draw; `plan`: None if nothing was gathered after all."""

    draw: str
    share_millipct: int
    progress: Progress
    plan: MetricPlan | None
    prefix: str


class _Kind(NamedTuple):
    """All that makes a difference between units of a batch."""

    place: _Place
    feature: str
    epoch: int
    candidate: bool
    success: float | None


class Books:
    """One worker's. `unplaced` (counter): units of revisions that were never seen here, or are forgotten."""

    def __init__(self) -> None:
        self._seen = EMPTY_SNAPSHOT
        self._places: dict[str, dict[int, _Place]] = {}
        self._means: dict[str, RunningMean] = {}
        self.unplaced = 0

    def learn(self, snapshot: Snapshot) -> None:
        """Note where units of each revision belong."""
        if snapshot is self._seen:
            return
        self._seen = snapshot
        for name, feature in snapshot.features.items():
            if gathers(feature.flag):
                known = self._places.setdefault(name, {})
                known[feature.flag.revision] = _place_of(feature.flag)
                while len(known) > _REVISIONS_KEPT:
                    del known[next(iter(known))]

    def claims(self, units: Sequence[Unit]) -> list[tuple[Unit, Claim]]:
        """What to claim for which unit, without those that nobody knows where to put."""
        placed = [(unit, self._place(unit)) for unit in units]
        known = [(unit, Claim(unit.feature, place.draw, unit.digest)) for unit, place in placed if place is not None]
        self.unplaced += len(units) - len(known)
        return known

    def summed(self, units: Sequence[Unit], age_s: float) -> dict[SumKey, list[int]]:
        """What a batch of new units adds to each vector. Its outcomes are in the predictions of later batches only.

        Units of one kind add the same, so the cost is that of the kinds, not of the units.
        """
        kinds = self._kinds(units, age_s)
        means = {kind.feature: self._means.get(kind.feature, _USUALLY_GOOD) for kind in kinds}
        deltas: dict[SumKey, list[int]] = {}
        for kind, count in kinds.items():
            self._add(deltas, kind, count, means[kind.feature].value)
            if kind.success is not None:
                outcomes = np.full(count, kind.success)
                self._means[kind.feature] = self._means.get(kind.feature, _USUALLY_GOOD).after(outcomes)
        return deltas

    def _kinds(self, units: Sequence[Unit], age_s: float) -> Counter[_Kind]:
        kinds: Counter[_Kind] = Counter()
        for unit in units:
            place = self._place(unit)
            if place is None:
                self.unplaced += 1
                continue
            epoch = epoch_of(place.progress, unit.arrived_s + age_s)
            kinds[_Kind(place, unit.feature, epoch, unit.candidate, unit.success)] += 1
        return kinds

    @staticmethod
    def _add(deltas: dict[SumKey, list[int]], kind: _Kind, count: int, predicted: float) -> None:
        place, feature = kind.place, kind.feature
        arms = deltas.setdefault(units_key(feature, place.progress, place.share_millipct), [0, 0])
        arms[CANDIDATE if kind.candidate else BASELINE] += count
        if place.plan is None:
            return
        vector = vector_of(gathered(place.plan, _columns(kind, predicted)))
        key = key_of(feature, place.progress, place.prefix, kind.epoch)
        deltas[key] = [value + count * each for value, each in zip(deltas.get(key, repeat(0)), vector, strict=False)]

    def _place(self, unit: Unit) -> _Place | None:
        return self._places.get(unit.feature, {}).get(unit.revision)


def _place_of(flag: FeatureFlag) -> _Place:
    try:
        plan = plans_of(flag).get(_METRIC)
    except InvalidArgument:  # its gates say so
        plan = None
    prefix = "" if plan is None else prefix_of(_METRIC, plan)
    return _Place(draw_of(flag.hash_version, flag.split_salt), flag.share_millipct, flag.progress, plan, prefix)


def _columns(kind: _Kind, predicted: float) -> Units:
    """One unit of it."""
    return Units(
        np.array([kind.place.share_millipct], np.int64),
        np.array([kind.candidate], np.bool_),
        np.array([predicted if kind.success is None else kind.success], np.float64),
        np.array([predicted], np.float64),
    )
