"""What became of one call, as its caller saw it (pure)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from loadtests.soak.plan import PlannedCall

_OK = 200
_ENDS = {"chat": b"data: [DONE]\n\n", "responses": b"event: response.completed\n", "messages": b"event: message_stop\n"}
_ERRORS = (b'data: {"error":', b"event: error\n", b"event: response.failed\n")
_KEYS = {"message", "type", "param", "code"}


class Fate(IntEnum):
    """How a call ended. The last two are the gateway's fault whatever the upstream did."""

    PENDING = 0
    WHOLE = 1
    REFUSED = 2
    """An error answer of the agreed shape."""
    TOLD = 3
    """A stream that ended with an error event."""
    LEFT = 4
    """By plan, all of it sent."""
    HALF_SENT = 5
    """By plan, before all of it was sent."""
    NO_CONNECTION = 6
    """Nothing was sent."""
    BROKEN = 7
    """Cut without a word, or of the wrong shape."""
    WRONG = 8
    """Not this call's answer, or its text twice."""


def fate_of(call: PlannedCall, status: int, body: bytes) -> tuple[Fate, str]:
    """Judge a message that came to its end; with a word on what is wrong, from few."""
    if status != _OK:
        return _refused(status, body)
    if not call.stream:
        return (Fate.WHOLE, "") if body.count(call.marker) == 1 else (Fate.WRONG, "plain answer without its text")
    if any(error in body for error in _ERRORS):
        ended = _ENDS[call.operation] in body
        return (Fate.BROKEN, "error and end in one stream") if ended else (Fate.TOLD, "error event")
    if _ENDS[call.operation] not in body:
        return Fate.BROKEN, "stream without its end"
    return (Fate.WHOLE, "") if _said_once(call, body) else (Fate.WRONG, "stream without its text, or with it twice")


def _refused(status: int, body: bytes) -> tuple[Fate, str]:
    try:
        error = msgspec.json.decode(body)["error"]
        whole = set(error) >= _KEYS
    except (msgspec.DecodeError, KeyError, TypeError):
        whole = False
    return (Fate.REFUSED, f"{status} {error['code']}") if whole else (Fate.BROKEN, f"{status} of another shape")


def _said_once(call: PlannedCall, body: bytes) -> bool:
    """A stream of responses repeats the whole text in the events that close it."""
    if call.operation != "responses":
        return body.count(call.marker) == 1
    deltas = (line for line in body.split(b"\n") if b'"response.output_text.delta"' in line)
    return sum(line.count(call.marker) for line in deltas) == 1
