"""Leases with fencing tokens: who may act in a name, and whose writes still count. Every store follows these rules.

A lease only saves work: it can lapse while its holder is paused and doesn't know. What protects a write is its token,
checked in the transaction that writes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from rollout.core.errors import InvalidArgument

CONTROLLER = "controller"
"""Name of the lease under which one controller of many moves shares."""
TTL_MIN_S, TTL_MAX_S = 0.001, 3_600.0
_TEXT_MAX = 200


class Lease(NamedTuple):
    """A lease as its holder has it: act until `until_s` (Unix time of the holder's own clock) and write with it."""

    name: str
    holder: str
    token: int
    until_s: float


class Held(NamedTuple):
    """What a store remembers of a name, for ever: the newest token handed out, and who holds it from when to when.

    `holder` is empty when nobody does; times are Unix milliseconds of the store.
    """

    token: int = 0
    holder: str = ""
    since_ms: int = 0
    until_ms: int = 0


class Verdict(StrEnum):
    """What becomes of a conditional write."""

    DONE = "done"
    STALE = "stale"
    CONFLICT = "conflict"


def is_live(held: Held, now_ms: int) -> bool:
    """Tell whether somebody holds it now. A clock that was set back before its beginning ends a lease."""
    return held.holder != "" and held.since_ms <= now_ms < held.until_ms


def acquire(held: Held, holder: str, ttl_ms: int, now_ms: int) -> Held | None:
    """Hand the lease out, unless somebody else holds it; to its own holder again too, whose first answer may be lost.

    Tokens grow for ever. They also don't fall behind the clock, so that a store that came back without its data hands
    out none that it handed out before.
    """
    if is_live(held, now_ms) and held.holder != holder:
        return None
    return Held(max(held.token + 1, now_ms), holder, now_ms, now_ms + ttl_ms)


def renew(held: Held, token: int, ttl_ms: int, now_ms: int) -> Held | None:
    """Prolong it; None when it has lapsed, was released or is somebody else's."""
    if not is_live(held, now_ms) or held.token != token:
        return None
    return Held(token, held.holder, now_ms, now_ms + ttl_ms)


def release(held: Held, token: int) -> Held | None:
    """Give it back; None when it is somebody else's. The token stays remembered, so the next is greater."""
    return None if held.token != token or not held.holder else Held(token)


def may_write(held: Held, token: int | None) -> bool:
    """Tell whether a write with this token counts: no token (an operator), or the newest handed out.

    A greater one than the newest is refused too: a store that lost its data never gave it.
    """
    return token is None or token == held.token


def judge_write(held: Held, token: int | None, stored_revision: int, expected_revision: int) -> Verdict:
    """Judge a conditional write: of a stale writer first, who is to stop whatever it has read."""
    if not may_write(held, token):
        return Verdict.STALE
    return Verdict.DONE if stored_revision == expected_revision else Verdict.CONFLICT


def checked_ask(name: str, holder: str, ttl_s: float) -> int:
    """The time to live in milliseconds; InvalidArgument for what no store would take."""
    if not (0 < len(name) <= _TEXT_MAX and 0 < len(holder) <= _TEXT_MAX):
        raise InvalidArgument("a lease needs a name and a holder", f"1 to {_TEXT_MAX} characters each")
    return checked_ttl_ms(ttl_s)


def checked_ttl_ms(ttl_s: float) -> int:
    """The time to live in milliseconds; InvalidArgument when it is out of range."""
    if not TTL_MIN_S <= ttl_s <= TTL_MAX_S:
        raise InvalidArgument(f"a lease can't live {ttl_s} s", f"{TTL_MIN_S:g} to {TTL_MAX_S:g} s")
    return round(ttl_s * 1_000)
