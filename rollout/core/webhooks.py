"""Webhooks as Standard Webhooks 1.0.0 has them: what is sent, how it is signed, when it is tried again.

An event's id is made of the change itself, so whoever tells of the same change tells it under the same id, and a
receiver that keeps ids takes each change once. Order is not promised; the revision tells which state is newer.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from rollout.core.enrolment import EnrolmentStep
from rollout.core.errors import InvalidArgument
from rollout.core.ramp_table import Event as Move

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollout.core.audit import AuditEntry

SECRET_PREFIX = "whsec_"  # noqa: S105  what begins one
SECRET_MIN_BYTES, SECRET_MAX_BYTES = 24, 64
SECRETS_MAX = 4
_KIND = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*", re.ASCII)
_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_GONE = 410
_SECRET_HINT = f'one per line, "{SECRET_PREFIX}" and base64 of {SECRET_MIN_BYTES} to {SECRET_MAX_BYTES} random bytes'


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell. `kind` is dotted, as in "rollout.set_share"; `at_s` is Unix time; `data` is JSON."""

    event_id: str
    kind: str
    at_s: float
    data: dict[str, Any]

    def __post_init__(self) -> None:
        """Refuse what can't be signed without doubt: a full stop parts the id from the time. ValueError."""
        if not _EVENT_ID.fullmatch(self.event_id):
            raise ValueError("an event's id is of letters, digits, _ and -")
        if not _KIND.fullmatch(self.kind):
            raise ValueError("an event's kind is of small letters, digits and _, parted by full stops")


class Attempted(StrEnum):
    """What became of one attempt, or of an event. A closed set: it is a metric label."""

    DELIVERED = "delivered"
    FAILED = "failed"
    GIVEN_UP = "given_up"
    """After the last attempt."""
    GONE = "gone"
    """The receiver wants no more of anything (410)."""
    DROPPED = "dropped"
    """Too many were waiting."""


class RetryRules(NamedTuple):
    """Waits after the first, second, ... failed attempt; each is drawn from a band of +-`jitter` around it."""

    waits_s: tuple[float, ...] = (1, 5, 30, 120, 600, 1_800, 3_600)
    jitter: float = 0.2
    retry_after_max_s: float = 3_600


def kind_of(command: str) -> str:
    """Give the kind under which a command of the audit log is told: "set-share" -> "rollout.set_share"."""
    return "rollout." + re.sub(r"[^a-z0-9_]", "_", command.lower())


KINDS = frozenset(
    kind_of(command)
    for command in (*Move, *(f"enrol-{step}" for step in EnrolmentStep), "apply", "rename", "accept-loss")
)
"""All there are; whoever asks for another one would never hear of it."""


def event_of(entry: AuditEntry) -> Event:
    """Make the event of a change that has been committed. Of its details only the names are told."""
    data = {
        "feature": entry.feature,
        "command": entry.command,
        "actor": entry.actor,
        "reason": entry.reason,
        "revision": entry.revision_after,
        "revision_before": entry.revision_before,
        "share_millipct": entry.share_after_millipct,
        "share_before_millipct": entry.share_before_millipct,
        "changed": sorted(entry.details),
    }
    return make_event(
        kind_of(entry.command), entry.at_s, data, identity=(entry.feature, entry.revision_after, entry.command)
    )


def make_event(kind: str, at_s: float, data: dict[str, Any], identity: Sequence[str | int]) -> Event:
    """Make an event whose id follows from its kind, its time and `identity`."""
    parts = json.dumps([kind, at_s, *identity]).encode()
    return Event(event_id=f"evt_{hashlib.blake2b(parts, digest_size=16).hexdigest()}", kind=kind, at_s=at_s, data=data)


def body_of(event: Event) -> bytes:
    """Encode the payload: the same bytes for the same event; ValueError or TypeError for data that isn't JSON."""
    at = datetime.fromtimestamp(event.at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    tree = {"type": event.kind, "timestamp": at, "data": event.data}
    return json.dumps(tree, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()


def read_secrets(text: str) -> tuple[bytes, ...]:
    """Read the secrets of a file: the present one first, then those being retired. InvalidArgument shows none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not 0 < len(lines) <= SECRETS_MAX:
        raise InvalidArgument(f"there must be 1 to {SECRETS_MAX} webhook secrets, not {len(lines)}", _SECRET_HINT)
    return tuple(_secret(number, line) for number, line in enumerate(lines, start=1))


def headers_of(event: Event, body: bytes, secrets: Sequence[bytes], now_s: float) -> dict[str, str]:
    """Sign one attempt at Unix time `now_s`, with every secret, so that receivers can change theirs one by one."""
    at = str(int(now_s))
    signed = b".".join((event.event_id.encode(), at.encode(), body))
    marks = (base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode() for secret in secrets)
    return {
        "content-type": "application/json",
        "webhook-id": event.event_id,
        "webhook-timestamp": at,
        "webhook-signature": " ".join(f"v1,{mark}" for mark in marks),
    }


def outcome_of(status: int) -> Attempted:
    """Judge an answer: only 2xx is a delivery, a redirect is none, and 410 is the wish to be left alone."""
    if 200 <= status <= 299:  # noqa: PLR2004  HTTP's numbers
        return Attempted.DELIVERED
    return Attempted.GONE if status == _GONE else Attempted.FAILED


def wait_s(rules: RetryRules, failures: int, retry_after: str | None, drawn: float) -> float | None:
    """Seconds until the next attempt after so many `failures`, or None: no more.

    `drawn`: a random number of [0, 1). `retry_after`: the answer's header; only seconds are understood.
    """
    if not 1 <= failures <= len(rules.waits_s):
        return None
    wait = rules.waits_s[failures - 1] * (1 + rules.jitter * (2 * drawn - 1))
    asked = int(retry_after) if retry_after and re.fullmatch(r"[0-9]{1,9}", retry_after, re.ASCII) else 0
    return max(wait, min(asked, rules.retry_after_max_s))


def _secret(number: int, line: str) -> bytes:
    try:
        secret = base64.b64decode(line.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not line.startswith(SECRET_PREFIX) or not SECRET_MIN_BYTES <= len(secret) <= SECRET_MAX_BYTES:
        raise InvalidArgument(f"the webhook secret in line {number} is not usable", _SECRET_HINT)
    return secret
