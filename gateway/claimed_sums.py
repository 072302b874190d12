"""What counts once, on its way to the store: claimed there, then added up; one batch at a time.

A claim, and then the addition, is sent again under its id until the store has answered, so nothing is lost or doubled
by an answer that is. What a store doesn't take for minutes is given up, and counted.
"""

from __future__ import annotations

import asyncio
import logging
from secrets import token_hex
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from gateway.core.sum_parts import in_parts
from rollout.core.claims import CLAIMS_PER_FLUSH_MAX, REMEMBER_FLUSH_S
from rollout.core.errors import RolloutError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.core.sum_parts import Part
    from gateway.unit_collector import UnitStore
    from rollout.core.claims import Claim
    from rollout.core.sums import SumKey

_log = logging.getLogger(__name__)
WAITING_MAX = 20_000
_ANSWER_MAX_S = 2.0
Item = TypeVar("Item")


class _Batch(NamedTuple, Generic[Item]):
    """`parts`: what is still to be added, each with its id; None until all is claimed."""

    id: str
    items: Sequence[tuple[Item, Claim | None]]
    began_s: float
    parts: Sequence[Part] | None = None


class ClaimedSums(Generic[Item]):
    """One worker's. `lost` (counter): items that could not be counted."""

    def __init__(
        self,
        store: UnitStore,
        summed: Callable[[Sequence[tuple[Item, bool]]], Mapping[SumKey, Sequence[int]]],
        clock: Callable[[], float],
        what: str,
    ) -> None:
        """`summed`: what items add, each with whether it is new; `clock`: any seconds that only grow.

        `what`: they are, for the log.
        """
        self._store, self._summed, self._clock, self._what = store, summed, clock, what
        self._waiting: list[tuple[Item, Claim | None]] = []
        self._batch: _Batch[Item] | None = None
        self.lost = 0

    def __len__(self) -> int:
        """Items that are not in the store yet."""
        return len(self._waiting) + (len(self._batch.items) if self._batch else 0)

    def put(self, item: Item, claim: Claim | None) -> None:
        """Have it counted with the next flush. Without a claim it is always new. Beyond the bound it is lost."""
        if len(self._waiting) >= WAITING_MAX:
            self.lost += 1
        else:
            self._waiting.append((item, claim))

    async def flush(self) -> None:
        """Claim, then add; what the store didn't answer is sent again with the next. Never raises."""
        if self._batch is None and self._waiting:
            items, self._waiting = self._waiting[:CLAIMS_PER_FLUSH_MAX], self._waiting[CLAIMS_PER_FLUSH_MAX:]
            self._batch = _Batch(token_hex(16), items, self._clock())
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
            _log.debug("%s are counted later: %s", self._what, fault)
        except RolloutError as fault:
            self._give_up(batch, fault.cause)
        except Exception:  # noqa: BLE001  counting must not end the worker
            _log.exception("%s could not be counted", self._what)
            self._give_up(batch, "a defect")

    def give_up(self) -> None:
        """Count all that is not in the store as lost: nobody will send it any more."""
        self.lost += len(self)
        self._waiting, self._batch = [], None

    async def _send(self, batch: _Batch[Item]) -> None:
        """Each step that the store has answered is not taken again."""
        if batch.parts is None:
            claims = [claim for _, claim in batch.items if claim is not None]
            answers = iter(await self._store.claim_units(claims, batch.id) if claims else ())
            deltas = self._summed([(item, claim is None or next(answers)) for item, claim in batch.items])
            batch = self._batch = batch._replace(parts=[*in_parts(deltas, batch.id)])
        for done, (flush_id, part) in enumerate(batch.parts or (), start=1):
            await self._store.add_sums(part, flush_id)
            self._batch = batch._replace(parts=(batch.parts or ())[done:])
        self._batch = None

    def _give_up(self, batch: _Batch[Item], why: str) -> None:
        _log.warning("%d %s are not counted for ramps: %s", len(batch.items), self._what, why)
        self.lost += len(batch.items)
        self._batch = None
