"""Counts units once: as they come of age they are claimed in the store, and the new ones added to the sums of evidence.

A sink of Records that works each second, off every path. A claim, and then each addition, is sent again under its id
until the store has answered; one batch is on its way at a time. Units whose callers' ratings count later are kept until
then, and added once more, without another claim.
"""

from __future__ import annotations

import asyncio
import logging
from math import inf
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.core.check_results import CheckResults
from gateway.core.held_units import HeldUnits, Ratings
from gateway.core.left_out import Why
from gateway.core.sum_parts import in_parts
from gateway.core.unit_sums import Books
from gateway.core.units import Waiting
from gateway.tally import Tally
from rollout.core.claims import CLAIMS_PER_FLUSH_MAX, REMEMBER_FLUSH_S
from rollout.core.errors import RolloutError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from gateway.core.checks.sampling import CheckedAnswer, CheckSample
    from gateway.core.held_units import Held
    from gateway.core.judged_unit import Judged
    from gateway.core.outcome import Record
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
    """Units on their way. `rated`: those whose ratings count now.

    `parts`: what is still to be added, each with its id; None until the units are claimed.
    """

    id: str
    units: Sequence[Judged]
    rated: Sequence[tuple[Held, Sequence[float]]]
    began_s: float
    parts: Sequence[tuple[str, Mapping[SumKey, Sequence[int]]]] | None = None


class UnitCollector:
    """One worker's."""

    def __init__(
        self,
        store: UnitStore,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        *,
        sampled: CheckSample | None = None,
    ) -> None:
        """`clock`: any seconds that only grow; `wall_clock`: Unix time, as in Records.

        `sampled`: requests whose answers are checked.
        """
        self._store, self._snapshot, self._clock, self._wall_clock = store, snapshot, clock, wall_clock
        self._checks = CheckResults()
        self._books = Books(sampled, self._checks.take)
        self.left_out = self._books.left_out
        self._tally = Tally(store, clock, "units left out")
        self.left_out.add = self._tally.add
        self._waiting = Waiting(self._books.places.age_s_of, lose=self.left_out.lose)
        self._held, self._ratings = HeldUnits(lose=self.left_out.lose_held), Ratings()
        self._due: list[Judged] = []
        self._rated: list[tuple[Held, Sequence[float]]] = []
        self._batch: _Batch | None = None
        self._warned: set[tuple[str, str]] = set()
        self._lost = 0

    @property
    def lost(self) -> int:
        """Units that are not in a sum, or not in all, though they should be; of both arms alike."""
        given_up = self._waiting.thinned + self._waiting.ageless + self._held.thinned
        return self._lost + given_up + self._books.unplaced

    @property
    def beyond(self) -> int:
        """Outcomes that can't be known: their bound of latency lies beyond the age at which units are looked at."""
        return self._books.beyond.total()

    def take(self, records: Sequence[Record]) -> None:
        """Take a batch of settled requests."""
        self._books.learn(self._snapshot())
        self._waiting.add(records)

    def take_check(self, answer: CheckedAnswer) -> None:
        """Take what free checks found."""
        self._checks.add(answer)

    def take_rating(self, record: Record, kind: str, value: float) -> None:
        """Take what a caller said of the answer to a request; `value`: in [0, 1]."""
        if record.unit_digest:
            request = (record.tenant, record.request_id)
            self._ratings.add(record.feature, record.unit_digest, request, kind, value)

    def give_away(self, count: int) -> Iterator[tuple[Held, ...]]:
        """Hand over the units that wait for ratings, `count` at a time; nothing is left here."""
        yield from self._held.give_away(count)

    def receive(self, held: Iterable[Held]) -> None:
        """Take over what another worker gave away."""
        self._held.add(held)

    async def run(self, requests: Requests) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await requests.settled()
                self._books.learn(self._snapshot())
                youngest_s = min((place.age_s for place in self._books.places.current), default=inf)
                # Half of it: the wall clock may have been set forward.
                self.look(requests.under_way(youngest_s / 2))
            except Exception:  # noqa: BLE001  counting must not end the worker
                _log.exception("units could not be looked at")
            await self.flush()
            self.left_out.hand_over()
            await self._tally.flush()

    async def close(self) -> None:
        """Count what is due and give up who is younger, both arms alike; see also `give_away`. Never raises."""
        self._find_due(())
        await self.flush()
        batch = self._batch
        on_its_way = len(batch.units) + len(batch.rated) if batch else 0
        self._lost += len(self._due) + len(self._rated) + self._waiting.give_up() + on_its_way
        if batch is not None:
            self._leave_out(batch.units, batch.rated, Why.STORE)
        self._leave_out(self._due, self._rated, Why.STORE)
        self.left_out.hand_over()
        await self._tally.close()

    def look(self, under_way: Sequence[Record]) -> None:
        """Find out who has come of age; all that has settled must have been taken."""
        self._find_due(under_way)
        surplus = max(0, len(self._due) - DUE_MAX) + max(0, len(self._rated) - DUE_MAX)
        if surplus:  # of both arms: who they are is known by now, however slow they were
            _log.warning("%d units are not counted for ramps: the store does not keep up", surplus)
            self._lost += surplus
            self._leave_out(self._due[DUE_MAX:], self._rated[DUE_MAX:], Why.OVERLOADED)
            del self._due[DUE_MAX:], self._rated[DUE_MAX:]
        for feature, metric in self._books.beyond.keys() - self._warned:
            self._warned.add((feature, metric))
            _log.warning(
                "%s of %s can't be judged: its bound is longer than the age at which units are looked at; "
                "give the flag a larger evidence.age",
                metric,
                feature,
            )

    async def flush(self) -> None:
        """Claim, then add; what the store didn't answer is sent again with the next. Never raises."""
        if self._batch is None and (self._due or self._rated):
            units, self._due = self._due[:CLAIMS_PER_FLUSH_MAX], self._due[CLAIMS_PER_FLUSH_MAX:]
            rated, self._rated = self._rated[:CLAIMS_PER_FLUSH_MAX], self._rated[CLAIMS_PER_FLUSH_MAX:]
            self._batch = _Batch(token_hex(16), units, rated, self._clock())
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

    def _find_due(self, under_way: Sequence[Record]) -> None:
        self._books.learn(self._snapshot())
        now_s = self._wall_clock()
        self._due += self._books.judged(now_s, self._waiting.due(now_s, under_way))
        ripe = self._held.ripe(now_s)
        self._rated += [(unit, self._ratings.take(unit.feature, unit.digest)) for unit in ripe]

    def _leave_out(self, units: Sequence[Judged], held: Sequence[tuple[Held, Sequence[float]]], why: Why) -> None:
        """Say of those that are given up that they are missing."""
        self.left_out.lose_judged(units, why)
        for unit, _ in held:
            self.left_out.lose_held(unit, why)

    async def _send(self, batch: _Batch) -> None:
        """Each step that the store has answered is not taken again."""
        if batch.parts is None:
            claims = [unit.claim for unit in batch.units]
            new = await self._store.claim_units(claims, batch.id) if claims else ()
            units = [unit for unit, is_new in zip(batch.units, new, strict=True) if is_new]
            self._held.add(self._books.held(units))
            deltas = self._books.summed(units)
            parts = [*in_parts(deltas, batch.id), *in_parts(self._books.rated(batch.rated), f"{batch.id}.rated")]
            batch = self._batch = batch._replace(units=units, parts=parts)
        for done, (flush_id, part) in enumerate(batch.parts or (), start=1):
            await self._store.add_sums(part, flush_id)
            self._batch = batch._replace(parts=(batch.parts or ())[done:])
        self._batch = None

    def _give_up(self, batch: _Batch, why: str) -> None:
        units = len(batch.units) + len(batch.rated)
        _log.warning("%d units are not counted for ramps: %s", units, why)
        self._lost += units
        self._leave_out(batch.units, batch.rated, Why.STORE)
        self._batch = None
