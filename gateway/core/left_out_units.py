"""Units of which no outcome gets into the evidence, see `left_out`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gateway.core.left_out import LeftOut, of_all, of_judged, of_unknown
from rollout.core.evidence.names import THUMBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.core.checks.sampling import CheckSample
    from gateway.core.held_units import Held
    from gateway.core.judged_unit import Judged
    from gateway.core.left_out import Why
    from gateway.core.unit_places import Place, Places
    from gateway.core.units import Unit
    from rollout.core.evidence.coverage import Counts
    from rollout.core.sums import SumKey


class LeftOutUnits(LeftOut):
    """One worker's. Of features without a place nobody asks any more, so nothing is counted."""

    def __init__(self, places: Places, sampled: CheckSample) -> None:
        """`sampled`: requests whose answers are checked."""
        super().__init__()
        self._places, self._sampled = places, sampled

    def rows(self, units: Iterable[Judged]) -> Iterator[tuple[SumKey, Counts]]:
        """What new units add beside their sums, where an outcome is not known."""
        kinds = Counter((each.place, each.candidate, each.outcomes) for each in units if None in each.outcomes)
        for (place, candidate, outcomes), count in kinds.items():
            yield from self.unknown(place, of_unknown(place.series, outcomes), count, candidate=candidate)

    def lose(self, unit: Unit, why: Why) -> None:
        """Take one that was given up before its outcomes were known."""
        place = self._place(unit.feature, unit.revision)
        if place is not None:
            prefixes = of_all(place.series, checked=self._sampled.takes(unit.request_id, unit.arrived_s))
            self.give_up(place, prefixes, why, candidate=unit.candidate)

    def lose_judged(self, units: Iterable[Judged], why: Why) -> None:
        """Take those that were given up with their outcomes; nobody will wait for their ratings either."""
        for each in units:
            self.give_up(each.place, of_judged(each.place.series, each.outcomes), why, candidate=each.candidate)

    def lose_held(self, unit: Held, why: Why) -> None:
        """Take one that is counted, but not for its ratings."""
        place = self._place(unit.feature, unit.revision)
        if place is not None:
            prefixes = [each.prefix for each in place.series if each.metric == THUMBS]
            self.give_up(place, prefixes, why, candidate=unit.candidate)

    def _place(self, feature: str, revision: int) -> Place | None:
        """Its own, or that of the newest revision: there is somebody who asks."""
        return self._places.of(feature, revision) or self._places.latest(feature)
