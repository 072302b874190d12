"""Adds up in the store what ramps need of requests: a sink of Records that flushes each second, off every path."""

from __future__ import annotations

import asyncio
import logging
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rollout.core.errors import RolloutError, StoreUnavailable
from rollout.core.model import EMPTY_SNAPSHOT, Arm, Reason
from rollout.core.ramp_flag import is_watched
from rollout.core.request_sums import BASELINE, CANDIDATE, requests_key
from rollout.core.sums import REMEMBER_FLUSH_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.core.outcome import Record
    from rollout.core.model import Snapshot
    from rollout.core.sums import SumKey

_log = logging.getLogger(__name__)
EVERY_S = 1.0
_ANSWER_MAX_S = 2.0
_REVISIONS_KEPT = 64
"""Of each feature: requests may settle long after their revision."""


class SumStore(Protocol):
    """What is needed of a store."""

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        """As `EvidenceSums.add_sums`."""
        ...


class _Flush(NamedTuple):
    """What is on its way: it is sent again under its id until the store has answered, or has forgotten the id."""

    id: str
    deltas: Mapping[SumKey, Sequence[int]]
    began_s: float


class Collector:
    """One worker's. `lost` (counter): requests that could not be counted."""

    def __init__(self, store: SumStore, snapshot: Callable[[], Snapshot], clock: Callable[[], float]) -> None:
        """`clock`: any seconds that only grow."""
        self._store, self._snapshot, self._clock = store, snapshot, clock
        self._seen = EMPTY_SNAPSHOT
        self._keys: dict[str, dict[int, SumKey | None]] = {}
        self._pending: dict[SumKey, list[int]] = {}
        self._flush: _Flush | None = None
        self.lost = 0

    def take(self, records: Sequence[Record]) -> None:
        """Count a batch: what was drawn at random and sent on, by the arm it was assigned to."""
        self._learn()
        for record in records:
            if not record.attempts or record.reason != Reason.SPLIT:
                continue
            known = self._keys.get(record.feature)
            if known is None:
                continue
            key = known.get(record.revision)
            if key is not None:
                arm = CANDIDATE if record.assigned == Arm.CANDIDATE else BASELINE
                self._pending.setdefault(key, [0, 0])[arm] += 1
            elif record.revision not in known:
                self.lost += 1

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._learn()
            await self.flush()

    async def flush(self) -> None:
        """Send what is there; what the store didn't take is sent again with the next. Never raises."""
        if self._flush is None and self._pending:
            self._flush = _Flush(token_hex(16), self._pending, self._clock())
            self._pending = {}
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

    def _give_up(self, flush: _Flush, why: str) -> None:
        number = sum(map(sum, flush.deltas.values()))
        _log.warning("%d requests are not counted for ramps: %s", number, why)
        self.lost += number
        self._flush = None

    def _learn(self) -> None:
        """Note to which step each revision belongs; None where no ramp is under way."""
        snapshot = self._snapshot()
        if snapshot is self._seen:
            return
        self._seen = snapshot
        for name, feature in snapshot.features.items():
            flag = feature.flag
            known = self._keys.setdefault(name, {})
            known[flag.revision] = requests_key(name, flag.progress) if is_watched(flag) else None
            while len(known) > _REVISIONS_KEPT:
                del known[next(iter(known))]
