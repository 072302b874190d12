"""Views of event streams: what a stream has shown so far (first content, usage, finish, error, end), at any byte split.

A view returns what to forward: whole events only, byte for byte, less the usage event nobody asked for, and with
secrets cut out of the upstream's error events. Most events are never decoded: cheap byte searches say which ones could
matter, and the decoder has the last word. (A word inside generated text can't deceive it: quotes inside a JSON string
are escaped.)

`StreamView` reads streams of chat and text completions; `gateway.core.sse_typed` has those that name their events.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

import msgspec

from gateway.core.events import (
    EVENT_MAX_BYTES,
    StreamTooLargeError,
    events_of,
    from_the_last,
    payload_of,
    split_whole,
)
from gateway.core.providers.error_shapes import redact_chat_event, stream_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.errors import ApiError

__all__ = ["EVENT_MAX_BYTES", "StreamTooLargeError", "StreamView", "Usage", "View", "WatchedStream"]

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_ERROR = re.compile(rb'"error"\s*:\s*[{"]')
_DONE = b"[DONE]"
_TAIL_BYTES = 16_384
_LAST_EVENTS = 6
_LF = 10
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


Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""An upstream may claim anything; what fits a float can be counted."""


class Usage(msgspec.Struct, frozen=True):
    """Token counts as the upstream reports them; prompt tokens include cached ones."""

    prompt_tokens: Tokens = 0
    completion_tokens: Tokens = 0


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


_DECODE = msgspec.json.Decoder(_Event).decode


class View(Protocol):
    """What every stream shows, whichever wire it came over; translations of streams are views too.

    `done`: the stream said itself that it is complete. `finish_reason`: the caller's wire's word for why generation
    ended, None while it hasn't. Both, and `usage`, are known after `end()` only.
    """

    content_begun: bool
    done: bool
    error_seen: bool
    finish_reason: str | None
    usage: Usage | None

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the upstream's stream, return the caller's. Raises `StreamTooLargeError`."""
        ...

    def end(self) -> bytes:
        """The stream is over; the bytes still owed to the caller, to be sent only if it ended unbroken."""
        ...

    def error_event(self, error: ApiError) -> bytes:
        """The event that tells this stream's caller what broke it."""
        ...


class WatchedStream:
    """A view that forwards events as they are. A subclass says how to read one event (`_look`) and clean an error."""

    __slots__ = ("_latest", "_rest", "_secrets", "content_begun", "done", "error_seen", "finish_reason", "usage")

    _error_pattern: ClassVar[re.Pattern[bytes]] = _ERROR

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self.content_begun = False
        self.done = False
        self.error_seen = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self._secrets = secrets
        self._rest = b""
        self._latest: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the stream, return those to forward now. Raises `StreamTooLargeError`."""
        if self._rest:
            data = self._rest + data
        if len(data) > 1 and data[-1] == _LF and data[-2] == _LF:
            whole, self._rest = data, b""
        else:
            whole, self._rest = split_whole(data)
            if not whole:
                return b""
        latest = self._latest
        latest.append(whole)
        if len(latest) > _LAST_EVENTS:
            del latest[0]
        if not self.content_begun:
            self._find_content(whole)
        # Both come last, if at all, so a long read is searched near its end only, from the start of an event.
        near = 0
        if len(whole) > _NEAR_END_BYTES:
            near = max(0, whole.rfind(b"\n\n", 0, -_NEAR_END_BYTES))
        # Not `in`: of bytes it first tries, and fails, to read its operand as a number.
        if whole.find(b'"error"', near) >= 0 and self._error_pattern.search(whole) is not None:
            whole = self._take_error(whole)
        if whole.find(b'"usage"', near) >= 0 and _USAGE.search(whole) is not None:
            return self._take_usage(whole)
        return whole

    def end(self) -> bytes:
        """The stream is over: judge its last events; bytes of an unfinished one, to be forwarded as they are."""
        rest, self._rest = self._rest, b""
        self._look_back()
        return self._take_rest(rest) if rest else b""

    def error_event(self, error: ApiError) -> bytes:
        """The event that tells the caller what broke the stream."""
        raise NotImplementedError

    def _look(self, payload: bytes) -> bool:
        """Note what one event says; True if it carries usage and nothing else."""
        raise NotImplementedError

    def _redact(self, event: bytes) -> bytes:
        raise NotImplementedError

    def _look_back(self) -> None:
        """Read the last events again, in their order, as what comes later counts."""
        if not self.done:
            tail = b"".join(self._latest)[-EVENT_MAX_BYTES:]
            self._look_at(reversed(list(from_the_last(tail, _LAST_EVENTS))))

    def _find_content(self, whole: bytes) -> None:
        for event in events_of(whole):
            self._look(payload_of(event))
            if self.content_begun:
                return

    def _take_usage(self, whole: bytes) -> bytes:
        self._look_at(event for event in events_of(whole) if b'"usage"' in event)
        return whole

    def _take_error(self, whole: bytes) -> bytes:
        return b"".join([self._redacted(event) if b'"error"' in event else event for event in events_of(whole)])

    def _take_rest(self, rest: bytes) -> bytes:
        return self._redacted(rest)

    def _redacted(self, event: bytes) -> bytes:
        seen, self.error_seen = self.error_seen, False
        self._look(payload_of(event))
        is_error, self.error_seen = self.error_seen, self.error_seen or seen
        return self._redact(event) if is_error else event

    def _look_at(self, events: Iterable[bytes]) -> None:
        for event in events:
            self._look(payload_of(event))


class StreamView(WatchedStream):
    """A stream of chat or text completions. `usage_wanted`: whether the caller asked for the usage event.

    `done` and `finish_reason` are known after `end()`: they stand in the last events, so those are read once, there.
    """

    __slots__ = ("usage_wanted",)

    def __init__(self, *, usage_wanted: bool, secrets: tuple[str, ...] = ()) -> None:
        super().__init__(secrets)
        self.usage_wanted = usage_wanted

    def error_event(self, error: ApiError) -> bytes:
        """`data: {"error":…}`."""
        return stream_error("chat", error)

    def _look_back(self) -> None:
        tail = b"".join(self._latest)
        if len(tail) > _TAIL_BYTES:
            tail = tail[-_TAIL_BYTES:]
        for event in from_the_last(tail, _LAST_EVENTS):
            self._look(payload_of(event))
            if self.done and self.finish_reason is not None:
                return

    def _take_usage(self, whole: bytes) -> bytes:
        """Note usage; without the event that only carries it, unless the caller asked for it."""
        if self.usage_wanted:
            return super()._take_usage(whole)
        return b"".join(
            [event for event in events_of(whole) if b'"usage"' not in event or not self._look(payload_of(event))]
        )

    def _take_rest(self, rest: bytes) -> bytes:
        if self._look(payload_of(rest)) and not self.usage_wanted:
            return b""
        return self._redacted(rest)

    def _redact(self, event: bytes) -> bytes:
        return redact_chat_event(event, self._secrets)

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
