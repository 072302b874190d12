"""Sends sums to the store so that each counts once: again under the same id until the store has answered.

One flush is on its way at a time. What stays without an answer for too long is given up, and counted as lost.
"""

from __future__ import annotations

import asyncio
import logging
from secrets import token_hex
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.errors import RolloutError, StoreUnavailable
from rollout.core.sums import REMEMBER_FLUSH_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.collector import SumStore
    from rollout.core.sums import SumKey

_log = logging.getLogger(__name__)
ANSWER_MAX_S = 2.0


class _Flush(NamedTuple):
    """What is on its way, and how many observations it stands for."""

    id: str
    deltas: Mapping[SumKey, Sequence[int]]
    observations: int
    began_s: float


class SumSender:
    """One writer's. `lost` (counter): observations that could not be counted."""

    def __init__(self, store: SumStore, clock: Callable[[], float], what: str) -> None:
        """`clock`: any seconds that only grow; `what`: the observations, for the log."""
        self._store, self._clock, self._what = store, clock, what
        self._flush: _Flush | None = None
        self.lost = 0

    @property
    def on_the_way(self) -> int:
        """Observations that the store has not confirmed; 0: `begin` may be called."""
        return 0 if self._flush is None else self._flush.observations

    def begin(self, deltas: Mapping[SumKey, Sequence[int]], count: int) -> None:
        """Take what `send` is to send, of `count` (above 0) observations; nothing else may be on its way."""
        self._flush = _Flush(token_hex(16), deltas, count, self._clock())

    async def send(self) -> None:
        """Send what is there; what the store didn't answer goes again with the next call. Never raises."""
        flush = self._flush
        if flush is None:
            return
        if self._clock() - flush.began_s >= REMEMBER_FLUSH_S / 2:
            self._give_up(flush, "the store did not answer in time")
            return
        try:
            async with asyncio.timeout(ANSWER_MAX_S):
                await self._store.add_sums(flush.deltas, flush.id)
        except (StoreUnavailable, TimeoutError) as fault:
            _log.debug("%s are counted later: %s", self._what, fault)
        except RolloutError as fault:
            self._give_up(flush, fault.cause)
        except Exception:  # noqa: BLE001  counting must not end the worker
            _log.exception("%s could not be counted", self._what)
            self._give_up(flush, "a defect")
        else:
            self._flush = None

    def _give_up(self, flush: _Flush, why: str) -> None:
        _log.warning("%d %s are not counted for ramps: %s", flush.observations, self._what, why)
        self.lost += flush.observations
        self._flush = None
