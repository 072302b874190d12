"""How many shadow calls of one feature this worker may still make: leased from the store like any other limit.

Both limits, calls per UTC day and calls under way, hold over all workers of all replicas, because a worker spends only
what it was granted (`gateway.core.admission.meter`). Unlike requests, shadow calls owe nothing: without a block, or
without the store, there are none. What is under way is leased anew every ten seconds; calls whose lease was not renewed
shortly before its end must be cut, since somebody else may get their places then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.admission.meter import CONCURRENT, MONEY, Meter
from gateway.core.shadowing import Skip

if TYPE_CHECKING:
    from gateway.core.admission.leasing import Leasing

RENEWED_S = 0.5
"""So long before the end of its window a lease must have been renewed: more than `lapsed` is asked apart."""


class Allowance:
    """The limits of one feature, as its flag has them. Times are Unix seconds."""

    def __init__(self, feature: str, daily_budget: int, max_concurrent: int, leasing: Leasing) -> None:
        self.limits = (daily_budget, max_concurrent)
        self._leasing = leasing
        self._budget = Meter("shadow", feature, MONEY, daily_budget)
        self._places = Meter("shadow", feature, CONCURRENT, max_concurrent)
        leasing.keep(self._budget)

    @property
    def under_way(self) -> int:
        """Calls begun and not ended."""
        return self._places.taken

    def spent(self, now_s: float) -> bool:
        """Whether there will be no call today, as far as is known: sampling would be for nothing."""
        budget = self._budget
        budget.roll(now_s)
        return budget.exhausted and budget.free < 1

    def take(self, now_s: float, wanted: int = 1) -> Skip | None:
        """Begin one call, or say why not; a block for the `wanted` that wait is asked for then."""
        budget, places = self._budget, self._places
        budget.roll(now_s)
        places.roll(now_s)
        short = [meter for meter in (budget, places) if meter.free < 1]
        for meter in short:
            self._ask(meter, now_s, wanted)
        if short:
            return _why(short[0])
        if _ends_soon(places, now_s) and places.next_granted <= places.taken:
            self._leasing.use(places)
            return Skip.UNCONFIRMED
        budget.free -= 1
        places.free -= 1
        for meter in (budget, places):
            self._leasing.use(meter)
        return None

    def give_back(self, now_s: float) -> None:
        """A call has ended; what it cost of the budget stays spent."""
        places = self._places
        places.roll(now_s)
        places.free += 1
        self._leasing.use(places)

    def withdraw(self, now_s: float) -> None:
        """The call just begun was not made after all: it shall not count."""
        self._budget.free += 1
        self.give_back(now_s)

    def lapsed(self, now_s: float) -> int:
        """How many of the calls under way must be cut: to be asked more often than every `RENEWED_S`."""
        places = self._places
        places.roll(now_s)
        owed = -places.free
        if _ends_soon(places, now_s):
            owed = max(owed, places.taken - places.next_granted)
        return max(0, owed)

    def retire(self) -> None:
        """The flag has other limits now: give back what is held, and what ends later as it ends."""
        for meter in (self._budget, self._places):
            meter.retired = True
            self._leasing.need(meter)

    def _ask(self, meter: Meter, now_s: float, wanted: int) -> None:
        meter.moved_at_s = now_s
        meter.peak = max(meter.peak, 1)
        meter.wanted = max(meter.wanted, wanted)
        if meter.exhausted:
            self._leasing.use(meter)
        else:
            self._leasing.need(meter)


def _ends_soon(places: Meter, now_s: float) -> bool:
    return places.until_s - now_s <= RENEWED_S


def _why(meter: Meter) -> Skip:
    if not meter.exhausted:
        return Skip.UNCONFIRMED
    return Skip.BUDGET if meter.slot == MONEY else Skip.CONCURRENCY
