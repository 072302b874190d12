"""How an exchange ended, and the one Record it leaves behind."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import msgspec

from gateway.core.trace import Trace

UNDER_WAY = ""
"""Stands for the outcome in a Record of an exchange that has not settled."""


class Phase(StrEnum):
    """How far an attempt got when it broke."""

    CONNECT = "connect"
    FIRST_BYTE = "first_byte"
    BODY = "body"


class Failure(NamedTuple):
    """Why an attempt broke: where, a word from a closed set, and a text for the log (never for callers)."""

    phase: Phase
    kind: str
    text: str


class Outcome(StrEnum):
    """The closed set of ends; each exchange has exactly one."""

    OK = "ok"
    CALLER_ERROR = "caller_error"
    RATE_LIMITED = "rate_limited"
    UPSTREAM_ERROR = "upstream_error"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TRUNCATED = "truncated"
    CANCELLED = "cancelled"
    REFUSED = "refused"


class Record(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What one settled exchange leaves; all that metrics, evidence, usage and the access log are made from.

    Times: `at_s` Unix, the others seconds since arrival, None when it never came to that. Token counts are None when
    the upstream reported none. `failed_*`: what the first attempt came to, if another one followed. `bucket` is -1 if
    none was drawn; `hash_version` of the flag, 0 without one. `unit_digest`: what evidence knows the unit by, 0 where
    none is gathered. New fields come last: Records travel as arrays. Beyond 30 arguments CPython passes them through a
    list and a tuple, for 3,000 instructions a request.
    """

    request_id: str
    at_s: float
    operation: str
    feature: str
    assigned: str
    served: str
    reason: str
    unit_kind: str
    bucket: int
    revision: int
    tenant: str
    upstream: str
    stream: bool
    status: int
    outcome: str
    cause: str
    attempts: int
    client_retries: int
    sent_s: float | None
    ttft_s: float | None
    duration_s: float
    prompt_tokens: int | None
    completion_tokens: int | None
    key_id: str = ""
    endpoint: str = ""
    failed_outcome: str = ""
    failed_cause: str = ""
    trace: Trace | None = None
    hash_version: int = 0
    unit_digest: int = 0


class StreamEnd(NamedTuple):
    """How a stream looked when its bytes stopped."""

    done: bool
    finished: bool
    error_seen: bool
    broken: bool


def classify_stream(end: StreamEnd) -> Outcome:
    """Judge a stream at its end: success only if it said so itself.

    `[DONE]` says all was sent, whatever happened to the connection then; a finish reason is enough if nothing broke.
    """
    if end.error_seen:
        return Outcome.UPSTREAM_ERROR
    if end.done or (end.finished and not end.broken):
        return Outcome.OK
    return Outcome.TRUNCATED


_STATUS_TABLE = {
    408: Outcome.TIMEOUT,
    429: Outcome.RATE_LIMITED,
    504: Outcome.TIMEOUT,
}
_STATUSES_NAMED = frozenset({400, 401, 402, 403, 404, 405, 407, 408, 409, 413, 415, 422, 424, 429, 431, 451})
_STATUSES_NAMED |= {500, 501, 502, 503, 504, 507, 520, 529}
REDIRECTS_FROM = 300
CALLER_ERRORS_FROM = 400
SERVER_ERRORS_FROM = 500
TOO_MANY_REQUESTS = 429
# The upstream refuses *our* key, or has no such model or route: nothing the caller can mend.
OPERATORS_FAULTS = frozenset({401, 403, 404, 405, 407})


def classify_status(status: int) -> Outcome:
    """Judge an upstream's answer by its status alone."""
    if status < REDIRECTS_FROM:
        return Outcome.OK
    if status < CALLER_ERRORS_FROM:
        return Outcome.UPSTREAM_ERROR
    known = _STATUS_TABLE.get(status)
    if known is not None:
        return known
    if status >= SERVER_ERRORS_FROM or status in OPERATORS_FAULTS:
        return Outcome.UPSTREAM_ERROR
    return Outcome.CALLER_ERROR


def cause_of_status(status: int) -> str:
    """A word for metrics: a server may make up hundreds of statuses, and each would be a series."""
    return f"status_{status}" if status in _STATUSES_NAMED else f"status_{status // 100}xx"


def outcome_of(failure: Failure) -> Outcome:
    """Judge an attempt that broke before it was an answer."""
    if failure.kind.endswith("timeout"):
        return Outcome.TIMEOUT
    return Outcome.UNREACHABLE if failure.phase is Phase.CONNECT else Outcome.UPSTREAM_ERROR
