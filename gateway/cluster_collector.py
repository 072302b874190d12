"""Adds up requests of flags whose arms stick to users or tenants, as they come of age: by groups of users, unclaimed.

A sink of Records that works each second, off every path, like the collector of units; without such a flag it does
nothing.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

from gateway.core.checks.sampling import CheckSample
from gateway.core.cluster_requests import ClusterPlaces, WaitingRequests, arrived_s_of
from gateway.core.cluster_sums import ClusterBooks, add_rows, entry_of, fitting
from gateway.core.left_out import Why
from gateway.core.left_out_requests import LeftOutRequests
from gateway.core.request_outcomes import RequestOutcomes
from gateway.sum_sender import SumSender
from gateway.tally import Tally
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.collector import SumStore
    from gateway.core.checks.sampling import CheckedAnswer
    from gateway.core.cluster_requests import ClusterPlace
    from gateway.core.cluster_sums import Entry
    from gateway.core.outcome import Record
    from gateway.unit_collector import Requests
    from rollout.core.evidence.cluster_parts import Part
    from rollout.core.model import Snapshot

_log = logging.getLogger(__name__)
EVERY_S = 1.0
DUE_MAX = 20_000
FLUSH_MAX = 5_000


class ClusterCollector:
    """One worker's. `lost` (counter): requests of age that could not be counted, of both arms alike."""

    def __init__(
        self,
        store: SumStore,
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        *,
        sampled: CheckSample | None = None,
    ) -> None:
        """`clock`: any seconds that only grow; `wall_clock`: Unix time, as in Records.

        `sampled`: requests whose answers are checked.
        """
        self._snapshot, self._wall_clock = snapshot, wall_clock
        self._outcomes = RequestOutcomes(sampled)
        self._sender = SumSender(store, clock, "requests of users")
        self._places, self._books = ClusterPlaces(), ClusterBooks()
        self._tally = Tally(store, clock, "requests of users left out")
        self.left_out = LeftOutRequests(self._places, sampled or CheckSample())
        self.left_out.add = self._tally.add
        self._sent: Sequence[Entry] = ()
        self._waiting: dict[float, WaitingRequests] = {}
        self._due: list[Entry] = []
        self._lost = 0

    @property
    def lost(self) -> int:
        """Requests that are in no sum though they should be."""
        return self._lost + self._sender.lost + sum(each.thinned for each in self._waiting.values())

    def take(self, records: Sequence[Record]) -> None:
        """Take a batch of settled requests."""
        self._places.learn(self._snapshot())
        if not self._places:
            return
        for record in filter(self._is_drawn, records):
            place = self._places.of(record.feature, record.revision)
            if place is None:
                self._lost += 1
                self.left_out.lose(record, Why.UNPLACED)
            else:
                for part in place.parts:
                    self._waiting_until(part.age_s).add((record,))

    def take_check(self, answer: CheckedAnswer) -> None:
        """Take what free checks found."""
        if self._places.knows(answer.feature):
            self._outcomes.add_check(answer)

    def take_rating(self, record: Record, kind: str, value: float) -> None:
        """Take what a caller said of the answer to a request; `value`: in [0, 1]."""
        if self._is_drawn(record):
            self._outcomes.add_rating(record, kind, value)

    async def run(self, requests: Requests) -> None:
        """Work until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                self._places.learn(self._snapshot())
                if self._places:
                    await requests.settled()
                    self.look(requests.under_way)
            except Exception:  # noqa: BLE001  counting must not end the worker
                _log.exception("requests of users could not be looked at")
            await self.flush()
            self.left_out.hand_over()
            await self._tally.flush()

    async def close(self) -> None:
        """Count what is due and give up what is younger, both arms alike. Never raises."""
        self.look(lambda _: ())
        await self.flush()
        waiting = sum(each.give_up() for each in self._waiting.values())
        self._lost += len(self._due) + self._sender.on_the_way + waiting
        self.left_out.lose_entries((*(self._sent if self._sender.on_the_way else ()), *self._due), Why.STORE)
        self.left_out.hand_over()
        await self._tally.close()

    def look(self, under_way: Callable[[float], Iterable[Record]]) -> None:
        """Find out what has come of age; all that has settled must have been taken. `under_way`: see `Requests`."""
        self._places.learn(self._snapshot())
        now_s = self._wall_clock()
        for age_s in self._places.ages_s | self._waiting.keys():
            waiting = self._waiting_until(age_s)
            seen = under_way(age_s / 2)  # the wall clock may have been set forward
            due = waiting.due(now_s, [each for each in seen if self._is_drawn(each) and self._placed(each, age_s)])
            placed = [(each, found) for each in due if (found := self._placed(each, age_s)) is not None]
            self._forget([each for each in due if self._placed(each, age_s) is None], age_s)
            self._due += [self._entry(each, *found) for each, found in placed]
            self._outcomes.learn(now_s, [(each, part) for each, (_, part) in placed], self._places.current)
            if not waiting and age_s not in self._places.ages_s:
                self._lost += self._waiting.pop(age_s).thinned
        surplus = len(self._due) - DUE_MAX
        if surplus > 0:  # of both arms: what they came to is known by now, however slow they were
            _log.warning("%d requests of users are not counted for ramps: the store does not keep up", surplus)
            self._lost += surplus
            self.left_out.lose_entries(self._due[DUE_MAX:], Why.OVERLOADED)
            del self._due[DUE_MAX:]

    async def flush(self) -> None:
        """Send what is due. Never raises."""
        if not self._sender.on_the_way and self._due:
            number = fitting(self._due[:FLUSH_MAX])
            self._sent, self._due = self._due[:number], self._due[number:]
            deltas = self._books.summed(self._sent)
            add_rows(deltas, self.left_out.rows(self._sent))
            self._sender.begin(deltas, number)
        given_up = self._sender.lost
        await self._sender.send()
        if self._sender.lost > given_up:
            self.left_out.lose_entries(self._sent, Why.STORE)

    def _forget(self, records: Sequence[Record], age_s: float) -> None:
        """Count those of revisions that were forgotten while they waited; where the ramp is over nobody asks."""
        for each in records:
            if self._places.knows(each.feature):
                self._lost += 1
                self.left_out.lose(each, Why.UNPLACED, age_s)

    def _waiting_until(self, age_s: float) -> WaitingRequests:
        known = self._waiting.get(age_s)
        if known is None:
            lose = partial(self.left_out.lose, age_s=age_s)
            known = self._waiting[age_s] = WaitingRequests(age_s, lose=lose)
        return known

    def _is_drawn(self, record: Record) -> bool:
        """Whether it is a draw of such a flag, and somebody was asked."""
        return bool(record.unit_digest and record.attempts) and self._places.knows(record.feature)

    def _placed(self, record: Record, age_s: float) -> tuple[ClusterPlace, Part] | None:
        place = self._places.of(record.feature, record.revision)
        parts = () if place is None else place.parts
        return next(((place, part) for part in parts if place is not None and part.age_s == age_s), None)

    def _entry(self, record: Record, place: ClusterPlace, part: Part) -> Entry:
        outcomes, candidate = self._outcomes.of(record, part), record.assigned == Arm.CANDIDATE
        return entry_of(place, part, arrived_s_of(record), record.unit_digest, candidate=candidate, outcomes=outcomes)
