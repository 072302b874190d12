"""Counts units once: as they come of age they are claimed in the store, and the new ones added to the sums of evidence.

A sink of Records that works each second, off every path. Units whose callers' ratings count later are kept until then,
and added once more, without another claim.
"""

from __future__ import annotations

import logging
from collections import Counter
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from gateway.additions import ClaimedAdditions, Made
from gateway.core.check_results import CheckResults
from gateway.core.held_units import RATED_LATE_S, HeldUnits, Ratings
from gateway.core.judged_unit import Judged
from gateway.core.sum_parts import in_parts
from gateway.core.unit_sums import Books, looked_at
from gateway.core.units import Waiting
from gateway.flushes import Flushes
from gateway.looks import JUDGED_AT_ONCE, SENT_AT_ONCE, WATCHED_AT_ONCE, Looks
from gateway.steady_clock import SteadyClock
from gateway.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from gateway.additions import UnitStore
    from gateway.core.checks.sampling import CheckedAnswer, CheckSample
    from gateway.core.held_units import Held
    from gateway.core.left_out import Why
    from gateway.core.outcome import Record
    from rollout.core.model import FeatureFlag, Snapshot

_log = logging.getLogger(__name__)


class Requests(NamedTuple):
    """Where requests are. `settled`: has the sinks take all that have settled; `under_way`: see `Relay`."""

    settled: Callable[[], Awaitable[None]]
    under_way: Callable[[float], list[Record]]


class _Rated(NamedTuple):
    """A unit whose ratings count now."""

    unit: Held
    ratings: Sequence[float]


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
        self._store, self._snapshot, self._clock = store, snapshot, SteadyClock(clock, wall_clock)
        self._checks = CheckResults()
        self._books = Books(sampled, self._checks.take)
        self.left_out = self._books.left_out
        self._tally = Tally(store, clock, "units left out")
        self.left_out.add = self._tally.add
        self._waiting = Waiting(self._books.places.age_s_of, lose=self.left_out.lose)
        self._held, self._ratings = HeldUnits(lose=self.left_out.lose_held), Ratings()
        self._flushes: Flushes[Judged | _Rated] = Flushes(self._begin, clock, "units", self._leave_out)
        self._looks = Looks()
        self._warned: set[tuple[str, str]] = set()
        self._lost = 0

    @property
    def lost(self) -> int:
        """Units that are in no sum, not in all, or without their ratings, though they should be: of both arms alike."""
        given_up = self._waiting.thinned + self._waiting.ageless + self._held.thinned + self._ratings.lost
        return self._lost + self._flushes.lost + given_up + self._books.unplaced

    @property
    def beyond(self) -> int:
        """Outcomes that can't be known: their bound of latency lies beyond the age at which units are looked at."""
        return self._books.beyond.total()

    def take(self, records: Sequence[Record]) -> None:
        """Take a batch of settled requests."""
        self._books.learn(self._snapshot())
        self._waiting.add(self._clock.timed(records))

    def take_check(self, answer: CheckedAnswer) -> None:
        """Take what free checks found."""
        self._checks.add(answer)

    def take_rating(self, record: Record, kind: str, value: float) -> None:
        """Take what a caller said of the answer to a request; `value`: in [0, 1]."""
        if record.unit_digest:
            request = (record.tenant, record.request_id)
            self._ratings.add(record.feature, record.unit_digest, request, kind, value, now_s=self._clock.now_s())

    def give_away(self, count: int) -> Iterator[tuple[tuple[Held, ...], tuple[FeatureFlag, ...]]]:
        """Hand over the units that wait for ratings, `count` at a time, with their flags; nothing is left here."""
        for held in self._held.give_away(count):
            yield held, self._books.places.flags_of((each.feature, each.revision) for each in held)

    def receive(self, held: Iterable[Held], flags: Iterable[FeatureFlag]) -> None:
        """Take over what another worker gave away."""
        self._books.learn(self._snapshot())
        self._books.places.adopt(flags)
        self._held.add(held)

    async def run(self, requests: Requests) -> None:
        """Work until cancelled."""

        async def look() -> None:
            await requests.settled()
            self._books.learn(self._snapshot())
            youngest_s = min((place.age_s for place in self._books.places.current), default=inf)
            under_way = requests.under_way(youngest_s / 2)  # half of it: clocks may be worked off
            await self._looks.take(self._look(under_way))

        await self._flushes.run(look, self._tell)

    async def flush(self) -> None:
        """Claim, then add; what the store didn't answer is sent again with the next. Never raises."""
        await self._flushes.flush()

    async def close(self, *, handing_over: bool = False) -> None:
        """Count what is due and give up who is younger, both arms alike. Never raises.

        Who waits for ratings is given up as well, unless they are handed over (`give_away`).
        """
        self._looks.finish()
        self.look(())
        while await self._flushes.flush():
            pass
        self.look(())  # who has been claimed now may be old enough for their ratings
        await self._flushes.close()
        self._lost += self._waiting.give_up() + (0 if handing_over else self._held.give_up())
        self.left_out.hand_over()
        await self._tally.close()

    def look(self, under_way: Sequence[Record]) -> None:
        """Find out who has come of age; all that has settled must have been taken."""
        for _ in self._look(under_way):
            pass

    def _look(self, under_way: Sequence[Record]) -> Iterator[None]:
        """In steps, between which requests may be served; all of them must be taken."""
        self._books.learn(self._snapshot())
        seen, now_s = self._clock.timed(under_way), self._clock.now_s()
        due = self._waiting.due(now_s, seen)
        for start in range(0, len(due), JUDGED_AT_ONCE):
            self._flushes.put(self._books.judge(due[start : start + JUDGED_AT_ONCE]))
            yield
        for start in range(0, len(due), WATCHED_AT_ONCE):
            self._books.see(due[start : start + WATCHED_AT_ONCE])
            yield
        self._books.watch(now_s, ())
        ripe = self._held.ripe(now_s)
        self._flushes.put(_Rated(unit, self._ratings.take(unit.feature, unit.digest)) for unit in ripe)
        self._ratings.forget(now_s - self._books.places.rated_after_s - RATED_LATE_S)
        self._warn()

    def _warn(self) -> None:
        for feature, metric in self._books.beyond.keys() - self._warned:
            self._warned.add((feature, metric))
            _log.warning(
                "%s of %s can't be judged: its bound is longer than the age at which units are looked at; "
                "give the flag a larger evidence.age",
                metric,
                feature,
            )

    async def _tell(self) -> None:
        """Say who is left out."""
        self.left_out.hand_over()
        await self._tally.flush()

    def _leave_out(self, items: Sequence[Judged | _Rated], why: Why) -> None:
        """Say of those that are given up that they are missing."""
        self.left_out.lose_judged([each for each in items if isinstance(each, Judged)], why)
        for each in items:
            if isinstance(each, _Rated):
                self.left_out.lose_held(each.unit, why)

    def _begin(self, waiting: Sequence[Judged | _Rated]) -> tuple[int, ClaimedAdditions] | None:
        batch = waiting[: _fitting(waiting)]
        if not batch:
            return None
        units = [each for each in batch if isinstance(each, Judged)]
        rated = [each for each in batch if isinstance(each, _Rated)]

        def made(flush_id: str, is_new: Sequence[bool]) -> Made:
            new = [unit for unit, fresh in zip(units, is_new, strict=True) if fresh]
            self._held.add(self._books.held(new))
            deltas = self._books.summed(new) | looked_at(units)
            parts = [*in_parts(deltas, flush_id), *in_parts(self._books.rated(rated), f"{flush_id}.rated")]
            return Made(parts, len(new) + len(rated))

        return len(batch), ClaimedAdditions(self._store, [unit.claim for unit in units], len(batch), made)


def _fitting(waiting: Sequence[Judged | _Rated]) -> int:
    """How many of the first ones go at once: so many of each kind."""
    counts: Counter[type] = Counter()
    for number, each in enumerate(waiting):
        counts[type(each)] += 1
        if counts[type(each)] > SENT_AT_ONCE:
            return number
    return len(waiting)
