"""Requests of flags whose arms stick to users or tenants, between their arrival and their age.

There every request counts, and none is claimed: its user is a group (see `clusters`), wherever and however often they
come. As with units nothing here depends on the arm: all requests are looked at when they are as old as each other,
settled or not, and when there are too many whole users are given up, by digest.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from math import floor
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.core.left_out import Why
from gateway.core.outcome import Record  # noqa: TC001  messages are read by it
from gateway.core.thinning import QUIET_S, Thinning
from rollout.core.claims import DIGEST_BITS
from rollout.core.errors import InvalidArgument
from rollout.core.evidence.cluster_parts import Part, is_clustered, parts_of
from rollout.core.evidence.coverage import REQUESTS, coverage_keys
from rollout.core.evidence.names import gathers, has_begun
from rollout.core.model import EMPTY_SNAPSHOT, FeatureFlag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gateway.core.recent import Key
    from rollout.core.model import Snapshot
    from rollout.core.sums import SumKey

WAITING_MAX = 50_000
_REVISIONS_KEPT = 64
"""Of each feature: requests come of age long after their revision."""


class Handed(NamedTuple):
    """Requests that wait for one age, on their way to another worker. `flags`: those under which they were drawn.

    `checks`: what free checks found of some: digest of the unit, tenant, request id, whether there was a fault.
    """

    age_s: float
    records: tuple[Record, ...]
    flags: tuple[FeatureFlag, ...]
    checks: tuple[tuple[int, str, str, bool], ...]


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
        self._note_ages()

    def flags_of(self, records: Iterable[Record]) -> tuple[FeatureFlag, ...]:
        """The flags under which requests were drawn, as far as they are known."""
        found = (self.of(*drawn) for drawn in sorted({(each.feature, each.revision) for each in records}))
        return tuple(place.flag for place in found if place is not None)

    def adopt(self, flags: Iterable[FeatureFlag]) -> None:
        """Note revisions that another worker has seen."""
        for flag in flags:
            known = self._places.setdefault(flag.feature, {})
            known.setdefault(flag.revision, _place_of(flag))
            newest = sorted(known.items())[-_REVISIONS_KEPT:]
            self._places[flag.feature] = dict(newest)
        self._note_ages()

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

    def _note_ages(self) -> None:
        places = (place for known in self._places.values() for place in known.values())
        self.ages_s = frozenset(part.age_s for place in places for part in place.parts)


class WaitingRequests:
    """One worker's requests that have not reached one age. `thinned`: those given up because there were too many.

    Each is handed out once, whatever clocks do. Callers choose request ids: those of two tenants may be the same, and
    of one tenant, too; then each is another request.
    """

    def __init__(
        self, age_s: float, most: int = WAITING_MAX, lose: Callable[[Record, Why], None] = lambda _record, _why: None
    ) -> None:
        """`most`: requests that wait at once, beyond it the half of all users is given up, until there is room again.

        `lose`: told of each that is given up.
        """
        self._age_s, self._most, self._lose = age_s, most, lose
        self._seconds: dict[int, list[Record]] = {}
        """By second of arrival: who is due is found without a look at all."""
        self._count = 0
        self._handed_out: Counter[Key] = Counter()
        """Those that were under way at their age, and are so still."""
        self._thinning = Thinning(1 << DIGEST_BITS)
        self.thinned = 0

    def __len__(self) -> int:
        return self._count

    def add(self, records: Iterable[Record]) -> None:
        """Take requests that have settled. Who was handed out under way stays what it was then."""
        for record in records:
            key = key_of(record)
            if self._handed_out[key]:
                self._handed_out[key] -= 1
            else:
                self._keep(record)

    def due(self, now_s: float, under_way: Iterable[Record]) -> list[Record]:
        """Hand out, in order of arrival, all that came before the whole second `now_s` - age.

        `under_way`: of the requests that have not settled at least those as old. Of those that have, all must have been
        added before.
        """
        quiet = self._count <= self._most // 4
        self._thinning.rest(now_s, quiet=quiet, for_s=max(QUIET_S, self._age_s))
        until_s = floor(now_s - self._age_s)
        seconds = [each for each in self._seconds if each < until_s]
        due = [each for second in seconds for each in self._seconds.pop(second)]
        self._count -= len(due)
        due += self._first_seen(list(under_way), until_s)
        due.sort(key=lambda each: (each.at_s - each.duration_s, each.tenant, each.request_id))
        return due

    def give_away(self, count: int) -> Iterator[tuple[Record, ...]]:
        """Hand over all, `count` at a time; nothing is left here."""
        rest = self._let_go()
        for start in range(0, len(rest), count):
            yield tuple(rest[start : start + count])

    def receive(self, records: Iterable[Record]) -> None:
        """Take over what another worker gave away."""
        for record in records:
            self._keep(record)

    def _first_seen(self, open_yet: Sequence[Record], until_s: int) -> Iterator[Record]:
        """Those under way that were not handed out, which they are now."""
        known = self._handed_out & Counter(map(key_of, open_yet))
        self._handed_out = known.copy()
        for record in sorted(open_yet, key=arrived_s_of):
            key = key_of(record)
            if known[key]:
                known[key] -= 1
            elif arrived_s_of(record) < until_s:
                self._handed_out[key] += 1
                if self._is_below(record):
                    yield record

    def give_up(self) -> int:
        """Let go of all; how many there were."""
        records = self._let_go()
        for each in records:
            self._lose(each, Why.ENDED)
        return len(records)

    def _keep(self, record: Record) -> None:
        if not self._is_below(record):
            return
        self._put(record)
        while self._count > self._most:
            self._thinning.halve()
            for each in self._let_go():
                if self._is_below(each):
                    self._put(each)

    def _put(self, record: Record) -> None:
        self._seconds.setdefault(floor(arrived_s_of(record)), []).append(record)
        self._count += 1

    def _let_go(self) -> list[Record]:
        records = [each for second in self._seconds.values() for each in second]
        self._seconds, self._count = {}, 0
        return records

    def _is_below(self, record: Record) -> bool:
        if record.unit_digest < self._thinning.at(arrived_s_of(record)):
            return True
        self.thinned += 1
        self._lose(record, Why.THINNED)
        return False


def key_of(record: Record) -> Key:
    """What callers know a request by, as in `recent`."""
    return record.tenant, record.request_id


def arrived_s_of(record: Record) -> float:
    """When the request came, Unix time."""
    return record.at_s - record.duration_s


def _place_of(flag: FeatureFlag) -> ClusterPlace:
    try:
        return ClusterPlace(flag, parts_of(flag))
    except InvalidArgument:  # its gates say so
        return ClusterPlace(flag, ())
