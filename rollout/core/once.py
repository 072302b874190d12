"""Idempotency keys: a command that is sent twice is done once, and answered the second time as the first."""

from __future__ import annotations

from typing import NamedTuple

from rollout.core.errors import InvalidArgument

KEEP_S = 86_400.0
"""A command is remembered this long."""
KEEP_MAX = 10_000
"""So many are remembered at most; the oldest go first."""
OUTCOME_BYTES_MAX = 65_536
_KEY_MAX = 200


class Once(NamedTuple):
    """A command's idempotency key, and what to answer when it comes again.

    The outcome is the caller's; it does well to hold a digest of the command, to refuse a key used for another one.
    """

    key: str
    outcome: bytes


def checked(once: Once) -> Once:
    """Return it; InvalidArgument for a key or an outcome that no store would take."""
    if not (0 < len(once.key) <= _KEY_MAX and once.key.isascii() and once.key.isprintable()):
        raise InvalidArgument("this is no idempotency key", f"1 to {_KEY_MAX} characters of printable ASCII")
    if len(once.outcome) > OUTCOME_BYTES_MAX:
        raise InvalidArgument("the outcome of the command is too large to be remembered", f"{OUTCOME_BYTES_MAX} bytes")
    return once
