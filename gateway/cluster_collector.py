"""Adds up requests of flags whose arms stick to users or tenants, as they come of age: by groups of users, unclaimed.

A sink of Records that works each second, off every path, like the collector of units; without such a flag it does
nothing.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING

from gateway.additions import Additions
from gateway.core.checks.sampling import CheckSample
from gateway.core.cluster_requests import ClusterPlaces, Handed, WaitingRequests, arrived_s_of
from gateway.core.cluster_sums import ClusterBooks, add_rows, entry_of, fitting
from gateway.core.held_units import RATED_LATE_S
from gateway.core.left_out import Why
from gateway.core.left_out_requests import LeftOutRequests
from gateway.core.request_outcomes import RequestOutcomes
from gateway.core.sum_parts import in_parts
from gateway.flushes import Flushes
from gateway.looks import JUDGED_AT_ONCE, SENT_AT_ONCE, WATCHED_AT_ONCE, Looks
from gateway.steady_clock import SteadyClock
from gateway.tally import Tally
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gateway.additions import SumStore
    from gateway.core.checks.sampling import CheckedAnswer
    from gateway.core.cluster_requests import ClusterPlace
    from gateway.core.cluster_sums import Entry
    from gateway.core.outcome import Record
    from gateway.core.sum_parts import Part as SumPart
    from gateway.unit_collector import Requests
    from rollout.core.evidence.cluster_parts import Part
    from rollout.core.model import Snapshot

FLUSH_MAX = SENT_AT_ONCE


class ClusterCollector:
    """One worker's."""

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
        self._store, self._snapshot, self._clock = store, snapshot, SteadyClock(clock, wall_clock)
        self._outcomes = RequestOutcomes(sampled)
        self._places, self._books = ClusterPlaces(), ClusterBooks()
        self._tally = Tally(store, clock, "requests of users left out")
        self.left_out = LeftOutRequests(self._places, sampled or CheckSample())
        self.left_out.add = self._tally.add
        self._waiting: dict[float, WaitingRequests] = {}
        self._flushes: Flushes[Entry] = Flushes(self._begin, clock, "requests of users", self.left_out.lose_entries)
        self._looks = Looks()
        self._lost = 0

    @property
    def lost(self) -> int:
        """Requests that are in no sum though they should be, or without their ratings, of both arms alike (counter)."""
        thinned = sum(each.thinned for each in self._waiting.values())
        return self._lost + self._flushes.lost + thinned + self._outcomes.lost

    def take(self, records: Sequence[Record]) -> None:
        """Take a batch of settled requests."""
        self._places.learn(self._snapshot())
        if not self._places:
            return
        for record in filter(self._is_drawn, self._clock.timed(records)):
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
            self._outcomes.add_rating(record, kind, value, self._clock.now_s())

    def give_away(self, count: int) -> Iterator[Handed]:
        """Hand over what waits for its age, about `count` at a time; nothing is left here. To be called after `close`.

        What is due has been counted by then, so nothing of that is in it.
        """
        for age_s, waiting in list(self._waiting.items()):
            for records in waiting.give_away(count):
                flags = self._places.flags_of(records)
                yield Handed(age_s, records, flags, self._outcomes.give_away(records))

    def receive(self, handed: Handed) -> None:
        """Take over what another worker gave away."""
        self._places.adopt(handed.flags)
        self._outcomes.receive(handed.checks)
        self._waiting_until(handed.age_s).receive(handed.records)

    async def run(self, requests: Requests) -> None:
        """Work until cancelled."""

        async def look() -> None:
            self._places.learn(self._snapshot())
            if self._places:
                await requests.settled()
                await self._looks.take(self._look(requests.under_way))
            else:
                self._outcomes.forget_ratings(inf)

        await self._flushes.run(look, self._tell)

    async def flush(self) -> None:
        """Send what is due. Never raises."""
        await self._flushes.flush()

    async def close(self, *, handing_over: bool = False) -> None:
        """Count what is due. Give up what is younger, both arms alike, unless it is handed over. Never raises."""
        self._looks.finish()
        self.look(lambda _: ())
        await self._flushes.close()
        if not handing_over:
            self._lost += sum(each.give_up() for each in self._waiting.values())
        self.left_out.hand_over()
        await self._tally.close()

    def look(self, under_way: Callable[[float], Iterable[Record]]) -> None:
        """Find out what has come of age; all that has settled must have been taken. `under_way`: see `Requests`."""
        for _ in self._look(under_way):
            pass

    def _look(self, under_way: Callable[[float], Iterable[Record]]) -> Iterator[None]:
        """In steps, between which requests may be served; all of them must be taken."""
        self._places.learn(self._snapshot())
        now_s, ages_s = self._clock.now_s(), sorted(self._places.ages_s | self._waiting.keys())
        self._outcomes.forget_ratings(now_s - max(self._places.ages_s, default=0.0) - RATED_LATE_S)
        youngest_s = min(ages_s, default=inf)
        seen = self._clock.timed(list(under_way(youngest_s / 2)))  # half of it: clocks may be worked off
        drawn = [each for each in seen if self._is_drawn(each)]
        due = [(each, age_s) for age_s in ages_s for each in self._due(now_s, drawn, age_s)]
        judged: list[tuple[Record, Part]] = []
        for start in range(0, len(due), JUDGED_AT_ONCE):
            judged += self._judge(due[start : start + JUDGED_AT_ONCE])
            yield
        for start in range(0, len(judged), WATCHED_AT_ONCE):
            self._outcomes.see(judged[start : start + WATCHED_AT_ONCE], self._places.current)
            yield
        self._outcomes.learn(now_s, (), self._places.current)
        for age_s in self._waiting.keys() - self._places.ages_s:
            if not self._waiting[age_s]:
                self._lost += self._waiting.pop(age_s).thinned

    def _due(self, now_s: float, under_way: Iterable[Record], age_s: float) -> list[Record]:
        placed = [each for each in under_way if self._placed(each, age_s)]
        return self._waiting_until(age_s).due(now_s, placed)

    def _judge(self, due: Iterable[tuple[Record, float]]) -> list[tuple[Record, Part]]:
        """Have those sent that have come to an age, but for those without a place by now."""
        judged: list[tuple[Record, Part]] = []
        entries: list[Entry] = []
        for record, age_s in due:
            placed = self._placed(record, age_s)
            if placed is None:
                self._forget(record, age_s)
            else:
                entries.append(self._entry(record, *placed))
                judged.append((record, placed[1]))
        self._flushes.put(entries)
        return judged

    def _begin(self, waiting: Sequence[Entry]) -> tuple[int, Additions] | None:
        number = fitting(waiting[:FLUSH_MAX])
        if not number:
            return None
        return number, Additions(self._store, number, partial(self._parts, tuple(waiting[:number])))

    def _parts(self, entries: Sequence[Entry], flush_id: str) -> Iterator[SumPart]:
        deltas = self._books.summed(entries)
        add_rows(deltas, self.left_out.rows(entries))
        return in_parts(deltas, flush_id)

    async def _tell(self) -> None:
        """Say what is left out."""
        self.left_out.hand_over()
        await self._tally.flush()

    def _forget(self, record: Record, age_s: float) -> None:
        """Count one of a revision that was forgotten while it waited; where the ramp is over nobody asks."""
        if self._places.knows(record.feature):
            self._lost += 1
            self.left_out.lose(record, Why.UNPLACED, age_s)

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
