"""Faults the simulator can be told to show.

A fault names how the partner misbehaves on the wire. There are three ways to ask for one: a rate in the configuration
or over the control path, the header `x-simulator-fault` of one request, or `[[fault:...]]` in its prompt.
"""

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from loadtests.simulator.wire import Api

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=3600)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]

# What a careless partner tells in an error; none of it may reach a caller, a log or a metric.
LEAK: Final = "upstream https://10.1.2.3:8443/internal refused key sk-simulated-secret-0123456789"


class FaultKind(StrEnum):
    """How the partner misbehaves."""

    # The connection: RST is a reset, FIN a close or cut; what is stale breaks when it is used again.
    RESET = "reset"
    RESET_IN_HEAD = "reset_in_head"
    RESET_IN_BODY = "reset_in_body"
    CLOSE = "close"
    CUT_IN_HEAD = "cut_in_head"
    CUT_STREAM = "cut_stream"
    CLOSE_AFTER = "close_after"
    STALE = "stale"
    BLACK_HOLE = "black_hole"
    STALL = "stall"
    # Time and segmentation.
    SLOW_HEADERS = "slow_headers"
    DRIP_HEADERS = "drip_headers"
    SLOW_BODY = "slow_body"
    DRIP = "drip"
    SPLIT = "split"
    # HTTP framing, wrong and unusual.
    GARBAGE = "garbage"
    BAD_CHUNK = "bad_chunk"
    ODD_CHUNKS = "odd_chunks"
    WRONG_LENGTH = "wrong_length"
    CONFLICTING_LENGTH = "conflicting_length"
    LENGTH_AND_CHUNKED = "length_and_chunked"
    EOF_BODY = "eof_body"
    DUPLICATE_HEADERS = "duplicate_headers"
    HUGE_HEAD = "huge_head"
    INTERIM = "interim"
    UNSOLICITED = "unsolicited"
    GZIP = "gzip"
    # The event stream.
    CLEAN_CUT = "clean_cut"
    MISSING_FINISH = "missing_finish"
    MISSING_DONE = "missing_done"
    UNTERMINATED = "unterminated"
    ERROR_EVENT = "error_event"
    BAD_EVENT = "bad_event"
    CRLF = "crlf"
    COMMENTS = "comments"
    EXTRA_FIELDS = "extra_fields"
    MULTI_LINE = "multi_line"
    # The answer's content and status.
    STATUS = "status"
    REDIRECT = "redirect"
    CONTENT_FILTER = "content_filter"
    CONTENT_REFUSED = "content_refused"
    CONTEXT_OVERFLOW = "context_overflow"
    HUGE_ANSWER = "huge_answer"
    HUGE_EVENT = "huge_event"


# These have no counterpart in a single body.
STREAM_ONLY: Final = frozenset(
    {
        FaultKind.CLEAN_CUT,
        FaultKind.MISSING_FINISH,
        FaultKind.MISSING_DONE,
        FaultKind.UNTERMINATED,
        FaultKind.ERROR_EVENT,
        FaultKind.BAD_EVENT,
        FaultKind.CRLF,
        FaultKind.COMMENTS,
        FaultKind.EXTRA_FIELDS,
        FaultKind.MULTI_LINE,
    }
)


class ErrorBody(StrEnum):
    """What an error answer looks like: the vendor's shape, or what proxies and frameworks in between make of it."""

    VENDOR = "vendor"
    NESTED = "nested"
    DETAIL = "detail"
    STRING = "string"
    HTML = "html"
    EMPTY = "empty"


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One fault: what happens (`kind`), how often (`rate`, at most `limit` times), to what, and its figures.

    `model` and `api` (a path) restrict it to some requests; of those it spares `good` and strikes `bad`, in turn, when
    `bad` is set (flapping). `events` is how many stream events precede a cut, stall, bad chunk or error (for a single
    body: half of it); `delay_s` slows headers or each piece of a body, `gap_s` parts bytes that are sent one by one;
    `status`, `body`, `message`, `code`, `leak` (a secret in the message), `retry_after_s` and `retry_after_date` shape
    an error answer (200 is an error as a success); `length_delta` is added to the true content-length; `size_bytes` is
    how long a huge answer's text is; `split_at` is where in the body (as on the wire) a split falls.
    """

    kind: FaultKind
    rate: Share = 1.0
    seed: int = 0
    limit: Count | None = None
    model: str | None = None
    api: Api | None = None
    good: Count = 0
    bad: Count = 0
    events: Count = 3
    delay_s: Seconds = 1.0
    gap_s: Seconds = 0.002
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] = 503
    body: ErrorBody = ErrorBody.VENDOR
    message: str | None = None
    code: str | None = None
    leak: bool = False
    retry_after_s: Seconds | None = None
    retry_after_date: bool = False
    location: str = "http://192.0.2.1/elsewhere"
    length_delta: Annotated[int, msgspec.Meta(ge=-1_000_000, le=1_000_000)] = 16
    size_bytes: Annotated[int, msgspec.Meta(ge=1, le=256 << 20)] = 8 << 20
    split_at: Count = 0


class FaultList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The faults in force, as read from and written to the control endpoint."""

    faults: tuple[Fault, ...] = ()
