"""Counts judged pairs: one of each unit and version of a judge goes into the evidence. A sink of scores."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from gateway.claimed_sums import ClaimedSums
from gateway.core.judging.score import Result
from gateway.core.pair_sums import Entry, PairBooks, summed
from gateway.tally import Tally
from rollout.core.evidence.pairs import VERSIONS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.judging.score import Lost, Scored
    from gateway.unit_collector import UnitStore
    from rollout.core.model import Snapshot

_log = logging.getLogger(__name__)
EVERY_S = 1.0


class PairCollector:
    """One worker's `ScoreSink`."""

    def __init__(self, store: UnitStore, snapshot: Callable[[], Snapshot], clock: Callable[[], float]) -> None:
        """`clock`: any seconds that only grow."""
        self._snapshot, self._books = snapshot, PairBooks()
        self._sums: ClaimedSums[Entry] = ClaimedSums(store, summed, clock, "judged pairs")
        self._calls = Tally(store, clock, "shadow calls")
        self._is_told = False

    @property
    def lost(self) -> int:
        """Pairs that are in no sum though they should be (counter)."""
        return self._sums.lost + self._books.unplaced + self._books.over

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

    def take_call(self, feature: str, revision: int, arm: str, *, answered: bool) -> None:
        """Take the end of a shadow call; `arm`: that was asked, or could not be."""
        self._books.learn(self._snapshot())
        found = self._books.call(feature, revision, arm, answered=answered)
        if found is not None:
            self._calls.add(*found)

    async def run(self) -> None:
        """Flush until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._books.learn(self._snapshot())
            await self._sums.flush()
            await self._calls.flush()
            self._warn()

    async def close(self) -> None:
        """Count what there is. Never raises."""
        while before := len(self._sums):
            await self._sums.flush()
            if len(self._sums) == before:
                break
        self._sums.give_up()
        await self._calls.close()

    def _warn(self) -> None:
        if self._books.over and not self._is_told:
            self._is_told = True
            _log.warning(
                "a judge has had more than %d versions in one attempt of a ramp: pairs of later ones are not counted; "
                "begin another attempt",
                VERSIONS_MAX,
            )
