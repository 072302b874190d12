"""Counts judged pairs: one of each unit and version of a judge goes into the evidence. A sink of scores."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from gateway.additions import ClaimedAdditions, Made
from gateway.core.judging.score import Result
from gateway.core.pair_sums import Entry, PairBooks, summed
from gateway.core.sum_parts import in_parts
from gateway.flushes import Flushes
from gateway.tally import Tally
from rollout.core.claims import CLAIMS_PER_FLUSH_MAX, Claim
from rollout.core.evidence.pairs import VERSIONS_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.additions import UnitStore
    from gateway.core.judging.score import Lost, Scored, Spared
    from rollout.core.model import Snapshot

_log = logging.getLogger(__name__)
_Item = tuple[Entry, Claim | None]
"""Without a claim it is always new."""


class PairCollector:
    """One worker's `ScoreSink`."""

    def __init__(
        self,
        store: UnitStore,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
        unix: Callable[[], float] = time.time,
    ) -> None:
        """`clock`: any seconds that only grow; `unix`: Unix time."""
        self._unix = unix
        self._store, self._snapshot, self._books = store, snapshot, PairBooks()
        self._flushes: Flushes[_Item] = Flushes(self._begin, clock, "judged pairs")
        self._calls = Tally(store, clock, "shadow calls")
        self._is_told = False

    @property
    def lost(self) -> int:
        """Pairs that are in no sum though they should be (counter)."""
        return self._flushes.lost + self._books.unplaced + self._books.over

    def take(self, scored: Scored) -> None:
        """ScoreSink."""
        self._books.learn(self._snapshot())
        found = self._books.score(scored, asked=scored.result is not Result.SAME)
        if found is not None:
            self._flushes.put([found])

    def lose(self, lost: Lost) -> None:
        """ScoreSink."""
        self._books.learn(self._snapshot())
        entry = self._books.lose(lost)
        if entry is not None:
            self._flushes.put([(entry, None)])

    def spare(self, spared: Spared) -> None:
        """ScoreSink."""
        self._books.learn(self._snapshot())
        entry = self._books.spare(spared)
        if entry is not None:
            self._flushes.put([(entry, None)])

    def take_call(self, feature: str, revision: int, arm: str, *, answered: bool) -> None:
        """Take the end of a shadow call; `arm`: that was asked, or could not be."""
        self._books.learn(self._snapshot())
        for key, row in self._books.call(feature, revision, arm, answered=answered, at_s=self._unix()):
            self._calls.add(key, row)

    async def run(self) -> None:
        """Flush until cancelled."""
        await self._flushes.run(self._look, self._tell)

    async def flush(self) -> None:
        """Send what is there; what the store didn't take is sent again with the next. Never raises."""
        await self._flushes.flush()

    async def close(self) -> None:
        """Count what there is; what the store doesn't take is lost. Never raises."""
        await self._flushes.close()
        await self._calls.close()

    async def _look(self) -> None:
        self._books.learn(self._snapshot())

    def _begin(self, waiting: Sequence[_Item]) -> tuple[int, ClaimedAdditions] | None:
        items = tuple(waiting[:CLAIMS_PER_FLUSH_MAX])
        if not items:
            return None

        def made(flush_id: str, new: Sequence[bool]) -> Made:
            answers = iter(new)
            deltas = summed([(entry, claim is None or next(answers)) for entry, claim in items])
            return Made(in_parts(deltas, flush_id), len(items))

        claims = [claim for _, claim in items if claim is not None]
        return len(items), ClaimedAdditions(self._store, claims, len(items), made)

    async def _tell(self) -> None:
        await self._calls.flush()
        self._warn()

    def _warn(self) -> None:
        if self._books.over and not self._is_told:
            self._is_told = True
            _log.warning(
                "a judge has had more than %d versions in one attempt of a ramp: pairs of later ones are not counted; "
                "begin another attempt",
                VERSIONS_MAX,
            )
