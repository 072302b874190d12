"""Who is left out of the evidence: counted beside it, so that a gate can tell how much it has not seen.

What is given up is given up with its outcome, so it is counted for each metric that it might have had one of; more than
once if its conversation comes back, as nobody has asked the store whether it was new. Both make it look more, never
less.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from rollout.core.evidence.coverage import Counts, left, lost
from rollout.core.evidence.names import FORM, THUMBS
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rollout.core.evidence.plans import Series
    from rollout.core.model import FeatureFlag
    from rollout.core.sums import SumKey

Told = tuple[str, str, str, str]
"""Feature, metric, arm, reason."""


class Why(StrEnum):
    """Label values, so the set is closed."""

    UNKNOWN = "unknown"
    """It is counted, but what it came to is not known."""
    THINNED = "thinned"
    """Too many were waiting."""
    UNPLACED = "unplaced"
    """Its revision is forgotten."""
    OVERLOADED = "overloaded"
    """More came of age than the store takes."""
    STORE = "store"
    """The store did not take it."""
    ENDED = "ended"
    """Its worker ended before it had come of age."""


class Placed(Protocol):
    """Where units of a revision belong."""

    @property
    def flag(self) -> FeatureFlag:
        """At that revision."""
        ...

    @property
    def covered(self) -> Mapping[str, SumKey]:
        """Where those are counted that are left out of a series, by its prefix."""
        ...


class LeftOut:
    """One worker's. `add`: told where to add what, of those that are in no sum; `told`: by metric, with how many."""

    def __init__(self) -> None:
        self._given_up: Counter[tuple[Placed, Why, bool, tuple[str, ...]]] = Counter()
        self.add: Callable[[SumKey, Sequence[int]], None] = lambda _key, _row: None
        self.told: Callable[[Told, float], None] = lambda _told, _amount: None

    def give_up(self, place: Placed, prefixes: Iterable[str], why: Why, *, candidate: bool) -> None:
        """Note one that is in no sum. `prefixes`: of the series that it might have been in."""
        self._given_up[place, why, candidate, tuple(prefixes)] += 1

    def unknown(
        self, place: Placed, prefixes: Sequence[str], count: int, *, candidate: bool
    ) -> Iterator[tuple[SumKey, Counts]]:
        """What is added beside so many of an arm that are counted, without an outcome of these series."""
        self._tell(place, prefixes, Why.UNKNOWN, count, candidate=candidate)
        for key in _keys(place, prefixes):
            yield key, left(count, candidate=candidate)

    def hand_over(self) -> None:
        """Pass on what was noted."""
        given_up, self._given_up = self._given_up, Counter()
        for (place, why, candidate, prefixes), count in given_up.items():
            for key in _keys(place, prefixes):
                self.add(key, lost(count, candidate=candidate))
            self._tell(place, prefixes, why, count, candidate=candidate)

    def _tell(self, place: Placed, prefixes: Iterable[str], why: Why, count: int, *, candidate: bool) -> None:
        arm = Arm.CANDIDATE if candidate else Arm.BASELINE
        for metric in sorted({prefix.partition(".")[0] for prefix in prefixes}):
            self.told((place.flag.feature, metric, arm, why), count)


def of_all(series: Iterable[Series], *, checked: bool) -> list[str]:
    """Prefixes of the series that might get one that nobody has looked at; `checked`: its answer is in the sample."""
    return [each.prefix for each in series if checked or each.metric != FORM]


def of_judged(series: Iterable[Series], outcomes: Iterable[float | None]) -> list[str]:
    """Prefixes of the series that would have got these outcomes; ratings would have come later."""
    pairs = zip(series, outcomes, strict=True)
    return [each.prefix for each, found in pairs if found is None or found >= 0.0 or each.metric == THUMBS]


def of_unknown(series: Iterable[Series], outcomes: Iterable[float | None]) -> list[str]:
    """Prefixes of the series of which the outcome is not known."""
    return [each.prefix for each, found in zip(series, outcomes, strict=True) if found is None]


def _keys(place: Placed, prefixes: Iterable[str]) -> list[SumKey]:
    """Series of a metric that differ in their margin have one in common."""
    return sorted({place.covered[prefix] for prefix in prefixes})
