"""What a client sees of an answer: server-sent events from any split of bytes, their meaning, and their times.

Definitions: TTFT is from the request being sent to the first non-empty content delta; ITL are the gaps between content
deltas; TPOT is (last - first) / (output tokens - 1). A stream counts as whole only with a finish reason and its end
marker, because a clean end of file looks like success to client libraries.
"""

import re
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):
    """One server-sent event: its name (`message` unless named) and its data lines joined by LF."""

    name: str
    data: str


class SseReader:
    """Incremental reader of server-sent events; any split of the bytes gives the same events."""

    def __init__(self) -> None:
        self._rest = b""
        self._after_cr = False
        self._first = True
        self._name = ""
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[SseEvent]:
        """Read some bytes and return the events they complete."""
        if not data:
            return []
        if self._after_cr:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        buffer = self._rest + data
        events: list[SseEvent] = []
        start = 0
        for end in _LINE_END.finditer(buffer):
            event = self._line(buffer[start : end.start()])
            start = end.end()
            if event is not None:
                events.append(event)
        self._rest = buffer[start:]
        # A CR ends its line at once; the LF that may follow in the next bytes belongs to it.
        self._after_cr = start > 0 and start == len(buffer) and buffer.endswith(b"\r")
        return events

    def _line(self, line: bytes) -> SseEvent | None:
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode(errors="replace")
        if field == b"data":
            self._data.append(text)
        elif field == b"event":
            self._name = text
        return None

    def _dispatch(self) -> SseEvent | None:
        name, data = self._name or "message", self._data
        self._name, self._data = "", []
        return SseEvent(name, "\n".join(data)) if data else None


class Observation(NamedTuple):
    """What one event says."""

    text: str = ""
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    done: bool = False
    error: str | None = None


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Content(msgspec.Struct):
    text: str = ""


class _Item(msgspec.Struct):
    content: list[_Content] = []


class _Details(msgspec.Struct):
    reason: str = "incomplete"


class _Response(msgspec.Struct):
    status: str = ""
    output: list[_Item] = []
    incomplete_details: _Details | None = None
    usage: dict[str, Any] | None = None


class _Payload(_Response):
    choices: list[_Choice] = []
    error: Any = None
    type: str = ""
    delta: str = ""
    response: _Response | None = None
    message: str = ""


_PAYLOAD: Final = msgspec.json.Decoder(_Payload)
_FINISHED: Final = frozenset({"completed", "incomplete"})


def observe(event: SseEvent) -> Observation:
    """Return what one stream event says, for chat, text completions and responses alike."""
    if event.data == "[DONE]":
        return Observation(done=True)
    payload = _decode(event.data)
    if isinstance(payload, Observation):
        return payload
    if payload.type == "response.output_text.delta":
        return Observation(payload.delta)
    if payload.response is not None and payload.response.status in _FINISHED:
        return _finished(payload.response)._replace(text="", done=True)
    if not payload.choices:
        return Observation(usage=payload.usage)
    choice = payload.choices[0]
    text = choice.text or (choice.delta.content if choice.delta is not None else None)
    return Observation(text or "", choice.finish_reason, payload.usage)


def observe_body(body: bytes) -> Observation:
    """Return what a single (not streamed) answer says."""
    payload = _decode(body)
    if isinstance(payload, Observation):
        return payload
    if payload.status in _FINISHED:
        return _finished(payload)
    if not payload.choices:
        return Observation(error="an answer without choices")
    choice = payload.choices[0]
    text = choice.text or (choice.message.content if choice.message is not None else None)
    return Observation(text or "", choice.finish_reason, payload.usage, done=True)


def _decode(data: str | bytes) -> _Payload | Observation:
    try:
        payload = _PAYLOAD.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Observation(error=f"unreadable answer: {error}")
    if payload.error is not None or payload.type in ("error", "response.failed"):
        return Observation(error=_error_text(payload))
    return payload


def _error_text(payload: _Payload) -> str:
    if isinstance(payload.error, dict):
        return str(payload.error.get("message") or payload.error.get("code") or "unnamed error")
    return str(payload.error or payload.message or payload.type)


def _finished(response: _Response) -> Observation:
    text = "".join(content.text for item in response.output for content in item.content)
    reason = "stop" if response.incomplete_details is None else response.incomplete_details.reason
    return Observation(text, reason, response.usage, done=True)


class StreamResult(NamedTuple):
    """One answer as its client saw it; times in seconds since the request was sent."""

    e2e_s: float
    ttft_s: float | None
    gaps_s: tuple[float, ...]
    text: str
    finish_reason: str | None
    usage: dict[str, Any] | None
    done: bool
    error: str | None

    @property
    def problem(self) -> str | None:
        """Return why this answer is not whole, or None when it is."""
        if self.error is not None:
            return f"error event: {self.error}"
        if self.finish_reason is None:
            return "truncated: no finish reason"
        return None if self.done else "truncated: no end marker"

    @property
    def tpot_s(self) -> float | None:
        """Return the time per output token after the first; None below two tokens."""
        tokens = len(self.gaps_s) + 1
        if self.usage is not None:
            tokens = self.usage.get("completion_tokens") or self.usage.get("output_tokens") or tokens
        return sum(self.gaps_s) / (tokens - 1) if self.gaps_s and tokens > 1 else None


class StreamRecorder:
    """Collects one stream's events with the times their bytes came; every time comes in from the caller."""

    def __init__(self, sent_at_s: float) -> None:
        self._sent_at_s = sent_at_s
        self._reader = SseReader()
        self._arrivals_s: list[float] = []
        self._text: list[str] = []
        self._last = Observation()

    def feed(self, data: bytes, now_s: float) -> None:
        """Take the bytes that arrived at `now_s`."""
        for event in self._reader.feed(data):
            seen = observe(event)
            if seen.text:
                self._arrivals_s.append(now_s)
                self._text.append(seen.text)
            last = self._last
            self._last = Observation(
                "",
                seen.finish_reason or last.finish_reason,
                seen.usage or last.usage,
                seen.done or last.done,
                last.error or seen.error,
            )

    def finish(self, now_s: float) -> StreamResult:
        """Return the result of a stream that ended at `now_s`, in whatever way."""
        arrivals, last = self._arrivals_s, self._last
        gaps_s = tuple(later - earlier for earlier, later in pairwise(arrivals))
        return StreamResult(
            now_s - self._sent_at_s,
            arrivals[0] - self._sent_at_s if arrivals else None,
            gaps_s,
            "".join(self._text),
            last.finish_reason,
            last.usage,
            last.done,
            last.error,
        )
