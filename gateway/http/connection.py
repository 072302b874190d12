"""One upstream connection and what travels on it: callbacks instead of tasks, so a request costs no task switch.

A `Receiver` is told what happens to its request, always from the event loop and never after `Lease.cancel()`:
`on_answer` once per socket read that brought something, then exactly one of `on_answer(..., complete=True)` or
`on_failure`. Deciding is synchronous, so there is no await point at which a cancellation could leak a connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from gateway.core.outcome import Failure, Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

_WRITEV_FROM_BYTES = 65_536
_HEAD_MAX_BYTES = 65_536
_FIRST_FINAL_STATUS = 200


class Receiver(Protocol):
    """Whoever asked for the answer."""

    def on_answer(self, answer: Answer, chunks: Sequence[bytes], *, complete: bool) -> None:
        """Body bytes of one socket read (maybe none), in order; `complete` when the message has ended."""
        ...

    def on_failure(self, failure: Failure) -> None:
        """Report that no (further) answer will come."""
        ...


class Owner(Protocol):
    """The pool a connection belongs to."""

    def submit(self, lease: Lease, *, fresh: bool = False) -> None:
        """Find a connection for `lease`, a new one if `fresh`."""
        ...

    def give_back(self, connection: Connection) -> None:
        """Take a connection whose exchange has ended."""
        ...

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone."""
        ...


class Answer:
    """The head of one upstream answer: status and headers, names in lower case (of a repeated one, the last)."""

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}


class Lease:
    """One request on its way through a pool; `cancel` may be called at any time, any number of times."""

    __slots__ = ("_cancelled", "body", "connection", "head", "receiver", "retried")

    def __init__(self, receiver: Receiver, head: bytes, body: bytes) -> None:
        self.receiver = receiver
        self.head = head
        self.body = body
        self.connection: Connection | None = None
        self.retried = False
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether the receiver lost interest."""
        return self._cancelled

    @property
    def phase(self) -> Phase:
        """How far the request got: waiting for a connection, for the first byte, or inside the answer."""
        if self.connection is None:
            return Phase.CONNECT
        return Phase.BODY if self.connection.answer_begun else Phase.FIRST_BYTE

    def cancel(self) -> None:
        """Forget the receiver and close the connection that serves it: the upstream sees the abort at once."""
        if self._cancelled:
            return
        self._cancelled = True
        if self.connection is not None:
            self.connection.abort()

    def pause_reading(self) -> None:
        """Stop reading the answer (the caller's socket is full)."""
        if self.connection is not None:
            self.connection.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.connection is not None:
            self.connection.resume_reading()


class Connection(asyncio.Protocol):
    """One upstream connection; carries one exchange at a time."""

    __slots__ = (
        "_answer",
        "_chunks",
        "_closing",
        "_complete",
        "_head_bytes",
        "_head_done",
        "_keep_alive",
        "_lease",
        "_parser",
        "_paused",
        "_pool",
        "_reused",
        "_transport",
        "answer_begun",
        "idle_since_s",
    )

    def __init__(self, pool: Owner) -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._lease: Lease | None = None
        self._answer = Answer()
        self._chunks: list[bytes] = []
        self._complete = False
        self._head_done = False
        self._head_bytes = 0
        self._keep_alive = False
        self._reused = False
        self._paused = False
        self._closing = False
        self.answer_begun = False
        self.idle_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the transport; the pool hands out work."""
        self._transport: asyncio.Transport = cast("asyncio.Transport", transport)

    def start(self, lease: Lease) -> None:
        """Send the request of `lease`; its receiver hears from this connection until the answer ends."""
        lease.connection = self
        self._lease = lease
        self._answer = Answer()
        self._complete = self._head_done = self.answer_begun = False
        self._head_bytes = 0
        if len(lease.body) < _WRITEV_FROM_BYTES:
            self._transport.write(lease.head + lease.body)
        else:
            self._transport.writelines((lease.head, lease.body))

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return not self._closing and not self._transport.is_closing()

    def data_received(self, data: bytes) -> None:
        """Parse one read and report it in one call."""
        lease = self._lease
        if lease is None:
            self.abort()
            return
        answer = self._answer
        self.answer_begun = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(Failure(Phase.BODY, "bad_answer", f"the answer is not valid HTTP/1.1: {error}"))
            return
        if not self._head_done:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_MAX_BYTES:
                self._fail(Failure(Phase.BODY, "bad_answer", "the answer's head is too large"))
            return
        chunks, complete = self._chunks, self._complete
        if chunks:
            self._chunks = []
        if complete:
            self._release()
        lease.receiver.on_answer(answer, chunks, complete=complete)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Httptools callback."""
        self._answer.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Httptools callback; one request gets one answer, not counting interim (1xx) ones."""
        if self._complete:
            raise ValueError("a second answer to one request")
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL_STATUS:
            self._answer.headers.clear()
            return
        self._answer.status = status
        self._head_done = True
        self._keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """Httptools callback."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Httptools callback; an interim (1xx) answer is not the answer."""
        if self._head_done:
            self._complete = True

    def eof_received(self) -> bool:
        """Let the transport close; `connection_lost` decides what the end means."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone: end an answer that was delimited by EOF, else report the break."""
        self._closing = True
        self._pool.forget(self)
        lease, self._lease = self._lease, None
        if lease is None or lease.cancelled:
            return
        if self._head_done and not self._complete and exc is None and _delimited_by_eof(self._answer.headers):
            lease.receiver.on_answer(self._answer, (), complete=True)
            return
        if self._reused and not self.answer_begun and not lease.retried:
            lease.retried = True
            lease.connection = None
            self._pool.submit(lease, fresh=True)
            return
        text = f"{type(exc).__name__}: {exc}" if exc else "the connection was closed"
        lease.receiver.on_failure(Failure(self._phase_of_break(), "reset", text))

    def shut_down(self) -> None:
        """Close at once and tell the receiver, if there is one."""
        self._fail(Failure(self._phase_of_break(), "closed", "the gateway is shutting down"))

    def abort(self) -> None:
        """Close at once, dropping whatever is unsent."""
        self._lease = None
        self._closing = True
        self._transport.abort()

    def pause_reading(self) -> None:
        """Backpressure from the caller."""
        if not self._paused and self.usable:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        if self._paused and self.usable:
            self._paused = False
            self._transport.resume_reading()

    def _phase_of_break(self) -> Phase:
        return Phase.BODY if self.answer_begun else Phase.FIRST_BYTE

    def _fail(self, failure: Failure) -> None:
        lease = self._lease
        self.abort()
        if lease is not None and not lease.cancelled:
            lease.receiver.on_failure(failure)

    def _release(self) -> None:
        """Give the connection back before the receiver runs, so that its next request can reuse it."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.connection = None
        if self._keep_alive and self.usable:
            self._reused = True
            self.resume_reading()
            self._pool.give_back(self)
        else:
            self._closing = True
            self._transport.close()


def _delimited_by_eof(headers: dict[bytes, bytes]) -> bool:
    return b"content-length" not in headers and b"transfer-encoding" not in headers
