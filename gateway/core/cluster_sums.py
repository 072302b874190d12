"""From requests of users to sums by groups of users, see `rollout.core.evidence.clusters`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gateway.core.unit_outcomes import UNRATED
from rollout.core.evidence.cluster_parts import cell_of, vectors_of
from rollout.core.evidence.clusters import GROUPS, ClusterSums, cluster_sums
from rollout.core.evidence.coverage import rated
from rollout.core.evidence.fixed_point import STEPS_PER_ONE, on_grid
from rollout.core.evidence.names import LATENCY, THUMBS
from rollout.core.evidence.score import Units, score
from rollout.core.sums import VALUES_PER_FLUSH_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.core.cluster_requests import ClusterPlace
    from rollout.core.evidence.cluster_parts import Cell, Part
    from rollout.core.evidence.coverage import Counts
    from rollout.core.evidence.fixed_point import Reals
    from rollout.core.evidence.plans import Series
    from rollout.core.sums import SumKey

_EVEN = 0.5
_MEANS_KEPT = 1_024


class Entry(NamedTuple):
    """A request that has come of age. `outcomes`: by series of the part; None: left out, below zero: absent."""

    place: ClusterPlace
    part: Part
    cell: Cell
    digest: int
    candidate: bool
    outcomes: Sequence[float | None]


def entry_of(
    place: ClusterPlace, part: Part, arrived_s: float, digest: int, *, candidate: bool, outcomes: Sequence[float | None]
) -> Entry:
    """A request that arrived then (Unix time), in the cell in which it enters."""
    cell = cell_of(part, place.flag.progress, arrived_s + part.age_s)
    return Entry(place, part, cell, digest, candidate, outcomes)


def group_of(digest: int) -> int:
    """A user's group: of the digest's low bits, so that it is the same on every replica for the whole ramp."""
    return digest % GROUPS


def fitting(entries: Sequence[Entry]) -> int:
    """How many of the first ones fit one flush of the store."""
    cells: set[tuple[str, str, Cell]] = set()
    values = 0
    for number, each in enumerate(entries):
        cell = (each.place.flag.feature, each.part.name, each.cell)
        if cell not in cells:
            cells.add(cell)
            values += each.part.values
            if values > VALUES_PER_FLUSH_MAX:
                return number
    return len(entries)


def add_rows(deltas: dict[SumKey, list[int]], rows: Iterable[tuple[SumKey, Sequence[int]]]) -> None:
    """Add small counts to what is sent with the sums."""
    for key, row in rows:
        before = deltas.get(key)
        deltas[key] = list(row) if before is None else list(map(int.__add__, before, row))


class OthersMean:
    """The mean outcome of all groups but one: what a user is predicted to do without a look at that user.

    A mean with the user's own past in it would follow the user's arm, and hide a part of the effect.
    """

    def __init__(self, prior: float) -> None:
        """`prior`: as if one outcome of nobody had been that."""
        self._prior = prior
        self._steps = np.zeros(GROUPS, np.int64)
        self._counts = np.zeros(GROUPS, np.int64)

    def by_group(self) -> Reals:
        """The prediction for each group."""
        steps, counts = self._steps.sum() - self._steps, self._counts.sum() - self._counts
        means: Reals = (self._prior + steps / STEPS_PER_ONE) / (1 + counts)
        return means

    def add(self, groups: Sequence[int], outcomes: Sequence[float]) -> None:
        """Take outcomes that are known."""
        np.add.at(self._steps, list(groups), on_grid(np.array(outcomes, np.float64)))
        np.add.at(self._counts, list(groups), 1)


class ClusterBooks:
    """One worker's predictions, by feature and series."""

    def __init__(self) -> None:
        self._means: dict[tuple[str, str], OthersMean] = {}

    def summed(self, entries: Sequence[Entry]) -> dict[SumKey, list[int]]:
        """What a batch adds to each vector. Its outcomes are in the predictions of later batches only."""
        batches: defaultdict[tuple[int, str, Cell], list[Entry]] = defaultdict(list)
        for each in entries:
            batches[id(each.place), each.part.name, each.cell].append(each)
        deltas: dict[SumKey, list[int]] = {}
        for (_, _, cell), batch in batches.items():
            flag, part = batch[0].place.flag, batch[0].part
            sums = [self._sums(batch, index) for index in range(len(part.series))]
            add_rows(deltas, vectors_of(part, flag.feature, flag.progress, cell, sums).items())
            add_rows(deltas, _ratings_of(batch))
        for batch in batches.values():
            self._learn(batch)
        return deltas

    def _sums(self, batch: Sequence[Entry], index: int) -> ClusterSums:
        place, part = batch[0].place, batch[0].part
        present = [each for each in batch if not _is_absent(each.outcomes[index])]
        group = np.array([group_of(each.digest) for each in present], np.int64)
        predicted = self._mean(place, part.series[index]).by_group()[group]
        units = Units(
            np.full(len(present), place.flag.share_millipct, np.int64),
            np.array([each.candidate for each in present], np.bool_),
            np.array(
                [
                    guess if each.outcomes[index] is None else each.outcomes[index]
                    for each, guess in zip(present, predicted.tolist(), strict=True)
                ],
                np.float64,
            ),
            predicted,
        )
        known = np.array([each.outcomes[index] is not None for each in present], np.bool_)
        return cluster_sums(units, score(units), group, known)

    def _learn(self, batch: Sequence[Entry]) -> None:
        place, part = batch[0].place, batch[0].part
        for index, series in enumerate(part.series):
            known = [(group_of(each.digest), outcome) for each in batch if _is_known(outcome := each.outcomes[index])]
            if known:
                groups, outcomes = zip(*known, strict=True)
                self._mean(place, series).add(groups, outcomes)

    def _mean(self, place: ClusterPlace, series: Series) -> OthersMean:
        key = (place.flag.feature, series.prefix)
        if key not in self._means:
            self._means[key] = OthersMean(_usual(series))
            while len(self._means) > _MEANS_KEPT:
                del self._means[next(iter(self._means))]
        return self._means[key]


def _ratings_of(batch: Sequence[Entry]) -> Iterator[tuple[SumKey, Counts]]:
    """Who of a batch of one cell was rated."""
    place, part = batch[0].place, batch[0].part
    for index, series in enumerate(part.series):
        if series.metric == THUMBS:
            for each in batch:
                if _is_rated(each.outcomes[index]):
                    yield place.covered[series.prefix], rated(1, candidate=each.candidate)


def _is_rated(outcome: float | None) -> bool:
    """A rating in the very middle is taken for none."""
    return _is_known(outcome) and outcome != UNRATED


def _usual(series: Series) -> float:
    """What an outcome is before any was seen."""
    if series.metric == THUMBS:
        return _EVEN
    return LATENCY[series.metric].quantile if series.metric in LATENCY else 1.0


def _is_absent(outcome: float | None) -> bool:
    return outcome is not None and outcome < 0.0


def _is_known(outcome: float | None) -> bool:
    return outcome is not None and outcome >= 0.0
