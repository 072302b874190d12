"""One upstream connection and what travels on it: callbacks instead of tasks, so a request costs no task switch.

A `Receiver` is told what happens to its request, always from the event loop and never after `Lease.cancel()`:
`on_answer` once per socket read that brought something, then exactly one of `on_answer(..., complete=True)` or
`on_failure`. Deciding is synchronous, so there is no await point at which a cancellation could leak a connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from gateway.core.inflate import InflateError, Inflater, InflateTooLargeError
from gateway.core.outcome import Failure, Phase

if TYPE_CHECKING:
    from gateway.http.lease import Lease

_WRITEV_FROM_BYTES = 65_536
_OVERHEAD_MAX_BYTES = 65_536
"""Of a head, and of what is neither head nor body: trailers, chunk extensions."""
_HEADERS_MAX = 256
_JOINED_MAX_BYTES = 8_192
_SWITCHING_PROTOCOLS = 101
_FIRST_STATUS = 100
_FIRST_FINAL_STATUS = 200


class Owner(Protocol):
    """The pool a connection belongs to."""

    answer_max_bytes: int

    def submit(self, lease: Lease) -> None:
        """Find a new connection for `lease`."""
        ...

    def give_back(self, connection: Connection) -> None:
        """Take a connection whose exchange has ended."""
        ...

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        ...


class _RefusedError(Exception):
    """The answer is HTTP, but none that could be relayed safely."""


class Connection(asyncio.Protocol):
    """One upstream connection; carries one exchange at a time."""

    __slots__ = (
        "_answer_max_bytes",
        "_chunks",
        "_complete",
        "_head_done",
        "_headers",
        "_inflater",
        "_keep_alive",
        "_lease",
        "_overhead",
        "_parser",
        "_paused",
        "_pool",
        "_received",
        "_reused",
        "_trailers",
        "_transport",
        "answer_begun",
        "closing",
        "idle_since_s",
        "on_body",
    )

    def __init__(self, pool: Owner) -> None:
        self._pool = pool
        self._answer_max_bytes = pool.answer_max_bytes
        self._chunks: list[bytes] = []
        # The parser's callbacks are looked up once; a bound method of C costs no Python frame per chunk.
        self.on_body = self._chunks.append
        self._parser = httptools.HttpResponseParser(self)
        self._lease: Lease | None = None
        self._trailers: dict[bytes, bytes] = {}
        self._headers = self._trailers
        self._inflater: Inflater | None = None
        self._complete = False
        self._head_done = False
        self._received = 0
        self._overhead = 0
        self._keep_alive = False
        self._reused = False
        self._paused = False
        self.closing = False
        """Whether no further request may be sent on it."""
        self.answer_begun = False
        self.idle_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport; the pool hands out work."""
        self._transport: asyncio.Transport = cast("asyncio.Transport", transport)

    def start(self, lease: Lease) -> None:
        """Send the request of `lease`; its receiver hears from this connection until the answer ends."""
        lease.connection = self
        self._lease = lease
        self._headers = lease.headers
        self._complete = self._head_done = self.answer_begun = False
        self._received = self._overhead = 0
        body = lease.body
        if len(body) < _WRITEV_FROM_BYTES:
            self._transport.write(lease.head + body)
        else:
            self._transport.writelines((lease.head, body))

    def data_received(self, data: bytes) -> None:
        """Parse one read and report it in one call."""
        lease = self._lease
        if lease is None:
            self.abort()
            return
        self.answer_begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self._refuse(f"the answer is no valid HTTP/1.1: {error.__context__ or error}")
                return
            # More than the one answer asked for: that one is good, but nothing on this connection can follow it.
            self._keep_alive = False
        self._received += len(data)
        if self._received > self._answer_max_bytes:
            self._fail(Failure(Phase.BODY, "answer_too_large", f"more than {self._answer_max_bytes} bytes"))
            return
        chunks = self._chunks
        if chunks:
            # Joining one chunk copies nothing.
            data = b"".join(chunks)
            chunks.clear()
        else:
            if not (self._complete or self._take_overhead(data)):
                return
            data = b""
        if self._inflater is not None:
            self._inflate(lease, data)
            return
        complete = self._complete
        if complete:
            self._release(lease)
        lease.receiver.on_answer(lease, data, complete=complete)

    def on_message_begin(self) -> None:
        """Httptools callback; one request gets one answer."""
        if self._complete:
            raise _RefusedError("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Httptools callback; what is said twice must not depend on who reads the first and who the last."""
        name = name.lower()
        headers = self._headers
        if headers.setdefault(name, value) is not value:
            joined = headers[name] = headers[name] + b", " + value
            if len(joined) > _JOINED_MAX_BYTES:
                raise _RefusedError("a header is repeated too often")

    def on_headers_complete(self) -> None:
        """Httptools callback; an interim (1xx) answer is not the answer."""
        parser, headers = self._parser, self._headers
        status: int = parser.get_status_code()
        if status < _FIRST_FINAL_STATUS:
            if status < _FIRST_STATUS or status == _SWITCHING_PROTOCOLS:
                raise _RefusedError(f"status {status} was not asked for")
            headers.clear()
            return
        if len(headers) > _HEADERS_MAX:
            raise _RefusedError("too many headers")
        lease = self._lease
        if lease is None:  # pragma: no cover - only asked for answers are parsed
            return
        lease.status = status
        self._head_done = True
        self._keep_alive = parser.should_keep_alive()
        self._headers = self._trailers
        if b"transfer-encoding" in headers:
            self._check_framing(headers[b"transfer-encoding"])
        if b"content-encoding" in headers:
            self._begin_inflating(headers)

    def on_message_complete(self) -> None:
        """Httptools callback; an interim (1xx) answer is not the answer."""
        if self._head_done:
            self._complete = True

    def eof_received(self) -> bool:
        """Let the transport close; `connection_lost` decides what the end means."""
        self.closing = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: end an answer that was delimited by EOF, else report the break."""
        self.closing = True
        self._pool.forget(self)
        lease, self._lease = self._lease, None
        if lease is None:
            return
        lease.connection = None
        if self._head_done and exc is None and _delimited_by_eof(lease.headers):
            self._end_by_eof(lease)
            return
        if self._reused and not self.answer_begun and not lease.retried:
            lease.retried = True
            self._pool.submit(lease)
            return
        text = f"{type(exc).__name__}: {exc}" if exc else "the connection was closed"
        lease.fail(Failure(self._phase_of_break(), "reset", text))

    def shut_down(self) -> None:
        """Close at once and tell the receiver, if there is one."""
        self._fail(Failure(self._phase_of_break(), "closed", "the gateway is shutting down"))

    def abort(self) -> None:
        """Close at once, dropping whatever is unsent."""
        self._lease = None
        self.closing = True
        self._transport.abort()

    def pause_reading(self) -> None:
        """Backpressure from the caller."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _phase_of_break(self) -> Phase:
        return Phase.BODY if self.answer_begun else Phase.FIRST_BYTE

    def _fail(self, failure: Failure) -> None:
        lease = self._lease
        self.abort()
        if lease is not None:
            lease.connection = None
            lease.fail(failure)

    def _refuse(self, text: str) -> None:
        self._fail(Failure(Phase.BODY, "bad_answer", text))

    def _release(self, lease: Lease) -> None:
        """Give the connection back before the receiver runs, so that its next request can reuse it."""
        self._lease = lease.connection = None
        if self._trailers:
            self._trailers.clear()
        if self._transport.get_write_buffer_size():
            # The answer came before the request was whole; the rest would be read as the next request.
            self.closing = True
            self._transport.abort()
        elif self._keep_alive and not self.closing:
            self._reused = True
            if self._paused:
                self.resume_reading()
            self._pool.give_back(self)
        else:
            self.closing = True
            self._transport.close()

    def _take_overhead(self, data: bytes) -> bool:
        """Bound what is no body: heads, interim answers, trailers, chunk sizes; False: nothing to report."""
        self._overhead += len(data)
        if self._overhead > _OVERHEAD_MAX_BYTES:
            self._refuse("the answer's head, or what is between the parts of its body, is too large")
            return False
        return self._head_done

    def _check_framing(self, coding: bytes) -> None:
        """Of the transfer codings only chunked is understood, and in HTTP/1.0 it may mean anything."""
        if coding.lower() != b"chunked":
            raise _RefusedError("the answer has an unknown transfer coding")
        if self._parser.get_http_version() == "1.0":
            self._keep_alive = False

    def _begin_inflating(self, headers: dict[bytes, bytes]) -> None:
        """Identity was asked for; whoever compresses all the same is decoded, else nobody could judge the answer."""
        coding = headers.pop(b"content-encoding")
        if coding.strip().lower() in (b"identity", b""):
            return
        try:
            self._inflater = Inflater(coding, self._answer_max_bytes)
        except InflateError as error:
            raise _RefusedError(str(error)) from None

    def _inflate(self, lease: Lease, data: bytes) -> None:
        """Report the decoded form of a read."""
        inflater, complete = self._inflater, self._complete
        if inflater is None:  # pragma: no cover - the caller has looked
            return
        try:
            data = inflater.feed(data)
            if complete:
                inflater.end()
                self._inflater = None
        except InflateError as error:
            self._refuse(str(error))
            return
        except InflateTooLargeError as error:
            self._fail(Failure(Phase.BODY, "answer_too_large", str(error)))
            return
        if complete:
            self._release(lease)
        lease.receiver.on_answer(lease, data, complete=complete)

    def _end_by_eof(self, lease: Lease) -> None:
        try:
            if self._inflater is not None:
                self._inflater.end()
        except InflateError as error:
            lease.fail(Failure(Phase.BODY, "bad_answer", str(error)))
            return
        lease.receiver.on_answer(lease, b"", complete=True)


def _delimited_by_eof(headers: dict[bytes, bytes]) -> bool:
    return b"content-length" not in headers and b"transfer-encoding" not in headers
