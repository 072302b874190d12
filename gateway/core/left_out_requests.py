"""Requests of users of which no outcome gets into the evidence, see `left_out`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gateway.core.cluster_requests import arrived_s_of
from gateway.core.left_out import LeftOut, of_all, of_judged, of_unknown
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.core.checks.sampling import CheckSample
    from gateway.core.cluster_requests import ClusterPlaces
    from gateway.core.cluster_sums import Entry
    from gateway.core.left_out import Why
    from gateway.core.outcome import Record
    from rollout.core.evidence.coverage import Counts
    from rollout.core.sums import SumKey


class LeftOutRequests(LeftOut):
    """One worker's. Of features without a place nobody asks any more, so nothing is counted."""

    def __init__(self, places: ClusterPlaces, sampled: CheckSample) -> None:
        """`sampled`: requests whose answers are checked."""
        super().__init__()
        self._places, self._sampled = places, sampled

    def rows(self, entries: Iterable[Entry]) -> Iterator[tuple[SumKey, Counts]]:
        """What requests add beside their sums, where an outcome is not known."""
        kinds = Counter(
            (each.place, each.candidate, tuple(of_unknown(each.part.series, each.outcomes)))
            for each in entries
            if None in each.outcomes
        )
        for (place, candidate, prefixes), count in kinds.items():
            yield from self.unknown(place, prefixes, count, candidate=candidate)

    def lose(self, record: Record, why: Why, age_s: float | None = None) -> None:
        """Take one that was given up before its outcomes were known; `age_s`: at that age alone."""
        place = self._places.of(record.feature, record.revision) or self._places.latest(record.feature)
        if place is not None:
            series = [each for part in place.parts if age_s in (None, part.age_s) for each in part.series]
            prefixes = of_all(series, checked=self._sampled.takes(record.request_id, arrived_s_of(record)))
            self.give_up(place, prefixes, why, candidate=record.assigned == Arm.CANDIDATE)

    def lose_entries(self, entries: Iterable[Entry], why: Why) -> None:
        """Take those that were given up with their outcomes."""
        for each in entries:
            self.give_up(each.place, of_judged(each.part.series, each.outcomes), why, candidate=each.candidate)
