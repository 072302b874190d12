"""What the gateway reads from a plain (non-stream) answer, whichever of the four operations it answers."""

from __future__ import annotations

import msgspec

from gateway.core.sse import Tokens, Usage


class _Counts(msgspec.Struct):
    """Names of all four shapes. Responses count cached tokens among `input_tokens`, messages beside them."""

    prompt_tokens: Tokens | None = None
    completion_tokens: Tokens | None = None
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None


class _Answer(msgspec.Struct):
    usage: _Counts | None = None


_DECODE = msgspec.json.Decoder(_Answer).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def read_usage(body: bytes) -> Usage | None:
    """The token counts of an answer, None where there are none or the body is not such JSON."""
    try:
        counts = _DECODE(body).usage
    except _UNREADABLE:
        return None
    if counts is None:
        return None
    if counts.prompt_tokens is not None or counts.completion_tokens is not None:
        return Usage(counts.prompt_tokens or 0, counts.completion_tokens or 0)
    cached = (counts.cache_creation_input_tokens or 0) + (counts.cache_read_input_tokens or 0)
    return Usage((counts.input_tokens or 0) + cached, counts.output_tokens or 0)
