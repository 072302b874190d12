"""Adds up in the store what ramps need of requests: a sink of Records that flushes each second, off every path."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.additions import Additions
from gateway.core.costs import Costs
from gateway.core.sum_parts import in_parts
from gateway.core.units import is_unit
from gateway.flushes import Flushes
from rollout.core.cost import PICOUSD
from rollout.core.cost_sums import ELEMENTS, cost_key, has_begun, is_counted, shadow_key, vector_of
from rollout.core.evidence.names import gathers
from rollout.core.evidence.silence import Watched, watched_key
from rollout.core.model import EMPTY_SNAPSHOT, Arm, Reason
from rollout.core.ramp_flag import is_watched
from rollout.core.request_sums import BASELINE, CANDIDATE, requests_key
from rollout.core.sums import VALUES_PER_FLUSH_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.additions import SumStore
    from gateway.core.outcome import Record
    from gateway.core.shadowing import Answered, ShadowPair
    from gateway.pairs import PairSink
    from rollout.core.cost import TokenPrice
    from rollout.core.model import FeatureFlag, Snapshot
    from rollout.core.ramp_model import Progress
    from rollout.core.sums import SumKey

_REVISIONS_KEPT = 64
"""Of each feature: requests may settle long after their revision."""
_KEYS_MAX = VALUES_PER_FLUSH_MAX // ELEMENTS
"""Sums of one flush; the others wait for the next."""
_NO_PRICES: Mapping[str, TokenPrice] = {}


class _Places(NamedTuple):
    """Where requests of one revision are added up: None where nobody asks. `costs`: by arm, as in `request_sums`."""

    requests: SumKey | None
    costs: tuple[SumKey, SumKey] | None
    shadows: SumKey | None
    watched: Progress | None
    """Where units are looked at: a sink of its own counts those, and `silence` compares."""


class Collector:
    """One worker's."""

    def __init__(
        self,
        store: SumStore,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
        prices: Mapping[str, TokenPrice] = _NO_PRICES,
        spent: Callable[[tuple[str, str], float], None] = lambda _arm, _usd: None,
    ) -> None:
        """`clock`: any seconds that only grow; `prices`: by upstream; `spent`: told (feature, arm) and dollars."""
        self._store, self._snapshot, self._spent = store, snapshot, spent
        self._seen = EMPTY_SNAPSHOT
        self._places: dict[str, dict[int, _Places]] = {}
        self._pending: dict[SumKey, list[int]] = {}
        self._watched: dict[SumKey, int] = {}
        self._costs = Costs(prices)
        self._flushes: Flushes[None] = Flushes(self._begin, clock, "requests")
        self._unplaced = 0

    @property
    def lost(self) -> int:
        """Requests that could not be counted (counter)."""
        return self._unplaced + self._flushes.lost

    def take(self, records: Sequence[Record]) -> None:
        """Count a batch: what was drawn at random and sent on, by the arm it was assigned to."""
        self._learn()
        for record in records:
            if not record.attempts or record.reason != Reason.SPLIT:
                continue
            known = self._places.get(record.feature)
            if known is None:
                continue
            places = known.get(record.revision)
            if places is None:
                self._unplaced += 1
                continue
            arm = CANDIDATE if record.assigned == Arm.CANDIDATE else BASELINE
            if places.requests is not None:
                self._pending.setdefault(places.requests, [0, 0])[arm] += 1
            if places.costs is not None:
                self._costs.count(places.costs[arm], record)
            if places.watched is not None and is_unit(record):
                self._watch(record, places.watched)

    def _watch(self, record: Record, progress: Progress) -> None:
        key = watched_key(record.feature, progress, record.at_s - record.duration_s)
        self._watched[key] = self._watched.get(key, 0) + 1

    def take_shadow(self, feature: str, revision: int, answered: Answered) -> None:
        """Count what the answer to a shadow call cost."""
        self._learn()
        places = self._places.get(feature, {}).get(revision)
        if places is not None and places.shadows is not None:
            self._costs.count_shadow(places.shadows, answered)

    async def run(self) -> None:
        """Flush until cancelled."""
        await self._flushes.run(self._look)

    async def flush(self) -> None:
        """Send what is there; what the store didn't take is sent again with the next. Never raises."""
        await self._flushes.flush()

    async def close(self) -> None:
        """Send all there is; what the store doesn't take is lost. Never raises."""
        await self._flushes.close()

    async def _look(self) -> None:
        self._learn()

    def _begin(self, _: Sequence[None]) -> tuple[int, Additions] | None:
        """As much of what is pending as one flush may hold: it goes on adding up here while it waits."""
        if not self._pending and not self._costs and not self._watched:
            return None
        counted = {key: self._pending.pop(key) for key in list(self._pending)[:_KEYS_MAX]}
        costs = self._costs.take(_KEYS_MAX - len(counted))
        for key, sums in costs.items():
            self._spent((key.feature, key.name.rpartition(".")[2]), sums.picousd / PICOUSD)
        requests = max(sum(map(sum, counted.values())), sum(sums.requests for sums in costs.values()))
        watched = {key: Watched(requests=self._watched.pop(key)) for key in list(self._watched)[:_KEYS_MAX]}
        deltas: dict[SumKey, Sequence[int]] = {**counted, **watched}
        deltas |= {key: vector_of(sums) for key, sums in costs.items()}
        return 0, Additions(self._store, requests, lambda flush_id: in_parts(deltas, flush_id))

    def _learn(self) -> None:
        """Note to which step each revision belongs."""
        snapshot = self._snapshot()
        if snapshot is self._seen:
            return
        self._seen = snapshot
        for gone in self._places.keys() - snapshot.features.keys():
            del self._places[gone]
        for name, feature in snapshot.features.items():
            known = self._places.setdefault(name, {})
            known[feature.flag.revision] = _places_of(feature.flag)
            while len(known) > _REVISIONS_KEPT:
                del known[next(iter(known))]


class PaidPairs:
    """Has the cost of shadow calls counted, and passes their pairs on."""

    def __init__(self, collector: Collector, sink: PairSink) -> None:
        self._collector, self.sink = collector, sink

    def take(self, pair: ShadowPair) -> int:
        """PairSink."""
        self._collector.take_shadow(pair.feature, pair.revision, pair.other)
        return self.sink.take(pair)


def _places_of(flag: FeatureFlag) -> _Places:
    name, progress, share = flag.feature, flag.progress, flag.share_millipct
    costs = cost_key(name, progress, share, Arm.CANDIDATE), cost_key(name, progress, share, Arm.BASELINE)
    return _Places(
        requests_key(name, progress) if is_watched(flag) else None,
        costs if is_counted(flag) else None,
        shadow_key(name, progress) if has_begun(flag) else None,
        progress if gathers(flag) else None,
    )
