"""One relay request on the public port, and the right to answer it once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    import asyncio

_STATUS_LINE = {
    status: b"HTTP/1.1 %d %s\r\n" % (status, reason)
    for status, reason in (
        (200, b"OK"),
        (400, b"Bad Request"),
        (401, b"Unauthorized"),
        (403, b"Forbidden"),
        (404, b"Not Found"),
        (413, b"Content Too Large"),
        (429, b"Too Many Requests"),
        (500, b"Internal Server Error"),
        (502, b"Bad Gateway"),
        (503, b"Service Unavailable"),
        (504, b"Gateway Timeout"),
    )
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = b"connection: close\r\n"


class Carrier(Protocol):
    """The connection that brought a request and takes its answer."""

    transport: asyncio.Transport

    def date_line(self) -> bytes:
        """Header lines that every answer has."""
        ...

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        ...


class Listener(Protocol):
    """Whoever answers an `Incoming`."""

    def on_caller_gone(self) -> None:
        """Handle that the caller's connection is lost before the answer was complete."""
        ...

    def on_caller_blocked(self) -> None:
        """Stop producing: the caller reads slower than the upstream writes."""
        ...

    def on_caller_ready(self) -> None:
        """Produce again."""
        ...


class _NoEvent:
    """Stands where the parent expects an asyncio.Event; the relay has nobody waiting."""

    __slots__ = ()

    def set(self) -> None:
        """Nothing to wake."""


_NO_EVENT = _NoEvent()


class Incoming:
    """One relay request and the right to answer it once."""

    message_event: ClassVar[_NoEvent] = _NO_EVENT
    arrived_at_s = 0.0
    """When the request was whole (perf_counter): the caller's upload is not the gateway's time."""
    more_body = True
    response_complete = False
    disconnected = False
    started = False
    http_1_0 = False
    accepted = False
    body_refused = False
    begun = False
    """Whether the head of the answer has been written."""
    _size = 0
    _chunked = False

    def __init__(self, protocol: Carrier, operation: str, headers: dict[bytes, bytes], *, keep_alive: bool) -> None:
        self.protocol = protocol
        self.operation = operation
        self.headers = headers
        self.keep_alive = keep_alive
        self._chunks: list[bytes] = []
        self.listener: Listener | None = None

    @property
    def body(self) -> bytes:
        """The whole request body."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def feed(self, chunk: bytes, size_max: int) -> None:
        """Take a piece of the request body, refusing what is over `size_max` bytes in total."""
        self._size += len(chunk)
        if self._size > size_max:
            self.body_refused = True
            self._chunks.clear()
        else:
            self._chunks.append(chunk)

    def invite_body(self, size_max: int) -> None:
        """Send the interim answer that a caller waits for which announced `Expect: 100-continue`.

        Not when the body is announced as too large: the refusal comes before it is sent.
        """
        length = self.headers.get(b"content-length", b"0")
        if int(length) > size_max:
            self.body_refused = True
        elif self.more_body and self.headers.get(b"expect", b"").lower() == b"100-continue":
            self.protocol.transport.write(_CONTINUE)

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        """Write a whole answer in one write. `head`: header lines, each ended by CRLF, without lengths."""
        if self.disconnected or self.response_complete:
            return
        self.begun = True
        close = b"" if self.keep_alive else _CLOSE
        self.protocol.transport.write(
            b"%b%b%bcontent-length: %d\r\n%b\r\n%b"
            % (status_line(status), self.protocol.date_line(), head, len(body), close, body)
        )
        self._complete()

    def begin(self, status: int, head: bytes, chunk: bytes, length: int | None = None) -> None:
        """Write the head and the first bytes of an answer that goes on; chunked unless `length` is known."""
        if self.disconnected or self.response_complete:
            return
        self.begun = True
        close = b"" if self.keep_alive else _CLOSE
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        elif self.http_1_0:
            # It knows no chunks: the end of the connection is the end of the answer.
            self.keep_alive, framing, close = False, b"", _CLOSE
        else:
            self._chunked, framing = True, b"transfer-encoding: chunked\r\n"
        first = b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked and chunk else chunk
        self.protocol.transport.write(
            b"%b%b%b%b%b\r\n%b" % (status_line(status), self.protocol.date_line(), head, framing, close, first)
        )

    def send(self, chunk: bytes) -> None:
        """Write more of the answer, as one chunk."""
        if chunk and not self.disconnected and not self.response_complete:
            self.protocol.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else chunk)

    def finish(self, chunk: bytes = b"") -> None:
        """Write the last bytes and end the message."""
        if self.disconnected or self.response_complete:
            return
        if self._chunked:
            last = b"%x\r\n%b\r\n0\r\n\r\n" % (len(chunk), chunk) if chunk else b"0\r\n\r\n"
            self.protocol.transport.write(last)
        elif chunk:
            self.protocol.transport.write(chunk)
        self._complete()

    def drop(self) -> None:
        """Close at once, unsent bytes included: the caller has stopped reading."""
        self.response_complete = True
        self.protocol.transport.abort()

    def abort(self) -> None:
        """End a begun answer without its proper end: the caller must be able to tell that something is missing."""
        if not self.disconnected and not self.response_complete:
            self.response_complete = True
            self.protocol.transport.close()

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive or self.more_body:
            self.protocol.transport.close()
        self.protocol.on_response_complete()


def status_line(status: int) -> bytes:
    """HTTP/1.1 status line with CRLF; unknown codes get no phrase."""
    return _STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status
