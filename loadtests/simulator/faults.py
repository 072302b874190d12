"""Faults the simulator can be told to show, and which request meets which one.

A fault names how the partner misbehaves on the wire; `rate` is the share of matching requests that meet it, decided by
hash so that a run replays. The first fault of the list that fires wins: one request meets at most one.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from loadtests.simulator.draws import key_of, uniform
from loadtests.simulator.wire import Ask

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class FaultKind(StrEnum):
    """How the partner misbehaves."""

    RESET = "reset"
    CLOSE = "close"
    BLACK_HOLE = "black_hole"
    SLOW_HEADERS = "slow_headers"
    SLOW_BODY = "slow_body"
    CUT_STREAM = "cut_stream"
    CLEAN_CUT = "clean_cut"
    STALL = "stall"
    BAD_CHUNK = "bad_chunk"
    MISSING_DONE = "missing_done"
    ERROR_EVENT = "error_event"
    STATUS = "status"
    CONTENT_FILTER = "content_filter"
    CONTEXT_OVERFLOW = "context_overflow"
    WRONG_LENGTH = "wrong_length"
    HUGE_ANSWER = "huge_answer"
    GZIP = "gzip"


# A cut between events, a missing [DONE] and an in-band error have no counterpart in a single body.
STREAM_ONLY: Final = frozenset({FaultKind.CLEAN_CUT, FaultKind.MISSING_DONE, FaultKind.ERROR_EVENT})


class Status(msgspec.Struct, frozen=True):
    """What OpenAI says with one error status."""

    message: str
    type: str
    code: str | None


STATUSES: Final = {
    408: Status("Request timed out.", "timeout", None),
    409: Status("The request conflicts with another one.", "conflict", None),
    429: Status("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    500: Status("The server had an error while processing your request.", "server_error", None),
    502: Status("Bad gateway.", "server_error", None),
    503: Status("The engine is currently overloaded, please try again later.", "service_unavailable_error", None),
    504: Status("Gateway timed out.", "server_error", None),
    529: Status("The service is overloaded.", "overloaded_error", None),
}


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault: what happens (`kind`), how often (`rate`, at most `limit` times), to which model, and its figures.

    `events` is how many stream events precede a cut, stall, bad chunk or error (for a single body: half of it);
    `delay_s` slows headers or each piece of a body; `status` and `retry_after_s` shape an error answer;
    `length_delta` is added to the true content-length; `size_bytes` is how long a huge answer's text is.
    """

    kind: FaultKind
    rate: Share = 1.0
    seed: int = 0
    limit: Count | None = None
    model: str | None = None
    events: Count = 3
    delay_s: Seconds = 1.0
    status: int = 503
    retry_after_s: Seconds | None = None
    length_delta: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)] = 16
    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=256 << 20)] = 8 << 20

    def __post_init__(self) -> None:
        """Refuse an error status the simulator has no words for."""
        if self.status not in STATUSES:
            raise ValueError(f"`status` must be one of {', '.join(map(str, STATUSES))}, not {self.status}")


class FaultList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The faults in force, as read from and written to the control endpoint."""

    faults: tuple[Fault, ...] = ()


def choose(
    faults: Sequence[Fault], ask: Ask, repetition: int, fired: Callable[[Fault], int] = lambda _: 0
) -> Fault | None:
    """Return the first fault that this request meets; `fired` says how often one has been met so far."""
    return next((fault for fault in faults if _fires(fault, ask, repetition, fired(fault))), None)


def _fires(fault: Fault, ask: Ask, repetition: int, fired: int) -> bool:
    if fault.model not in (None, ask.model) or (fault.kind in STREAM_ONLY and not ask.stream):
        return False
    if fault.limit is not None and fired >= fault.limit:
        return False
    return uniform(key_of(fault.seed, f"{fault.kind}\0{ask.question}", repetition), 0) < fault.rate
