"""From units to vectors of evidence: what they came to, where that belongs, and what it was predicted to be."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from gateway.core.checks.sampling import CheckSample
from gateway.core.held_units import Held
from gateway.core.judged_unit import Judged
from gateway.core.left_out import Why
from gateway.core.left_out_units import LeftOutUnits
from gateway.core.unit_outcomes import ABSENT, BEYOND, Outcome, form_of, outcomes_of, thumbs_of
from gateway.core.unit_places import Places
from gateway.core.yardsticks import Yardsticks
from rollout.core.evidence.arms import BASELINE, CANDIDATE, units_key
from rollout.core.evidence.coverage import rated
from rollout.core.evidence.eprocess import NOTHING
from rollout.core.evidence.ledger import gathered
from rollout.core.evidence.names import ERRORS, FORM, LATENCY, THUMBS
from rollout.core.evidence.plans import ErrorCounts, epoch_of, vector_of
from rollout.core.evidence.score import RunningMean, Units
from rollout.core.evidence.silence import Watch, Watched, watched_key
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gateway.core.unit_places import Place
    from gateway.core.units import Unit
    from rollout.core.evidence.ledger import MetricPlan
    from rollout.core.model import Snapshot
    from rollout.core.sums import SumKey

_MEANS_MAX = 4_096
_VECTORS_MAX = 1_024
_PREDICTION_STEPS = 1_024
"""Predictions are rounded to these, so that what units of one kind add is worked out once."""
Deltas = dict["SumKey", list[int]]


class Books:
    """One worker's. `unplaced` (counter): units of revisions that are forgotten.

    `beyond` (counter): outcomes that can't be known, their bound being beyond the age; of which features and metrics.
    """

    def __init__(
        self, sampled: CheckSample | None = None, flawed: Callable[[Unit], bool | None] = lambda _: None
    ) -> None:
        """`sampled`: requests whose answers are checked; `flawed`: what was found, None if nobody knows."""
        self._sampled, self._flawed = sampled or CheckSample(), flawed
        self.places = Places()
        self.left_out = LeftOutUnits(self.places, self._sampled)
        self._yardsticks = Yardsticks()
        self._means: dict[tuple[str, str], RunningMean] = {}
        self._vector = lru_cache(_VECTORS_MAX)(_vector_of_one)
        self.unplaced = 0
        self.beyond: Counter[tuple[str, str]] = Counter()

    def learn(self, snapshot: Snapshot) -> None:
        """Note where units of each revision belong."""
        self.places.learn(snapshot)

    def judged(self, now_s: float, units: Sequence[Unit]) -> list[Judged]:
        """What all units came to that have come of age by now. To be called in order of time."""
        judged = self.judge(units)
        self.watch(now_s, units)
        return judged

    def judge(self, units: Sequence[Unit]) -> list[Judged]:
        """What units came to that have come of age."""
        judged: list[Judged] = []
        for unit in units:
            found = self._judged(unit)
            if found is not None:
                judged.append(found)
            elif unit.feature not in self.places.over:
                self.unplaced += 1
                self.left_out.lose(unit, Why.UNPLACED)
        return judged

    def watch(self, now_s: float, units: Sequence[Unit]) -> None:
        """Learn how long those took that have come of age by now, for units that come from now on."""
        self._yardsticks.learn(now_s, units, self._wanted())

    def see(self, units: Sequence[Unit]) -> None:
        """Learn of some of those that have come of age, before `watch` is told of the last of them."""
        self._yardsticks.see(units, self._wanted())

    def summed(self, units: Sequence[Judged]) -> Deltas:
        """What a batch of new units adds to each vector. Its outcomes are in the predictions of later batches only."""
        deltas: Deltas = {}
        for (place, epoch, candidate), group in _grouped(units, lambda each: each.place.age_s):
            feature, share = place.flag.feature, place.flag.share_millipct
            arms = deltas.setdefault(units_key(feature, place.flag.progress, share), [0, 0])
            arms[CANDIDATE if candidate else BASELINE] += len(group)
            if place.counts_errors:
                errors = sum(each.success == 0.0 for each in group)
                row = (errors, 0, len(group), 0) if candidate else (0, errors, 0, len(group))
                _add(deltas, place.errors_key(epoch), ErrorCounts(*row), 1)
        self._add_series(deltas, units, lambda each: each.place.age_s)
        for key, counts in self.left_out.rows(units):
            _add(deltas, key, counts, 1)
        return deltas

    def held(self, units: Iterable[Judged]) -> Iterator[Held]:
        """Of new units those that are asked for again when callers' ratings count."""
        for unit in units:
            place = unit.place
            if place.rated_after_s is not None:
                at_s, flag = unit.arrived_s + place.rated_after_s, place.flag
                yield Held(at_s, unit.arrived_s, flag.feature, flag.revision, unit.digest, unit.candidate)

    def rated(self, units: Iterable[tuple[Held, Sequence[float]]]) -> Deltas:
        """What units add at the age of callers' ratings; their ratings are beside them."""
        found: list[Judged] = []
        rows_of_ratings: list[tuple[SumKey, Sequence[int]]] = []
        for unit, ratings in units:
            place = self.places.of(unit.feature, unit.revision)
            if place is None:
                if unit.feature not in self.places.over:
                    self.unplaced += 1
                    self.left_out.lose_held(unit, Why.UNPLACED)
                continue
            if ratings:
                said = rated(1, candidate=unit.candidate)
                rows_of_ratings += [
                    (place.covered[each.prefix], said) for each in place.series if each.metric == THUMBS
                ]
            thumbs = thumbs_of(ratings)
            outcomes = tuple(thumbs if each.metric == THUMBS else ABSENT for each in place.series)
            found.append(Judged(place, unit.arrived_s, unit.digest, unit.candidate, None, outcomes))
        deltas: Deltas = {}
        self._add_series(deltas, found, lambda each: each.place.rated_after_s or 0.0)
        for key, counts in rows_of_ratings:
            _add(deltas, key, counts, 1)
        return deltas

    def _judged(self, unit: Unit) -> Judged | None:
        place = self.places.of(unit.feature, unit.revision)
        if place is None:
            return None
        yardsticks_s = self._yardsticks.at(unit.feature, unit.arrived_s) if place.latencies else {}
        outcomes = outcomes_of(unit, place.series, yardsticks_s, self._form(unit))
        if BEYOND in outcomes:
            pairs = zip(place.series, outcomes, strict=True)
            self.beyond.update((unit.feature, series.metric) for series, found in pairs if found == BEYOND)
        return Judged(place, unit.arrived_s, unit.digest, unit.candidate, unit.success, outcomes)

    def _wanted(self) -> dict[str, frozenset[str]]:
        return {place.flag.feature: place.latencies for place in self.places.current if place.latencies}

    def _form(self, unit: Unit) -> Outcome:
        sampled = self._sampled.takes(unit.request_id, unit.arrived_s)
        return form_of(sampled=sampled, flawed=self._flawed(unit) if sampled else None)

    def _add_series(self, deltas: Deltas, units: Iterable[Judged], age_s: Callable[[Judged], float]) -> None:
        """Units of one kind add the same, so the cost is that of the kinds, not of the units.

        A series is predicted once for the batch: both arms are held against the same, whatever is forgotten meanwhile.
        """
        predictions: dict[tuple[str, str], float] = {}
        news: list[tuple[tuple[str, str], str, float, int]] = []
        for (place, epoch, candidate), group in _grouped(units, age_s):
            arm = Arm.CANDIDATE if candidate else Arm.BASELINE
            columns = zip(*(each.outcomes for each in group), strict=True)
            for series, column in zip(place.series, columns, strict=True):
                mean_key = (place.flag.feature, series.prefix)
                if mean_key not in predictions:
                    predictions[mean_key] = self._predicted(mean_key, series.metric)
                for outcome, count in Counter(column).items():
                    if outcome is not None and outcome < 0:
                        continue
                    row = self._vector(series.plan, place.flag.share_millipct, arm, outcome, predictions[mean_key])
                    _add(deltas, place.key(series, epoch), row, count)
                    if outcome is not None:
                        news.append((mean_key, series.metric, outcome, count))
        for mean_key, metric, outcome, count in news:
            self._means[mean_key] = self._mean(mean_key, metric).after(np.full(count, outcome))

    def _predicted(self, key: tuple[str, str], metric: str) -> float:
        return round(self._mean(key, metric).value * _PREDICTION_STEPS) / _PREDICTION_STEPS

    def _mean(self, key: tuple[str, str], metric: str) -> RunningMean:
        known = self._means.get(key)
        if known is None:
            known = self._means[key] = RunningMean(prior=_usual(metric))
            while len(self._means) > _MEANS_MAX:
                del self._means[next(iter(self._means))]
        return known


def looked_at(units: Iterable[Judged]) -> Deltas:
    """What units that have come of age add, new or known: that somebody looks at them, see `silence`."""
    deltas: Deltas = {}
    for (place, _, _), group in _grouped(units, lambda _: 0.0):
        feature, progress, arrived_s = place.flag.feature, place.flag.progress, group[0].arrived_s
        _add(deltas, watched_key(feature, progress, arrived_s), Watched(units=len(group)), 1)
        forms = [form for form in _forms_of(place, group) if form != ABSENT]
        if forms:
            checked = Watched(requests=len(forms), units=len(forms) - forms.count(None))
            _add(deltas, watched_key(feature, progress, arrived_s, Watch.CHECKS), checked, 1)
    return deltas


def _forms_of(place: Place, units: Iterable[Judged]) -> list[Outcome]:
    """What the free checks came to, whichever gate asked; none where none did."""
    column = next((number for number, series in enumerate(place.series) if series.metric == FORM), None)
    return [] if column is None else [unit.outcomes[column] for unit in units]


def _usual(metric: str) -> float:
    if metric in LATENCY:
        return LATENCY[metric].quantile
    return 1.0 if metric in (ERRORS, FORM) else 0.5


def _grouped(
    units: Iterable[Judged], age_s: Callable[[Judged], float]
) -> Iterator[tuple[tuple[Place, int, bool], list[Judged]]]:
    """Units by place, epoch and arm."""
    groups: dict[tuple[Place, int, bool], list[Judged]] = {}
    for unit in units:
        epoch = epoch_of(unit.place.flag.progress, unit.arrived_s + age_s(unit))
        groups.setdefault((unit.place, epoch, unit.candidate), []).append(unit)
    yield from groups.items()


def _add(deltas: Deltas, key: SumKey, row: Sequence[int], count: int) -> None:
    known = deltas.get(key)
    if known is None:
        deltas[key] = [count * each for each in row]
    else:
        deltas[key] = [value + count * each for value, each in zip(known, row, strict=True)]


def _vector_of_one(
    plan: MetricPlan, share_millipct: int, arm: Arm, outcome: float | None, predicted: float
) -> tuple[int, ...]:
    """What one unit of a kind adds. Who is left out is scored at the prediction, and says nothing of a floor.

    For that one the prediction is none: of the baseline's outcomes, too, it would hold them against the candidate.
    """
    columns = Units(
        np.array([share_millipct], np.int64),
        np.array([arm is Arm.CANDIDATE], np.bool_),
        np.array([predicted if outcome is None else outcome], np.float64),
        np.array([predicted], np.float64),
    )
    sums = gathered(plan, columns)
    if outcome is None:
        sums = replace(sums, floors=(NOTHING,) * len(plan.floors))
    return tuple(vector_of(sums))
