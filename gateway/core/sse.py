"""Incremental reader of an event stream: sees first content, usage, finish, error and `[DONE]` at any byte split.

It returns what to forward: whole events only, byte for byte, less the usage event nobody asked for. Most events are
never decoded: cheap byte searches say which ones could matter, and the decoder has the last word. (A word inside
generated text can't deceive it: quotes inside a JSON string are escaped.)
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Annotated

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

EVENT_MAX_BYTES = 4 * 1024 * 1024

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_ERROR = re.compile(rb'"error"\s*:\s*[{"]')
_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")
_DONE = b"[DONE]"
_TAIL_BYTES = 16_384
_LAST_EVENTS = 6
_NEAR_END_BYTES = 2_048
_NO_ERROR = (b"", b"null")


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


_Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""An upstream may claim anything; what fits a float can be counted."""


class Usage(msgspec.Struct, frozen=True):
    """Token counts as the upstream reports them."""

    prompt_tokens: _Tokens = 0
    completion_tokens: _Tokens = 0


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


_DECODE = msgspec.json.Decoder(_Event).decode


class StreamTooLargeError(ValueError):
    """One event is larger than `EVENT_MAX_BYTES`."""


class StreamView:
    """What one stream has shown so far. `usage_wanted`: whether the caller asked for the usage event.

    `done` and `finish_reason` are known after `end()`: they stand in the last events, so those are read once, there.
    """

    __slots__ = (
        "_latest",
        "_rest",
        "content_begun",
        "done",
        "error_seen",
        "finish_reason",
        "usage",
        "usage_wanted",
    )

    def __init__(self, *, usage_wanted: bool) -> None:
        self.usage_wanted = usage_wanted
        self.content_begun = False
        self.done = False
        self.error_seen = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._rest = b""
        self._latest: deque[bytes] = deque(maxlen=_LAST_EVENTS)

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the stream, return those to forward now. Raises `StreamTooLargeError`."""
        if self._rest:
            data = self._rest + data
        if data.endswith(b"\n\n"):
            whole, self._rest = data, b""
        else:
            whole, self._rest = _split_whole(data)
            if len(self._rest) > EVENT_MAX_BYTES:
                raise StreamTooLargeError
        if not whole:
            return b""
        self._latest.append(whole)
        if not self.content_begun:
            self._find_content(whole)
        # Both come last, if at all, so a long read is searched near its end only.
        if whole.find(b'"error"', -_NEAR_END_BYTES) >= 0 and _ERROR.search(whole) is not None:
            self._look_at(_events(whole))
        if whole.find(b'"usage"', -_NEAR_END_BYTES) >= 0 and _USAGE.search(whole) is not None:
            return self._take_usage(whole)
        return whole

    def end(self) -> bytes:
        """The stream is over: judge its last events; bytes of an unfinished one, to be forwarded as they are."""
        rest, self._rest = self._rest, b""
        for event in _from_the_last(b"".join(self._latest)[-_TAIL_BYTES:]):
            self._look(_payload(event))
            if self.done and self.finish_reason is not None:
                break
        if rest and self._look(_payload(rest)) and not self.usage_wanted:
            return b""
        return rest

    def _find_content(self, whole: bytes) -> None:
        for event in _events(whole):
            self._look(_payload(event))
            if self.content_begun:
                return

    def _take_usage(self, whole: bytes) -> bytes:
        """Note usage; without the event that only carries it, unless the caller asked for it."""
        if self.usage_wanted:
            self._look_at(event for event in _events(whole) if b'"usage"' in event)
            return whole
        return b"".join(
            [event for event in _events(whole) if b'"usage"' not in event or not self._look(_payload(event))]
        )

    def _look_at(self, events: Iterable[bytes]) -> None:
        for event in events:
            self._look(_payload(event))

    def _look(self, payload: bytes) -> bool:
        """Note what one event says; True if it carries usage and no choices."""
        if not payload:
            return False
        if payload == _DONE:
            self.done = True
            return False
        try:
            event = _DECODE(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        if bytes(event.error) not in _NO_ERROR:
            self.error_seen = True
        for choice in event.choices:
            self.finish_reason = self.finish_reason or choice.finish_reason
            self.content_begun = self.content_begun or _has_content(choice)
        if event.usage is None:
            return False
        self.usage = event.usage
        return not event.choices


def _has_content(choice: _Choice) -> bool:
    delta = choice.delta
    if delta is None:
        return bool(choice.text)
    return bool(delta.content or delta.reasoning or delta.reasoning_content or delta.refusal or delta.tool_calls)


def _split_whole(data: bytes) -> tuple[bytes, bytes]:
    """(all whole events, the begun one)."""
    end = data.rfind(b"\n\n")
    end = end + 2 if end >= 0 else 0
    if b"\r" in data:
        for boundary in (b"\r\n\r\n", b"\r\r"):
            found = data.rfind(boundary)
            end = max(end, found + len(boundary) if found >= 0 else 0)
    return data[:end], data[end:]


def _events(whole: bytes) -> Iterator[bytes]:
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


def _from_the_last(tail: bytes) -> Iterator[bytes]:
    """The last `_LAST_EVENTS` of some whole events, the last one first."""
    if b"\r" in tail:
        yield from reversed(list(_events(tail))[-_LAST_EVENTS:])
        return
    end = len(tail)
    for _ in range(_LAST_EVENTS):
        start = tail.rfind(b"\n\n", 0, max(0, end - 2)) + 2
        if start < 2:  # noqa: PLR2004  there is no earlier boundary
            start = 0
        yield tail[start:end]
        if start == 0:
            return
        end = start


def _payload(event: bytes) -> bytes:
    """The `data` of one event, its lines joined by LF; comments and other fields left out."""
    if event.startswith(b"data: ") and event.find(b"\n") == len(event) - 2:  # one line, LF
        return event[6:-2].strip()
    lines = [_value(line) for line in _LINE.split(event) if line.startswith(b"data:")]
    return b"\n".join(lines).strip()


def _value(line: bytes) -> bytes:
    value = line[5:]
    return value[1:] if value.startswith(b" ") else value
