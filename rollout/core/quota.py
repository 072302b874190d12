"""Shared quotas, leased in blocks: how much of an ask a window still gives. Every store grants by this rule."""

from typing import NamedTuple

KEEP_MIN_S = 60.0
"""A window is kept this long after its last ask, whatever its end: a clock that runs late must not lift a limit."""


class QuotaAsk(NamedTuple):
    """A block of a quota.

    `name` as in "tenant:acme:requests"; `window`: number of the time window, chosen by the caller; `amount`: how much
    is wanted, negative to give back what was not used; `limit`: what the window gives in all, to everybody. Amounts
    and limits are below 2**53. `expires_at_s`: Unix time from which the window may be forgotten.
    """

    name: str
    window: int
    amount: int
    limit: int
    expires_at_s: float


class QuotaGrant(NamedTuple):
    """What an ask got (negative: what was taken back), and all that is granted in its window so far."""

    granted: int
    used: int


def grant(used: int, ask: QuotaAsk) -> QuotaGrant:
    """Grant what is left of the ask's window when `used` is out already; never over the limit, never below zero."""
    granted = max(0, min(ask.amount, ask.limit - used)) if ask.amount > 0 else -min(-ask.amount, used)
    return QuotaGrant(granted, used + granted)
