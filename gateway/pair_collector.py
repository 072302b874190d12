"""Counts judged pairs: one of each unit and version of a judge goes into the evidence. A sink of scores."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.claimed_sums import ClaimedSums
from gateway.core.judging.score import Result
from gateway.core.pair_sums import Entry, PairBooks, summed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.judging.score import Lost, Scored
    from gateway.unit_collector import UnitStore
    from rollout.core.model import Snapshot

EVERY_S = 1.0


class PairCollector:
    """One worker's `ScoreSink`."""

    def __init__(self, store: UnitStore, snapshot: Callable[[], Snapshot], clock: Callable[[], float]) -> None:
        """`clock`: any seconds that only grow."""
        self._snapshot, self._books = snapshot, PairBooks()
        self._sums: ClaimedSums[Entry] = ClaimedSums(store, summed, clock, "judged pairs")

    @property
    def lost(self) -> int:
        """Pairs that are in no sum though they should be (counter)."""
        return self._sums.lost + self._books.unplaced

    def take(self, scored: Scored) -> None:
        """ScoreSink."""
        self._books.learn(self._snapshot())
        found = self._books.score(scored, asked=scored.result is not Result.SAME)
        if found is not None:
            self._sums.put(*found)

    def lose(self, lost: Lost) -> None:
        """ScoreSink."""
        self._books.learn(self._snapshot())
        entry = self._books.lose(lost)
        if entry is not None:
            self._sums.put(entry, None)

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._books.learn(self._snapshot())
            await self._sums.flush()

    async def close(self) -> None:
        """Count what there is. Never raises."""
        while before := len(self._sums):
            await self._sums.flush()
            if len(self._sums) == before:
                break
        self._sums.give_up()
