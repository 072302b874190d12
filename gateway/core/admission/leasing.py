"""How much each meter asks of the store, or gives back: one round trip for all that a worker's meters need.

A block is what a meter used lately in `HORIZON_S`, and room for one request. It shrinks near the limit, to a quarter of
what is left, so that several workers share the rest; what is idle goes back. Only budgets keep a block when idle: they
may owe nothing, so the first request of the day must find one.

What is given back is gone before the store is told, and what the store grants comes when it has answered. A call whose
answer is lost can therefore waste a block, never double one.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.admission.meter import CONCURRENT, MONEY
from rollout.core.quota import QuotaAsk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.admission.meter import Meter
    from rollout.core.quota import QuotaGrant

HORIZON_S = 1.0
IDLE_S = 5.0
"""After this long without a request a meter counts as idle; longer than the official clients wait between retries."""
PROBE_S = 0.25
"""How often a used-up limit is asked for: others may have given back."""
REFRESH_ACTIVE_S = 1.0
REFRESH_IDLE_S = 5.0
ASKS_MAX = 128
"""Per round, about a millisecond of this worker and of the store; the rest comes in the next one."""
VISITS_MAX = 256
STANDING_PER_ROUND = 128
KEPT_S = 60.0
_SMOOTHING_S = 2.0
_REST_SHARE = 4
_STANDING_SHARE = 32
# How long before its end the next window is asked for: requests, tokens, money, concurrency.
_LEAD_S = (1.0, 1.0, 600.0, 3.0)


class Sent(NamedTuple):
    """An ask under way, and whose it is."""

    meter: Meter
    ask: QuotaAsk


def measure(meter: Meter, now_s: float) -> None:
    """Note what was used since the last visit, and whether the meter has fallen idle."""
    taken = meter.taken
    moved = taken - meter.seen
    # A visit after a long pause says nothing of how fast the use began.
    elapsed_s = min(max(0.0, now_s - meter.visited_at_s), _SMOOTHING_S)
    if now_s < meter.visited_at_s:  # the clock was set back
        meter.asked_at_s = meter.moved_at_s = now_s
    meter.seen, meter.visited_at_s = taken, now_s
    meter.rate_per_s = max(0.0, (meter.rate_per_s * _SMOOTHING_S + moved) / (elapsed_s + _SMOOTHING_S))
    if moved or _under_way(meter):
        meter.moved_at_s = now_s
    elif now_s - meter.moved_at_s > IDLE_S:
        meter.rate_per_s = 0.0
        meter.peak = meter.wanted = 0


def desired(meter: Meter) -> int:
    """How much it would hold if nobody else needed any."""
    if meter.slot == CONCURRENT:
        return meter.peak + meter.taken // _REST_SHARE
    wished = meter.peak + int(meter.rate_per_s * HORIZON_S)
    return max(wished, meter.limit // _STANDING_SHARE) if meter.slot == MONEY else wished


def change_wanted(meter: Meter, now_s: float) -> int | None:
    """What to ask of the current window (negative: to give back; 0: to hear how it stands), None for nothing.

    For a meter that has been measured at `now_s`.
    """
    free = meter.free
    if meter.retired:
        return -free if free > 0 else None
    fair = (max(0, meter.limit - meter.used) + max(0, free)) // _REST_SHARE
    goal = min(desired(meter), fair)
    if meter.wanted:
        goal = max(goal, min(meter.wanted, max(meter.peak, fair)))
    elif free > 2 * goal:
        return goal - free
    since_s = now_s - meter.asked_at_s
    if free < (goal if meter.wanted else goal / 2) or free < 0:
        return None if meter.exhausted and since_s < PROBE_S else goal - free
    return 0 if since_s >= (REFRESH_ACTIVE_S if meter.active else REFRESH_IDLE_S) else None


def ahead_wanted(meter: Meter, now_s: float) -> int:
    """What to ask of the next window: nothing until shortly before it begins.

    Of concurrency only what is under way, so that everybody can renew before anybody gets more.
    """
    if meter.retired or meter.until_s - now_s > _LEAD_S[meter.slot] or meter.next_used >= meter.limit:
        return 0
    wished = meter.taken if meter.slot == CONCURRENT else min(desired(meter), meter.limit // _REST_SHARE)
    return max(0, wished - meter.next_granted)


class Leasing:
    """Which meters need the store, and what came of it. One round may be under way at a time.

    `wake` is called when a request met a meter without a block, once until the next `plan`. For readers: `down`, the
    store does not answer; `behind`, not all that is in use was visited in the last round.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._hungry: deque[Meter] = deque()
        self._active: deque[Meter] = deque()
        self._standing: deque[Meter] = deque()
        self.down = self.behind = False

    @property
    def urgent(self) -> bool:
        """Whether a request waits for the next round's outcome, so to speak: its retry will."""
        return bool(self._hungry)

    def keep(self, meter: Meter) -> None:
        """See to it that the meter always has a block (until it is retired)."""
        self._standing.append(meter)
        self.need(meter)

    def need(self, meter: Meter) -> None:
        """A meter is short, or in use again: it comes first in the next round, which is wanted now."""
        self.use(meter)
        if not meter.hungry:
            meter.hungry = True
            if not self._hungry:
                self._wake()
            self._hungry.append(meter)

    def use(self, meter: Meter) -> None:
        """Visit the meter in every round until it is idle."""
        if not meter.active:
            meter.active = True
            self._active.append(meter)

    def plan(self, now_s: float) -> list[Sent]:
        """What to ask now; `now_s`: Unix time. What is given back is deducted already."""
        sent: list[Sent] = []
        visits = 0
        while self._hungry and len(sent) < ASKS_MAX:
            meter = self._hungry.popleft()
            meter.hungry = False
            _visit(meter, now_s, sent)
        due = len(self._active)
        while due and visits < VISITS_MAX and len(sent) < ASKS_MAX:
            due, visits = due - 1, visits + 1
            meter = self._active.popleft()
            _visit(meter, now_s, sent)
            meter.active = _is_active(meter, now_s)
            if meter.active:
                self._active.append(meter)
        self.behind = due > 0
        for _ in range(min(len(self._standing), STANDING_PER_ROUND)):
            if len(sent) >= ASKS_MAX:
                break
            meter = self._standing.popleft()
            _visit(meter, now_s, sent)
            if not meter.retired:
                self._standing.append(meter)
        return sent

    def take(self, sent: Sequence[Sent], grants: Sequence[QuotaGrant]) -> None:
        """The store has answered: book the blocks where they belong, be it that the next window has begun."""
        self.down = False
        for (meter, ask), (granted, used) in zip(sent, grants, strict=True):
            if ask.window == meter.window:
                meter.used = used
                if granted > 0:
                    meter.granted += granted
                    meter.free += granted
            elif ask.window == meter.window + 1:
                meter.next_used = used
                meter.next_granted += max(0, granted)

    def lose(self) -> None:
        """The store has not answered: what was given back stays given, what was asked for counts as not granted."""
        self.down = True

    def give_all_back(self, now_s: float) -> list[Sent]:
        """At the end: all that is neither used nor reserved."""
        sent: list[Sent] = []
        for meter in {id(each): each for each in (*self._active, *self._standing)}.values():
            meter.roll(now_s)
            if meter.free > 0:
                _send(meter, meter.window, -meter.free, sent)
            if meter.next_granted > 0:
                _send(meter, meter.window + 1, -meter.next_granted, sent)
                meter.next_granted = 0
        return sent


def _visit(meter: Meter, now_s: float, sent: list[Sent]) -> None:
    if meter.visited_at_s == now_s:  # met in this round already
        return
    meter.roll(now_s)
    measure(meter, now_s)
    change = change_wanted(meter, now_s)
    if change is not None:
        meter.asked_at_s = now_s
        _send(meter, meter.window, change, sent)
    ahead = ahead_wanted(meter, now_s)
    if ahead:
        _send(meter, meter.window + 1, ahead, sent)


def _send(meter: Meter, window: int, amount: int, sent: list[Sent]) -> None:
    if amount < 0 and window == meter.window:
        meter.free += amount
        meter.granted += amount
        # The store has it back before it says so: else the last place, given back, would look like one in use.
        meter.used = max(0, meter.used + amount)
    expires_at_s = meter.until_s + (window - meter.window) * meter.length_s + KEPT_S
    sent.append(Sent(meter, QuotaAsk(meter.name, window, amount, meter.limit, expires_at_s)))


def _is_active(meter: Meter, now_s: float) -> bool:
    """Whether there is anything to do for it in the next rounds; a block of money is looked after anyway."""
    if now_s - meter.moved_at_s <= IDLE_S or _under_way(meter):
        return True
    owes = meter.free < 0 and not meter.exhausted
    return owes or (meter.free > 0 and meter.slot != MONEY)


def _under_way(meter: Meter) -> bool:
    return meter.slot == CONCURRENT and meter.taken > 0
