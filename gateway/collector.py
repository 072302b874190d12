"""Adds up in the store what ramps need of requests: a sink of Records that flushes each second, off every path."""

from __future__ import annotations

import asyncio
import logging
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.core.costs import Costs
from rollout.core.cost import PICOUSD
from rollout.core.cost_sums import ELEMENTS, cost_key, has_begun, is_counted, shadow_key, vector_of
from rollout.core.errors import RolloutError, StoreUnavailable
from rollout.core.model import EMPTY_SNAPSHOT, Arm, Reason
from rollout.core.ramp_flag import is_watched
from rollout.core.request_sums import BASELINE, CANDIDATE, requests_key
from rollout.core.sums import REMEMBER_FLUSH_S, VALUES_PER_FLUSH_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.core.outcome import Record
    from gateway.core.shadowing import Answered, ShadowPair
    from gateway.pairs import PairSink
    from rollout.core.cost import TokenPrice
    from rollout.core.model import FeatureFlag, Snapshot
    from rollout.core.sums import SumKey

_log = logging.getLogger(__name__)
EVERY_S = 1.0
_ANSWER_MAX_S = 2.0
_REVISIONS_KEPT = 64
"""Of each feature: requests may settle long after their revision."""
_KEYS_MAX = VALUES_PER_FLUSH_MAX // ELEMENTS
"""Sums of one flush; the others wait for the next."""
_NO_PRICES: Mapping[str, TokenPrice] = {}


class SumStore(Protocol):
    """What is needed of a store."""

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        """As `EvidenceSums.add_sums`."""
        ...


class _Flush(NamedTuple):
    """What is on its way: it is sent again under its id until the store has answered, or has forgotten the id."""

    id: str
    deltas: Mapping[SumKey, Sequence[int]]
    requests: int
    began_s: float


class _Places(NamedTuple):
    """Where requests of one revision are added up: None where nobody asks. `costs`: by arm, as in `request_sums`."""

    requests: SumKey | None
    costs: tuple[SumKey, SumKey] | None
    shadows: SumKey | None


class Collector:
    """One worker's. `lost` (counter): requests that could not be counted."""

    def __init__(
        self,
        store: SumStore,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
        prices: Mapping[str, TokenPrice] = _NO_PRICES,
        spent: Callable[[tuple[str, str], float], None] = lambda _arm, _usd: None,
    ) -> None:
        """`clock`: any seconds that only grow; `prices`: by upstream; `spent`: told (feature, arm) and dollars."""
        self._store, self._snapshot, self._clock, self._spent = store, snapshot, clock, spent
        self._seen = EMPTY_SNAPSHOT
        self._places: dict[str, dict[int, _Places]] = {}
        self._pending: dict[SumKey, list[int]] = {}
        self._costs = Costs(prices)
        self._flush: _Flush | None = None
        self.lost = 0

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
                self.lost += 1
                continue
            arm = CANDIDATE if record.assigned == Arm.CANDIDATE else BASELINE
            if places.requests is not None:
                self._pending.setdefault(places.requests, [0, 0])[arm] += 1
            if places.costs is not None:
                self._costs.count(places.costs[arm], record)

    def take_shadow(self, feature: str, revision: int, answered: Answered) -> None:
        """Count what the answer to a shadow call cost."""
        self._learn()
        places = self._places.get(feature, {}).get(revision)
        if places is not None and places.shadows is not None:
            self._costs.count_shadow(places.shadows, answered)

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._learn()
            await self.flush()

    async def flush(self) -> None:
        """Send what is there; what the store didn't take is sent again with the next. Never raises."""
        if self._flush is None and (self._pending or self._costs):
            self._flush = self._next()
        flush = self._flush
        if flush is None:
            return
        if self._clock() - flush.began_s >= REMEMBER_FLUSH_S / 2:
            self._give_up(flush, "the store did not answer in time")
            return
        try:
            async with asyncio.timeout(_ANSWER_MAX_S):
                await self._store.add_sums(flush.deltas, flush.id)
        except (StoreUnavailable, TimeoutError) as fault:
            _log.debug("requests are counted later: %s", fault)
        except RolloutError as fault:
            self._give_up(flush, fault.cause)
        except Exception:  # noqa: BLE001  counting must not end the worker
            _log.exception("requests could not be counted")
            self._give_up(flush, "a defect")
        else:
            self._flush = None

    def _next(self) -> _Flush:
        """As much of what is pending as one flush may hold."""
        counted = {key: self._pending.pop(key) for key in list(self._pending)[:_KEYS_MAX]}
        costs = self._costs.take(_KEYS_MAX - len(counted))
        for key, sums in costs.items():
            self._spent((key.feature, key.name.rpartition(".")[2]), sums.picousd / PICOUSD)
        requests = max(sum(map(sum, counted.values())), sum(sums.requests for sums in costs.values()))
        deltas = counted | {key: vector_of(sums) for key, sums in costs.items()}
        return _Flush(token_hex(16), deltas, requests, self._clock())

    def _give_up(self, flush: _Flush, why: str) -> None:
        _log.warning("%d requests are not counted for ramps: %s", flush.requests, why)
        self.lost += flush.requests
        self._flush = None

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
    )
