"""Where units of each revision of a flag belong, and what is asked of them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from rollout.core.claims import draw_of
from rollout.core.errors import InvalidArgument
from rollout.core.evidence.coverage import UNITS, coverage_keys
from rollout.core.evidence.names import ERRORS, LATENCY, THUMBS, gathers, has_begun
from rollout.core.evidence.plans import Series, errors_key, key_of, series_of
from rollout.core.model import EMPTY_SNAPSHOT, FeatureFlag

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rollout.core.model import Snapshot
    from rollout.core.sums import SumKey

_REVISIONS_KEPT = 64
"""Of each feature: units come of age long after their revision."""


class Place(msgspec.Struct, frozen=True, eq=False, dict=True):
    """What units of a revision are added to. `series`: none if the gates ask for more than a vector holds."""

    flag: FeatureFlag
    draw: str
    series: tuple[Series, ...]
    age_s: float
    rated_after_s: float | None
    """The age at which callers' ratings count; None where nobody asks for them."""
    counts_errors: bool
    latencies: frozenset[str]
    """The metrics for which a yardstick is needed."""

    def key(self, series: Series, epoch: int) -> SumKey:
        """Where the sums of a series are."""
        return key_of(self.flag.feature, self.flag.progress, series.prefix, epoch)

    @cached_property
    def covered(self) -> Mapping[str, SumKey]:
        """Where those are counted that are left out of a series, or rated, by its prefix."""
        return coverage_keys(self.flag, self.series, UNITS)

    def errors_key(self, epoch: int) -> SumKey:
        """Where failed units are counted."""
        return errors_key(self.flag, epoch)


class Places:
    """One worker's. Of features that are no more, or whose ramp is over, nothing is kept."""

    def __init__(self) -> None:
        self._seen = EMPTY_SNAPSHOT
        self._places: dict[str, dict[int, Place]] = {}
        self._current: dict[str, Place] = {}
        self.over: frozenset[str] = frozenset()
        """Features whose ramp is over, or has yet to begin: nobody asks what their units came to."""
        self.rated_after_s = 0.0
        """The longest age at which ratings of units of any revision count; 0 where nobody asks for them."""

    @property
    def current(self) -> tuple[Place, ...]:
        """Those of the newest snapshot."""
        return tuple(self._current.values())

    def learn(self, snapshot: Snapshot) -> None:
        """Note where units of each revision belong."""
        if snapshot is self._seen:
            return
        self._seen = snapshot
        self._current = {}
        self.over = frozenset(name for name, each in snapshot.features.items() if not has_begun(each.flag))
        for gone in self._places.keys() - snapshot.features.keys():
            del self._places[gone]
        for name in self.over & self._places.keys():
            self._places[name] = self._yet_to_come(name)
        for name, feature in snapshot.features.items():
            flag = feature.flag
            if gathers(flag) and flag.progress.attempt:
                known = self._places.setdefault(name, {})
                place = known.get(flag.revision)
                if place is None or place.flag != flag:
                    place = known[flag.revision] = place_of(flag)
                self._current[name] = place
                while len(known) > _REVISIONS_KEPT:
                    del known[next(iter(known))]
        self._note_ages()

    def adopt(self, flags: Iterable[FeatureFlag]) -> None:
        """Note revisions that another worker has seen, also those that are yet to be seen here."""
        for flag in flags:
            known = self._places.setdefault(flag.feature, {})
            known.setdefault(flag.revision, place_of(flag))
            newest = sorted(known.items())[-_REVISIONS_KEPT:]
            self._places[flag.feature] = dict(newest)
            if flag.feature in self.over:
                self._places[flag.feature] = self._yet_to_come(flag.feature)
        self._note_ages()

    def flags_of(self, drawn: Iterable[tuple[str, int]]) -> tuple[FeatureFlag, ...]:
        """The flags of these features and revisions, as far as they are known."""
        found = (self.of(*each) for each in sorted(set(drawn)))
        return tuple(place.flag for place in found if place is not None)

    def latest(self, feature: str) -> Place | None:
        """The place of its newest revision that gathers units; None if there was none, or the ramp is over."""
        known = self._places.get(feature)
        return None if not known else known[next(reversed(known))]

    def of(self, feature: str, revision: int) -> Place | None:
        """The place of units that were drawn under this revision; None for one that was never seen, or is forgotten."""
        return self._places.get(feature, {}).get(revision)

    def age_s_of(self, feature: str, revision: int) -> float | None:
        """When such units are looked at, after their arrival: at once if nobody asks any more, None if unknown."""
        if feature in self.over:
            return 0.0
        place = self.of(feature, revision)
        return None if place is None else place.age_s

    def _yet_to_come(self, feature: str) -> dict[int, Place]:
        """Those of a feature whose revisions are later than the newest snapshot."""
        seen = self._seen.features[feature].flag.revision
        return {revision: place for revision, place in self._places[feature].items() if revision > seen}

    def _note_ages(self) -> None:
        places = (place for known in self._places.values() for place in known.values())
        self.rated_after_s = max((place.rated_after_s or 0.0 for place in places), default=0.0)


def place_of(flag: FeatureFlag) -> Place:
    """Raises nothing: what its gates ask too much of is left out, and they say so."""
    try:
        series = series_of(flag)
    except InvalidArgument:
        series = ()
    metrics = {each.metric for each in series}
    return Place(
        flag,
        draw_of(flag.hash_version, flag.split_salt),
        series,
        flag.evidence.age_s,
        flag.evidence.feedback_age_s if THUMBS in metrics else None,
        ERRORS in metrics,
        frozenset(each.metric for each in series if each.metric in LATENCY and not each.limit_s),
    )
