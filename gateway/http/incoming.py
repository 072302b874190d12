"""One relay request on the public port, and the right to answer it once."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, ClassVar, Protocol

from gateway.core.errors import ApiError, render_body

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
        (408, b"Request Timeout"),
        (413, b"Content Too Large"),
        (414, b"URI Too Long"),
        (415, b"Unsupported Media Type"),
        (429, b"Too Many Requests"),
        (431, b"Request Header Fields Too Large"),
        (500, b"Internal Server Error"),
        (502, b"Bad Gateway"),
        (503, b"Service Unavailable"),
        (504, b"Gateway Timeout"),
        (505, b"HTTP Version Not Supported"),
    )
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = b"connection: close\r\n"
_RESET = struct.pack("ii", 1, 0)
_JSON = b"content-type: application/json\r\n"
_SIZES_MAX = 2_048
_SIZE_LINES = [b"%x\r\n" % size for size in range(_SIZES_MAX)]
"""Of the chunks that most events are; made for each of them it would cost more than all else here."""
_JOINED_MAX_BYTES = 65_536
"""Larger pieces are given to the transport as they are, in one call; smaller ones are cheaper to copy."""


class Carrier(Protocol):
    """The connection that brought a request and takes its answer."""

    transport: asyncio.Transport

    def date_line(self) -> bytes:
        """Header lines that every answer has."""
        ...

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        ...

    def hang_up(self) -> None:
        """Close: the answer just written was the last."""
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
    http_1_0 = False
    refusal: ApiError | None = None
    """Why it gets no answer but this."""
    begun = False
    """Whether the head of the answer has been written."""
    ttft_s: float | None = None
    """Arrival to the first content of a streamed answer, once it has come."""
    size = 0
    """Bytes of the body so far."""
    _chunked = False

    def __init__(self, protocol: Carrier, operation: str, headers: dict[bytes, bytes], *, keep_alive: bool) -> None:
        self.protocol = protocol
        self.operation = operation
        self.headers = headers
        self.keep_alive = keep_alive
        self.listener: Listener | None = None
        self.chunks: list[bytes] = []
        """The body as it came."""

    @property
    def body(self) -> bytes:
        """The whole request body."""
        chunks = self.chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def invite_body(self) -> None:
        """Send the interim answer that a caller waits for which announced `Expect: 100-continue`."""
        if self.more_body and self.headers.get(b"expect", b"").lower() == b"100-continue":
            self.protocol.transport.write(_CONTINUE)

    def refuse(self, error: ApiError) -> None:
        """Answer with an error object and nothing else; what has come of the body is dropped."""
        self.chunks = []
        self.respond(error.status, _JSON, render_body(error))

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        """Write a whole answer in one write. `head`: header lines, each ended by CRLF, without lengths."""
        if self.disconnected or self.response_complete:
            return
        self.begun = True
        close = b"" if self.keep_alive else _CLOSE
        size = len(body)
        lines = b"%b%b%bcontent-length: %d\r\n%b\r\n" % (
            status_line(status),
            self.protocol.date_line(),
            head,
            size,
            close,
        )
        if size < _JOINED_MAX_BYTES:
            self.protocol.transport.write(lines + body)
        else:
            self.protocol.transport.writelines((lines, body))
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
        lines = b"%b%b%b%b%b\r\n" % (status_line(status), self.protocol.date_line(), head, framing, close)
        self._write(lines, chunk)

    def send(self, chunk: bytes) -> None:
        """Write more of the answer, as one chunk."""
        if chunk and not self.disconnected and not self.response_complete:
            self._write(b"", chunk)

    def finish(self, chunk: bytes = b"") -> None:
        """Write the last bytes and end the message."""
        if self.disconnected or self.response_complete:
            return
        self._write(b"", chunk, b"0\r\n\r\n" if self._chunked else b"")
        self._complete()

    def drop(self) -> None:
        """Close at once, unsent bytes included: the caller has stopped reading."""
        self.response_complete = True
        self.protocol.transport.abort()

    def abort(self) -> None:
        """End a begun answer without its proper end: the caller must be able to tell that something is missing."""
        if not self.disconnected and not self.response_complete:
            self.response_complete = True
            if self.http_1_0:
                # To this caller a clean end of the connection is the end of the answer: reset it.
                self.protocol.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self.protocol.transport.abort()
            else:
                self.protocol.transport.close()

    def _write(self, before: bytes, chunk: bytes, after: bytes = b"") -> None:
        """Write `chunk`, framed as this answer is, between two pieces that aren't, in one write."""
        if self._chunked and chunk:
            size = len(chunk)
            before += _SIZE_LINES[size] if size < _SIZES_MAX else b"%x\r\n" % size
            after = b"\r\n" + after
        if len(chunk) < _JOINED_MAX_BYTES:
            self.protocol.transport.write(b"%b%b%b" % (before, chunk, after))
        else:
            self.protocol.transport.writelines((before, chunk, after))

    def _complete(self) -> None:
        self.response_complete = True
        # An idle connection remembers its last request, which may have been large.
        self.chunks = []
        if not self.keep_alive or self.more_body:
            self.protocol.hang_up()
        self.protocol.on_response_complete()


def status_line(status: int) -> bytes:
    """HTTP/1.1 status line with CRLF; unknown codes get no phrase."""
    return _STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status


def last_answer(error: ApiError, date_line: bytes) -> bytes:
    """An error as the only answer of a connection, for whoever has no request to answer."""
    body = render_body(error)
    retry = b"" if error.retry_after_s is None else b"retry-after: %d\r\n" % error.retry_after_s
    return b"%b%b%b%bcontent-length: %d\r\n%b\r\n%b" % (
        status_line(error.status),
        date_line,
        _JSON,
        retry,
        len(body),
        _CLOSE,
        body,
    )
