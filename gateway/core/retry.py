"""Whether, where and when the one extra attempt is made, before the caller has seen a byte.

What went wrong has a reach (`Reach`, by error kind and by status); the table `_MOVES` says what may mend it. The
fallback comes first: it is the safest for the caller. Trying the same endpoint again comes last, waits as the upstream
asks, and is left to SDKs that retry themselves.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.outcome import CALLER_ERRORS_FROM, OPERATORS_FAULTS, REDIRECTS_FROM

if TYPE_CHECKING:
    from gateway.core.outcome import Failure

ATTEMPTS_MAX = 2
BACKOFF_MIN_S = 0.1
BACKOFF_SPAN_S = 0.2
_BUDGET_MAX = 100.0
_BUDGET_START = 10.0


class Where(StrEnum):
    """Who gets the extra attempt."""

    FALLBACK = "fallback"
    ANOTHER = "another_endpoint"
    SAME = "same_upstream"


class Reach(StrEnum):
    """How far a trouble reaches, and so what may mend it."""

    ENDPOINT = "endpoint"
    """This server's trouble, perhaps a passing one."""
    LIMIT = "limit"
    """The upstream as a whole wants less, for a time that it names."""
    SLOW = "slow"
    """Time was lost: not to be risked at the same place again."""
    UPSTREAM = "upstream"
    """Waiting mends nothing and no server of this upstream is better."""
    FINAL = "final"
    """Nobody can mend it."""


_MOVES = {
    Reach.ENDPOINT: (Where.FALLBACK, Where.ANOTHER, Where.SAME),
    Reach.LIMIT: (Where.FALLBACK, Where.SAME),
    Reach.SLOW: (Where.FALLBACK, Where.ANOTHER),
    Reach.UPSTREAM: (Where.FALLBACK,),
    Reach.FINAL: (),
}
_REACH_OF_KIND = {
    "first_byte_timeout": Reach.SLOW,
    "queue_full": Reach.SLOW,
    "queue_timeout": Reach.SLOW,
    "ejected": Reach.UPSTREAM,
    "unknown_upstream": Reach.UPSTREAM,
    "answer_too_large": Reach.UPSTREAM,
    "event_too_large": Reach.UPSTREAM,
    "total_timeout": Reach.FINAL,
    "closed": Reach.FINAL,
}
_REACH_OF_STATUS = {
    408: Reach.SLOW,
    429: Reach.LIMIT,
    500: Reach.ENDPOINT,
    502: Reach.ENDPOINT,
    503: Reach.ENDPOINT,
    504: Reach.SLOW,
    529: Reach.ENDPOINT,
}


class RetryRules(NamedTuple):
    """The operator's bounds. `wait_max_s`: the longest wait before the same upstream is asked again."""

    enabled: bool = True
    wait_max_s: float = 5.0


class Situation(NamedTuple):
    """What the decision depends on. `left_s`: until the whole deadline; `draw`: uniform in [0, 1)."""

    fallback: bool
    another: bool
    left_s: float
    retry_after_s: float | None = None
    client_retries: int = 0
    affordable: bool = True
    draw: float = 0.0


class Move(NamedTuple):
    """The extra attempt: where, and after which wait."""

    where: Where
    wait_s: float = 0.0


def reach_of_failure(failure: Failure) -> Reach:
    """Reach of an attempt that broke before the first byte."""
    return _REACH_OF_KIND.get(failure.kind, Reach.ENDPOINT)


def reach_of_status(status: int) -> Reach:
    """Reach of an answer with this status; FINAL for successes and for what is the caller's own fault."""
    known = _REACH_OF_STATUS.get(status)
    if known is not None:
        return known
    if status in OPERATORS_FAULTS or REDIRECTS_FROM <= status < CALLER_ERRORS_FROM:
        return Reach.UPSTREAM
    return Reach.FINAL


def next_move(reach: Reach, now: Situation, rules: RetryRules) -> Move | None:
    """The extra attempt, None if there is none to be made. Failing over to the baseline is never budgeted."""
    if now.left_s <= 0:
        return None
    for where in _MOVES[reach]:
        if where is Where.FALLBACK:
            if now.fallback:
                return Move(where)
        elif rules.enabled and now.affordable:
            if where is Where.ANOTHER and now.another:
                return Move(where)
            if where is Where.SAME:
                return _again(reach, now, rules)
    return None


def _again(reach: Reach, now: Situation, rules: RetryRules) -> Move | None:
    """Ask the same upstream again: when it says, or soon; not if the caller's SDK is at it already."""
    if now.client_retries or (reach is Reach.LIMIT and now.retry_after_s is None):
        return None
    wait_s = now.retry_after_s
    if wait_s is None:
        wait_s = min(BACKOFF_MIN_S + BACKOFF_SPAN_S * now.draw, rules.wait_max_s)
    return Move(Where.SAME, wait_s) if wait_s <= rules.wait_max_s and wait_s < now.left_s else None


class RetryBudget:
    """Bounds extra attempts to a share of the requests, so that retries never keep an upstream down.

    After Finagle's RetryBudget: each request deposits `ratio`, each extra attempt withdraws 1.
    """

    __slots__ = ("_ratio", "balance")

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self.balance = _BUDGET_START if ratio else 0.0

    def deposit(self) -> None:
        """Count a first attempt."""
        if self.balance < _BUDGET_MAX:
            self.balance += self._ratio

    @property
    def affordable(self) -> bool:
        """Whether an extra attempt may be made."""
        return self.balance >= 1.0

    def withdraw(self) -> None:
        """Count an extra attempt."""
        self.balance -= 1.0
