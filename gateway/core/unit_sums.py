"""From units to vectors of evidence: where each belongs, and what it was predicted to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rollout.core.claims import Claim, draw_of
from rollout.core.errors import InvalidArgument
from rollout.core.evidence.arms import BASELINE, CANDIDATE, units_key
from rollout.core.evidence.ledger import gathered
from rollout.core.evidence.names import gathers
from rollout.core.evidence.plans import key_of, plans_of, prefix_of, vector_of
from rollout.core.evidence.score import RunningMean, Units
from rollout.core.model import EMPTY_SNAPSHOT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.units import Unit
    from rollout.core.evidence.ledger import MetricPlan
    from rollout.core.model import FeatureFlag, Snapshot
    from rollout.core.ramp_model import Progress
    from rollout.core.sums import SumKey

_METRIC = "errors"
_REVISIONS_KEPT = 64
"""Of each feature: units come of age long after their revision."""
_USUALLY_GOOD = RunningMean(prior=1.0)


class _Place(NamedTuple):
    """Where units of a revision belong. `plan`: None if nothing was gathered under it after all."""

    draw: str
    progress: Progress
    plan: MetricPlan | None
    prefix: str


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
        """What a batch of new units adds to each vector. Its outcomes are in the predictions of later batches only."""
        placed = [
            (unit, place) for unit, place in zip(units, map(self._place, units), strict=True) if place is not None
        ]
        self.unplaced += len(units) - len(placed)
        grouped: dict[tuple[SumKey, MetricPlan], list[Unit]] = {}
        deltas: dict[SumKey, list[int]] = {}
        for unit, place in placed:
            arms = deltas.setdefault(units_key(unit.feature, place.progress, unit.share_millipct), [0, 0])
            arms[CANDIDATE if unit.candidate else BASELINE] += 1
            if place.plan is not None:
                key = key_of(unit.feature, place.progress, place.prefix, unit.arrived_s + age_s)
                grouped.setdefault((key, place.plan), []).append(unit)
        for (key, plan), group in grouped.items():
            deltas[key] = vector_of(gathered(plan, _columns(group, self._mean(key.feature).value)))
        for (key, _), group in grouped.items():
            known = [unit.success for unit in group if unit.success is not None]
            self._means[key.feature] = self._mean(key.feature).after(np.array(known, np.float64))
        return deltas

    def _mean(self, feature: str) -> RunningMean:
        return self._means.get(feature, _USUALLY_GOOD)

    def _place(self, unit: Unit) -> _Place | None:
        return self._places.get(unit.feature, {}).get(unit.revision)


def _place_of(flag: FeatureFlag) -> _Place:
    try:
        plan = plans_of(flag).get(_METRIC)
    except InvalidArgument:  # its gates say so
        plan = None
    prefix = "" if plan is None else prefix_of(_METRIC, plan)
    return _Place(draw_of(flag.hash_version, flag.split_salt), flag.progress, plan, prefix)


def _columns(group: Sequence[Unit], predicted: float) -> Units:
    outcomes = [predicted if unit.success is None else unit.success for unit in group]
    return Units(
        np.array([unit.share_millipct for unit in group], np.int64),
        np.array([unit.candidate for unit in group], np.bool_),
        np.array(outcomes, np.float64),
        np.full(len(group), predicted),
    )
