"""Requests of flags whose arms stick to users or tenants, between their arrival and their age.

There every request counts, and none is claimed: its user is a group (see `clusters`), wherever and however often they
come. As with units nothing here depends on the arm: all requests are looked at when they are as old as each other,
settled or not, and when there are too many whole users are given up, by digest.
"""

from __future__ import annotations

from functools import cached_property
from math import floor
from typing import TYPE_CHECKING

import msgspec

from gateway.core.left_out import Why
from rollout.core.claims import DIGEST_BITS
from rollout.core.errors import InvalidArgument
from rollout.core.evidence.cluster_parts import Part, is_clustered, parts_of
from rollout.core.evidence.coverage import REQUESTS, coverage_keys
from rollout.core.evidence.names import gathers, has_begun
from rollout.core.model import EMPTY_SNAPSHOT, FeatureFlag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.core.outcome import Record
    from rollout.core.model import Snapshot
    from rollout.core.sums import SumKey

WAITING_MAX = 50_000
_REVISIONS_KEPT = 64
"""Of each feature: requests come of age long after their revision."""


class ClusterPlace(msgspec.Struct, frozen=True, eq=False, dict=True):
    """What requests of a revision are added to. `parts`: none if the gates ask for more than there is room for."""

    flag: FeatureFlag
    parts: tuple[Part, ...]

    @cached_property
    def covered(self) -> Mapping[str, SumKey]:
        """Where those are counted that are left out of a series, or rated, by its prefix."""
        return coverage_keys(self.flag, [each for part in self.parts for each in part.series], REQUESTS)


class ClusterPlaces:
    """One worker's: by revision, of the flags that stick to users or tenants and gather evidence.

    Of features that are no more, or whose ramp is over, nothing is kept.
    """

    def __init__(self) -> None:
        self._seen = EMPTY_SNAPSHOT
        self._places: dict[str, dict[int, ClusterPlace]] = {}
        self.ages_s: frozenset[float] = frozenset()
        """All at which some of their requests are looked at."""
        self.current: Mapping[str, tuple[Part, ...]] = {}
        """By feature, of the newest snapshot."""

    def __bool__(self) -> bool:
        return bool(self._places)

    def learn(self, snapshot: Snapshot) -> None:
        """Note where requests of each revision belong."""
        if snapshot is self._seen:
            return
        self._seen = snapshot
        current: dict[str, tuple[Part, ...]] = {}
        for gone in self._places.keys() - snapshot.features.keys():
            del self._places[gone]
        for name, feature in snapshot.features.items():
            flag = feature.flag
            if not has_begun(flag):
                self._places.pop(name, None)
            if not is_clustered(flag) or not gathers(flag):
                continue
            known = self._places.setdefault(name, {})
            if flag.revision not in known or known[flag.revision].flag != flag:
                known[flag.revision] = _place_of(flag)
            current[name] = known[flag.revision].parts
            while len(known) > _REVISIONS_KEPT:
                del known[next(iter(known))]
        self.current = current
        places = (place for known in self._places.values() for place in known.values())
        self.ages_s = frozenset(part.age_s for place in places for part in place.parts)

    def knows(self, feature: str) -> bool:
        """Whether any revision of it was seen."""
        return feature in self._places

    def latest(self, feature: str) -> ClusterPlace | None:
        """The place of its newest revision that gathers evidence; None if there was none, or the ramp is over."""
        known = self._places.get(feature)
        return None if not known else known[next(reversed(known))]

    def of(self, feature: str, revision: int) -> ClusterPlace | None:
        """The place of requests that were drawn under this revision; None for one not seen, or forgotten."""
        return self._places.get(feature, {}).get(revision)


class WaitingRequests:
    """One worker's requests that have not reached one age. `thinned`: those given up because there were too many."""

    def __init__(
        self, age_s: float, most: int = WAITING_MAX, lose: Callable[[Record, Why], None] = lambda _record, _why: None
    ) -> None:
        """`most`: requests that wait at once, beyond it the half of all users is given up, now and later.

        `lose`: told of each that is given up.
        """
        self._age_s, self._most, self._lose = age_s, most, lose
        self._waiting: dict[str, Record] = {}
        self._below = 1 << DIGEST_BITS
        self._handed_out_s = 0
        self.thinned = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, records: Iterable[Record]) -> None:
        """Take requests that have settled. What was this old when `due` looked last was handed out as it was then."""
        for record in records:
            if arrived_s_of(record) >= self._handed_out_s:
                self._keep(record)

    def due(self, now_s: float, under_way: Iterable[Record]) -> list[Record]:
        """Hand out, in order of arrival, all that came before the whole second `now_s` - age.

        `under_way`: of the requests that have not settled at least those as old. Of those that have, all must have been
        added before.
        """
        until_s = floor(now_s - self._age_s)
        self.add(each for each in under_way if arrived_s_of(each) < until_s)
        due = [each for each in self._waiting.values() if arrived_s_of(each) < until_s]
        for each in due:
            del self._waiting[each.request_id]
        self._handed_out_s = until_s  # also if the clock was set back: then some are looked at a second time
        return sorted(due, key=lambda each: (arrived_s_of(each), each.request_id))

    def give_up(self) -> int:
        """Let go of all; how many there were."""
        records, self._waiting = self._waiting, {}
        for each in records.values():
            self._lose(each, Why.ENDED)
        return len(records)

    def _keep(self, record: Record) -> None:
        if record.unit_digest >= self._below:
            self.thinned += 1
            self._lose(record, Why.THINNED)
            return
        self._waiting[record.request_id] = record
        while len(self._waiting) > self._most:
            self._below //= 2
            gone = [name for name, each in self._waiting.items() if each.unit_digest >= self._below]
            self.thinned += len(gone)
            for name in gone:
                self._lose(self._waiting.pop(name), Why.THINNED)


def arrived_s_of(record: Record) -> float:
    """When the request came, Unix time."""
    return record.at_s - record.duration_s


def _place_of(flag: FeatureFlag) -> ClusterPlace:
    try:
        return ClusterPlace(flag, parts_of(flag))
    except InvalidArgument:  # its gates say so
        return ClusterPlace(flag, ())
