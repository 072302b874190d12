"""Counts units once: as they come of age they are claimed in the store, and the new ones added to the sums of evidence.

A sink of Records that works each second, off every path. A claim, and then the addition, is sent again under its id
until the store has answered; one batch is on its way at a time.
"""

from __future__ import annotations

import asyncio
import logging
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.core.unit_sums import Books
from gateway.core.units import Waiting
from rollout.core.claims import CLAIMS_PER_FLUSH_MAX, REMEMBER_FLUSH_S
from rollout.core.errors import RolloutError, StoreUnavailable
from rollout.core.evidence.names import AGES_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from gateway.core.outcome import Record
    from gateway.core.units import Unit
    from rollout.core.claims import Claim
    from rollout.core.model import Snapshot
    from rollout.core.sums import SumKey

_log = logging.getLogger(__name__)
EVERY_S = 1.0
DUE_MAX = 20_000
_ANSWER_MAX_S = 2.0


class UnitStore(Protocol):
    """What is needed of a store."""

    async def claim_units(self, claims: Sequence[Claim], flush_id: str) -> tuple[bool, ...]:
        """As `UnitClaims.claim_units`."""
        ...

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        """As `EvidenceSums.add_sums`."""
        ...


class Requests(NamedTuple):
    """Where requests are. `settled`: has the sinks take all that have settled; `under_way`: see `Relay`."""

    settled: Callable[[], Awaitable[None]]
    under_way: Callable[[float], list[Record]]


class _Batch(NamedTuple):
    """Units on their way. `deltas`: None until they are claimed."""

    id: str
    units: Sequence[tuple[Unit, Claim]]
    began_s: float
    deltas: Mapping[SumKey, Sequence[int]] | None = None


class UnitCollector:
    """One worker's. `lost` (counter): units of age that could not be counted, of both arms alike."""

    def __init__(
        self,
        store: UnitStore,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """`clock`: any seconds that only grow; `wall_clock`: Unix time, as in Records."""
        self._store, self._snapshot, self._clock, self._wall_clock = store, snapshot, clock, wall_clock
        self._age_s = AGES_S["errors"]
        self._waiting = Waiting(self._age_s)
        self._books = Books()
        self._due: list[Unit] = []
        self._batch: _Batch | None = None
        self._lost = 0

    @property
    def lost(self) -> int:
        """Units that are in no sum though they should be."""
        return self._lost + self._waiting.thinned + self._books.unplaced

    def take(self, records: Sequence[Record]) -> None:
        """Take a batch of settled requests."""
        self._books.learn(self._snapshot())
        self._waiting.add(records)

    async def run(self, requests: Requests) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await requests.settled()
                self.look(requests.under_way(self._age_s / 2))  # the wall clock may have been set forward
            except Exception:  # noqa: BLE001  counting must not end the worker
                _log.exception("units could not be looked at")
            await self.flush()

    async def close(self) -> None:
        """Count what is due and give up who is younger, both arms alike. Never raises."""
        self._due += self._waiting.due(self._wall_clock(), ())
        await self.flush()
        self._lost += len(self._due) + len(self._waiting) + (len(self._batch.units) if self._batch else 0)

    def look(self, under_way: Sequence[Record]) -> None:
        """Find out who has come of age; all that has settled must have been taken."""
        self._books.learn(self._snapshot())
        self._due += self._waiting.due(self._wall_clock(), under_way)
        surplus = len(self._due) - DUE_MAX
        if surplus > 0:  # of both arms: who they are is known by now, however slow they were
            _log.warning("%d units are not counted for ramps: the store does not keep up", surplus)
            self._lost += surplus
            del self._due[DUE_MAX:]

    async def flush(self) -> None:
        """Claim, then add; what the store didn't answer is sent again with the next. Never raises."""
        if self._batch is None and self._due:
            units, self._due = self._due[:CLAIMS_PER_FLUSH_MAX], self._due[CLAIMS_PER_FLUSH_MAX:]
            self._batch = _Batch(token_hex(16), self._books.claims(units), self._clock())
        batch = self._batch
        if batch is None:
            return
        if self._clock() - batch.began_s >= REMEMBER_FLUSH_S / 2:
            self._give_up(batch, "the store did not answer in time")
            return
        try:
            async with asyncio.timeout(2 * _ANSWER_MAX_S):
                await self._send(batch)
        except (StoreUnavailable, TimeoutError) as fault:
            _log.debug("units are counted later: %s", fault)
        except RolloutError as fault:
            self._give_up(batch, fault.cause)
        except Exception:  # noqa: BLE001  counting must not end the worker
            _log.exception("units could not be counted")
            self._give_up(batch, "a defect")

    async def _send(self, batch: _Batch) -> None:
        """Each step that the store has answered is not taken again."""
        if batch.deltas is None:
            new = await self._store.claim_units([claim for _, claim in batch.units], batch.id)
            units = [pair for pair, is_new in zip(batch.units, new, strict=True) if is_new]
            deltas = self._books.summed([unit for unit, _ in units], self._age_s)
            batch = self._batch = batch._replace(units=units, deltas=deltas)
        if batch.deltas:
            await self._store.add_sums(batch.deltas, batch.id)
        self._batch = None

    def _give_up(self, batch: _Batch, why: str) -> None:
        _log.warning("%d units are not counted for ramps: %s", len(batch.units), why)
        self._lost += len(batch.units)
        self._batch = None
