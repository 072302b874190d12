"""Small counts on their way to the store, which are never given up because it is away.

They wait and grow in place. What was sent without an answer for minutes is sent as new: a store that had taken it
counts it twice, which is for whoever counts here to bear.
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

    from gateway.additions import SumStore
    from rollout.core.sums import SumKey

_log = logging.getLogger(__name__)
KEYS_MAX = 4_096
KEYS_PER_FLUSH_MAX = 1_024
_ANSWER_MAX_S = 2.0


class _Flush(NamedTuple):
    id: str
    deltas: Mapping[SumKey, Sequence[int]]
    began_s: float


class Tally:
    """One writer's. `lost` (counter): rows that the store refused, or that came when there were too many keys."""

    def __init__(self, store: SumStore, clock: Callable[[], float], what: str) -> None:
        """`clock`: any seconds that only grow; `what`: is counted, for the log."""
        self._store, self._clock, self._what = store, clock, what
        self._pending: dict[SumKey, list[int]] = {}
        self._flush: _Flush | None = None
        self.lost = 0

    def __len__(self) -> int:
        """Keys that the store has not confirmed."""
        return len(self._pending) + (len(self._flush.deltas) if self._flush else 0)

    def add(self, key: SumKey, row: Sequence[int]) -> None:
        """Have `row`, of as many elements as all of that key, added."""
        known = self._pending.get(key)
        if known is not None:
            self._pending[key] = list(map(int.__add__, known, row))
        elif len(self._pending) < KEYS_MAX:
            self._pending[key] = list(row)
        else:
            self.lost += 1

    async def flush(self) -> None:
        """Send what is there; what the store didn't answer goes again with the next call. Never raises."""
        if self._flush is not None and self._clock() - self._flush.began_s >= REMEMBER_FLUSH_S / 2:
            again, self._flush = self._flush.deltas, None
            for key, row in again.items():
                self.add(key, row)
        if self._flush is None and self._pending:
            names = list(self._pending)[:KEYS_PER_FLUSH_MAX]
            self._flush = _Flush(token_hex(16), {key: self._pending.pop(key) for key in names}, self._clock())
        if self._flush is not None:
            await self._send(self._flush)

    async def close(self) -> None:
        """Send all there is, if the store takes it; what is left is lost. Never raises."""
        while before := len(self):
            await self.flush()
            if len(self) >= before:
                break
        if len(self):
            _log.warning("%d counts of %s are lost: the store does not answer", len(self), self._what)
            self.lost += len(self)

    async def _send(self, flush: _Flush) -> None:
        try:
            async with asyncio.timeout(_ANSWER_MAX_S):
                await self._store.add_sums(flush.deltas, flush.id)
        except (StoreUnavailable, TimeoutError) as fault:
            _log.debug("%s are counted later: %s", self._what, fault)
            return
        except RolloutError as fault:
            self._refused(flush, fault.cause)
        except Exception:  # noqa: BLE001  counting must not end the worker
            _log.exception("%s could not be counted", self._what)
            self._refused(flush, "a defect")
        self._flush = None

    def _refused(self, flush: _Flush, why: str) -> None:
        _log.warning("%d counts of %s are lost: %s", len(flush.deltas), self._what, why)
        self.lost += len(flush.deltas)
