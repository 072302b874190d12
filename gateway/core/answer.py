"""Token counts of a plain (non-stream) answer."""

from __future__ import annotations

import msgspec

from gateway.core.sse import Usage


class _Answer(msgspec.Struct):
    usage: Usage | None = None


_DECODE = msgspec.json.Decoder(_Answer).decode


def read_usage(body: bytes) -> Usage | None:
    """The usage object of an answer, None where there is none or the body is not such JSON."""
    try:
        return _DECODE(body).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
