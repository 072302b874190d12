"""Idempotency keys: a command that is sent twice is done once, and answered the second time as the first."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from rollout.core.errors import IdempotencyKeyUsed, InvalidArgument

KEEP_S = 86_400.0
"""A command is remembered this long."""
KEEP_MAX = 10_000
"""So many are remembered at most; the oldest go first."""
OUTCOME_BYTES_MAX = 65_536
KEY_MAX = 200


class Once(NamedTuple):
    """A command's idempotency key, and what to answer when it comes again.

    The outcome is the caller's; it does well to hold a digest of the command, to refuse a key used for another one.
    """

    key: str
    outcome: bytes


class CommandKey(NamedTuple):
    """An idempotency key, and the digest of the command that it was sent with."""

    key: str
    digest: str


class Remembered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outcome of a command on a flag: what is in force since is told by the flag's audit log at that revision."""

    digest: str
    actor: str
    feature: str
    revision: int


def checked(once: Once) -> Once:
    """Return it; InvalidArgument for a key or an outcome that no store would take."""
    if not (0 < len(once.key) <= KEY_MAX and once.key.isascii() and once.key.isprintable()):
        raise InvalidArgument("this is no idempotency key", f"1 to {KEY_MAX} characters of printable ASCII")
    if len(once.outcome) > OUTCOME_BYTES_MAX:
        raise InvalidArgument("the outcome of the command is too large to be remembered", f"{OUTCOME_BYTES_MAX} bytes")
    return once


def digest_of(*parts: bytes) -> str:
    """Tell commands apart by what they consist of: method, path, body."""
    lengths = b",".join(b"%d" % len(part) for part in parts)
    return hashlib.blake2b(b"".join((lengths, b":", *parts)), digest_size=16).hexdigest()


def remembering(key: CommandKey, *, actor: str, feature: str, revision: int) -> Once:
    """Make what a store is to remember with the write of that revision."""
    return Once(key.key, msgspec.json.encode(Remembered(key.digest, actor, feature, revision)))


def remembered(key: CommandKey, actor: str, outcome: bytes) -> Remembered:
    """Read what a store remembers; IdempotencyKeyUsed if that was another command, or somebody else's."""
    try:
        found = msgspec.json.decode(outcome, type=Remembered)
    except (msgspec.DecodeError, UnicodeError):
        raise IdempotencyKeyUsed(key.key) from None
    if (found.digest, found.actor) != (key.digest, actor):
        raise IdempotencyKeyUsed(key.key)
    return found
