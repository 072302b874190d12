"""One limited quantity of one subject in one worker: how much of the shared limit this worker holds, and uses.

A worker spends only what it was granted, in blocks, out of a window that all workers share; the sum of grants never
exceeds the limit. Where a request comes before its block, rates and concurrency may owe a share, money nothing.

Windows are fixed (a minute, a UTC day) because a block must belong to one count that every worker names alike, and the
store then needs neither a clock nor a formula. Windows of a minute begin at a phase of their own per subject, so that
limited callers don't all come back in the same second. Concurrency has windows too: what is under way is leased anew
in each, so the slots of a worker that died come back by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from gateway.core.admission.limits import Quantity, Scope

# Positions in the amounts of one request.
REQUESTS: Final = 0
TOKENS: Final = 1
MONEY: Final = 2
CONCURRENT: Final = 3
QUANTITIES: Final[tuple[Quantity, ...]] = ("requests", "tokens", "budget", "concurrent")

MINUTE_S: Final = 60.0
DAY_S: Final = 86_400.0
RENEWAL_S: Final = 10.0
_LENGTH_S: Final = (MINUTE_S, MINUTE_S, DAY_S, RENEWAL_S)
_PHASES: Final = 1_024
"""A power of two: the ends of windows are exact, so none is met twice."""


def meter_name(scope: Scope, subject: str, slot: int) -> str:
    """Name of the limit in the store, such as "tenant:acme:requests"."""
    return f"{scope}:{subject}:{QUANTITIES[slot]}"


class Meter:
    """What this worker holds of one limit, in the window that ends at `until_s` (Unix time).

    `granted`: from the store in this window, less what was given back; `free`: of that neither used nor reserved,
    negative when it owes; `used`: all that all workers were granted, as last heard. For concurrency `granted - free`
    is what is under way. `next_granted`, `next_used`: the same of the window to come. The rest is for sizing blocks:
    `wanted` was refused for want of a block, `peak` is the largest amount lately, `rate_per_s` the net use.
    """

    __slots__ = (
        "active",
        "asked_at_s",
        "free",
        "granted",
        "hungry",
        "length_s",
        "limit",
        "moved_at_s",
        "name",
        "next_granted",
        "next_used",
        "peak",
        "phase_s",
        "rate_per_s",
        "retired",
        "scope",
        "seen",
        "slot",
        "subject",
        "until_s",
        "used",
        "visited_at_s",
        "wanted",
        "window",
    )

    def __init__(self, scope: Scope, subject: str, slot: int, limit: int) -> None:
        self.scope: Scope = scope
        self.subject = subject
        self.slot = slot
        self.limit = limit
        self.name = meter_name(scope, subject, slot)
        self.length_s = _LENGTH_S[slot]
        self.phase_s = (
            0.0 if slot == MONEY else crc32(f"{scope}:{subject}".encode()) % _PHASES / _PHASES * self.length_s
        )
        self.window = 0
        self.until_s = 0.0
        self.granted = self.free = self.used = 0
        self.next_granted = self.next_used = 0
        self.wanted = self.peak = self.seen = 0
        self.rate_per_s = 0.0
        self.asked_at_s = self.visited_at_s = self.moved_at_s = 0.0
        self.active = self.hungry = self.retired = False

    @property
    def quantity(self) -> Quantity:
        """What is limited, in a word."""
        return QUANTITIES[self.slot]

    @property
    def taken(self) -> int:
        """Used or reserved by this worker in this window."""
        return self.granted - self.free

    @property
    def exhausted(self) -> bool:
        """Whether all of the window is granted to one worker or another, as last heard."""
        return self.used >= self.limit

    @property
    def remaining(self) -> int:
        """What is left for this worker's callers, if other workers use all they hold."""
        limit = self.limit
        left = limit - self.used + self.free
        if left < 0:
            return 0
        return left if left < limit else limit  # noqa: FURB136  min() costs a call

    def roll(self, now_s: float) -> None:
        """Go over to the window of `now_s`; a clock set back by less than a window changes nothing.

        Debts end with their window. What is under way doesn't, nor, until the store says otherwise, does the lack of
        slots: else each worker could owe one more in each window.
        """
        if self.until_s - 2 * self.length_s <= now_s < self.until_s:
            return
        window = int((now_s + self.phase_s) // self.length_s)
        under_way = self.taken if self.slot == CONCURRENT else 0
        leased_ahead = window == self.window + 1
        self.granted = self.next_granted if leased_ahead else 0
        self.used = max(self.next_used, self.used if under_way else 0) if leased_ahead else 0
        self.free = self.granted - under_way
        self.seen = under_way
        self.next_granted = self.next_used = self.wanted = 0
        self.window = window
        self.until_s = (window + 1) * self.length_s - self.phase_s

    def may_owe(self, amount: int, workers: int, *, down: bool) -> bool:
        """Whether `amount` may be taken before the store has granted it: one request, or what is within the debt.

        The debt is a worker's share of what was left as last heard, while the store is `down` of the whole limit:
        `workers` that have all heard nothing yet owe the limit together, no more.
        """
        if self.slot == MONEY or (self.exhausted and not (down and self.slot == CONCURRENT)):
            return False
        left = self.limit if down else self.limit - self.used
        return self.free >= 0 or self.free >= amount - left // workers

    def begun_after(self, at_s: float) -> bool:
        """Whether the window began after `at_s`."""
        return at_s < self.until_s - self.length_s
