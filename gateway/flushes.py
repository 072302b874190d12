"""How collectors bring to the store what they gather, off every path: each second, a batch at a time, until answered.

What they gather differs, and what a batch is (`additions`). That it is sent again until the store has answered, given
up when it can't be any more, bounded while it waits, sent a last time at the end, and counted when it is lost, is here.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from gateway.core.left_out import Why
from rollout.core.errors import RolloutError, StoreUnavailable
from rollout.core.sums import REMEMBER_FLUSH_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

_log = logging.getLogger(__name__)
EVERY_S = 1.0
ANSWER_MAX_S = 4.0
WAITING_MAX = 20_000
BATCHES_AT_ONCE = 16
"""After a look; the rest waits for the next one."""
Item = TypeVar("Item")


class Batch(Protocol):
    """What goes to the store at once."""

    @property
    def observations(self) -> int:
        """How many it stands for."""
        ...

    async def send(self) -> None:
        """Send what the store has not answered; to be called again until it returns."""
        ...


class _UnderWay(NamedTuple, Generic[Item]):
    batch: Batch
    items: Sequence[Item]
    began_s: float


class Flushes(Generic[Item]):
    """One collector's. `lost` (counter): observations that are in no sum though they should be."""

    def __init__(
        self,
        begin: Callable[[Sequence[Item]], tuple[int, Batch] | None],
        clock: Callable[[], float],
        what: str,
        lose: Callable[[Sequence[Item], Why], None] = lambda _items, _why: None,
    ) -> None:
        """`begin`: makes a batch, told what waits; how many of those are in it, the first ones. None if there is none.

        `clock`: any seconds that only grow; `what`: the observations, for the log; `lose`: told of what is lost.
        """
        self._begin, self._clock, self._what, self._lose = begin, clock, what, lose
        self._waiting: list[Item] = []
        self._under_way: _UnderWay[Item] | None = None
        self._surplus = 0
        self._turn = asyncio.Lock()
        self._closed = False
        self.lost = 0

    def __len__(self) -> int:
        """What waits, and what is on its way."""
        return len(self._waiting) + (self._under_way.batch.observations if self._under_way else 0)

    def put(self, items: Iterable[Item]) -> None:
        """Have them sent with the next flush. Beyond the bound the last ones are lost, whatever they are."""
        self._waiting += items
        surplus = len(self._waiting) - WAITING_MAX
        if surplus > 0:
            self._lose(self._waiting[WAITING_MAX:], Why.OVERLOADED)
            del self._waiting[WAITING_MAX:]
            self._surplus += surplus
            self.lost += surplus

    async def run(
        self, look: Callable[[], Awaitable[None]], after: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Work until cancelled. `look`: find out what is to be put; a look that fails costs that look.

        `after`: what else is to be done each second; never raises.
        """
        while True:
            await asyncio.sleep(EVERY_S)
            if self._closed:
                continue
            try:
                await look()
            except Exception:  # noqa: BLE001  counting must not end the worker
                _log.exception("%s could not be looked at", self._what)
            for _ in range(BATCHES_AT_ONCE):
                if not await self.flush():
                    break
            if after is not None:
                await after()

    async def flush(self) -> bool:
        """Send one batch; what the store didn't answer is sent again with the next. Whether one is done. Never raises.

        Given up is what a store may have forgotten by now: sent again it would count twice.
        """
        async with self._turn:
            return await self._flush()

    async def close(self) -> None:
        """Send what there is, as long as the store answers; the rest is lost. Nobody looks any more. Never raises."""
        self._closed = True
        while await self.flush():
            pass
        left = self._under_way or self._next()
        while left is not None:
            self._count_lost(left)
            left = self._next()
        self._under_way = None

    async def _flush(self) -> bool:
        self._tell_surplus()
        if self._under_way is None:
            self._under_way = self._next()
        under_way = self._under_way
        if under_way is None:
            return False
        if self._clock() - under_way.began_s >= REMEMBER_FLUSH_S / 2:
            return self._give_up("the store did not answer in time")
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                await under_way.batch.send()
        except (StoreUnavailable, TimeoutError) as fault:
            _log.debug("%s are counted later: %s", self._what, fault)
            return False
        except RolloutError as fault:
            return self._give_up(fault.cause)
        except Exception:  # noqa: BLE001  as above
            _log.exception("%s could not be counted", self._what)
            return self._give_up("a defect")
        self._under_way = None
        return True

    def _next(self) -> _UnderWay[Item] | None:
        begun = self._begin(self._waiting)
        if begun is None:
            return None
        number, batch = begun
        items = self._waiting[:number]
        del self._waiting[:number]
        return _UnderWay(batch, items, self._clock())

    def _give_up(self, why: str) -> bool:
        if self._under_way is not None:
            observations = self._count_lost(self._under_way)
            _log.warning("%d %s are not counted for ramps: %s", observations, self._what, why)
        self._under_way = None
        return True

    def _count_lost(self, under_way: _UnderWay[Item]) -> int:
        self._lose(under_way.items, Why.STORE)
        self.lost += under_way.batch.observations
        return under_way.batch.observations

    def _tell_surplus(self) -> None:
        if self._surplus:
            text = "%d %s are not counted for ramps: the store does not keep up"
            _log.warning(text, self._surplus, self._what)
            self._surplus = 0
