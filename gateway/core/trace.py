"""W3C trace context: which trace a request belongs to, and what its upstream is told.

https://www.w3.org/TR/trace-context/ (version 00; of later versions the known fields are read).
"""

from __future__ import annotations

import re

import msgspec

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[ -~]*)?")
_NO_TRACE = b"0" * 32
_NO_SPAN = b"0" * 16
_VERSION, _INVALID_VERSION = b"00", b"ff"
_SAMPLED = 1
IDS_BYTES = 24
_TRACE_BYTES = 16


class Trace(msgspec.Struct, frozen=True, gc=False):
    """A sampled request: ids in lower-case hex; `parent_id` is empty at the root."""

    trace_id: str
    span_id: str
    parent_id: str = ""


def trace_of(traceparent: bytes | None, ids: bytes, *, sampled: bool) -> Trace | None:
    """The request's place in its trace, None if it is not to be traced.

    `ids`: `IDS_BYTES` random bytes; `sampled`: the draw for a request that comes without a trace. A caller's own
    decision is heeded either way.
    """
    parent = _parse(traceparent)
    if parent is None:
        return Trace(ids[:_TRACE_BYTES].hex(), ids[_TRACE_BYTES:].hex()) if sampled else None
    trace_id, parent_id, parent_sampled = parent
    return Trace(trace_id, ids[_TRACE_BYTES:].hex(), parent_id) if parent_sampled else None


def traceparent_of(trace: Trace) -> bytes:
    """What the upstream gets as `traceparent`: this request's span is the parent of the upstream's."""
    return f"00-{trace.trace_id}-{trace.span_id}-01".encode("ascii")


def _parse(traceparent: bytes | None) -> tuple[str, str, bool] | None:
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    if match is None:
        return None
    version, trace_id, parent_id, flags, more = match.groups()
    if trace_id == _NO_TRACE or parent_id == _NO_SPAN or version == _INVALID_VERSION or (version == _VERSION and more):
        return None
    return trace_id.decode("ascii"), parent_id.decode("ascii"), bool(int(flags, 16) & _SAMPLED)
