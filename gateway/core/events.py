"""Framing of event streams: where events begin and end, and what their `data` says. Knows nothing of their meaning."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT_MAX_BYTES = 4 * 1024 * 1024

_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")


class StreamTooLargeError(ValueError):
    """One event is larger than `EVENT_MAX_BYTES`."""


def split_whole(data: bytes) -> tuple[bytes, bytes]:
    """(all whole events, the begun one). Raises `StreamTooLargeError` if the begun one is too large."""
    end = data.rfind(b"\n\n")
    end = end + 2 if end >= 0 else 0
    if b"\r" in data:
        for boundary in (b"\r\n\r\n", b"\r\r"):
            found = data.rfind(boundary)
            end = max(end, found + len(boundary) if found >= 0 else 0)
    if len(data) - end > EVENT_MAX_BYTES:
        raise StreamTooLargeError
    return data[:end], data[end:]


def events_of(whole: bytes) -> Iterator[bytes]:
    """The events of `whole`, each with its boundary."""
    if b"\r" not in whole:
        start, end = 0, whole.find(b"\n\n") + 2
        while end > 1:
            yield whole[start:end]
            start, end = end, whole.find(b"\n\n", end) + 2
        return
    start = 0
    for match in _BOUNDARY.finditer(whole):
        yield whole[start : match.end()]
        start = match.end()


def from_the_last(tail: bytes, count: int) -> Iterator[bytes]:
    """The last `count` of some whole events, the last one first."""
    if b"\r" in tail:
        yield from reversed(list(events_of(tail))[-count:])
        return
    end = len(tail)
    for _ in range(count):
        start = tail.rfind(b"\n\n", 0, max(0, end - 2)) + 2
        if start < 2:  # noqa: PLR2004  there is no earlier boundary
            start = 0
        yield tail[start:end]
        if start == 0:
            return
        end = start


def payload_of(event: bytes) -> bytes:
    """The `data` of one event, its lines joined by LF; comments and other fields left out."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:  # one line, LF
        return event[6:-2].strip()
    lines = [_value(line) for line in _LINE.split(event) if line.startswith(b"data:")]
    return b"\n".join(lines).strip()


def _value(line: bytes) -> bytes:
    value = line[5:]
    return value[1:] if value.startswith(b" ") else value
