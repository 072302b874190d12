"""One request on its way through a pool, as its sender and its connection see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.core.outcome import Failure, Phase

if TYPE_CHECKING:
    from gateway.http.client import Attempt
    from gateway.http.connection import Connection


class Receiver(Protocol):
    """Whoever asked for the answer."""

    def on_answer(self, answer: Answer, data: bytes, *, complete: bool) -> None:
        """Body bytes of one socket read (maybe none); `complete` when the message has ended."""
        ...

    def on_failure(self, failure: Failure) -> None:
        """Report that no (further) answer will come."""
        ...


class _Nobody:
    """The receiver of a cancelled lease."""

    def on_answer(self, answer: Answer, data: bytes, *, complete: bool) -> None:
        """Receiver: nobody wants it."""

    def on_failure(self, failure: Failure) -> None:
        """Receiver: nobody wants to know."""


_NOBODY = _Nobody()


class Queue(Protocol):
    """Where a lease without a connection waits."""

    def leave(self, lease: Lease) -> None:
        """Forget `lease`."""
        ...


class Answer:
    """The head of an upstream's answer: status and headers, names in lower case, repeated ones joined by commas."""

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}


class Lease(Answer):
    """A request and the head of its answer; `cancel` may be called at any time, any number of times.

    It waits in a `queue`, or has a `connection`, or has ended.
    """

    __slots__ = ("attempt", "body", "cancelled", "connection", "head", "queue", "receiver", "retried")

    def __init__(self, receiver: Receiver, head: bytes, body: bytes) -> None:
        self.status = 0
        self.headers = {}
        self.receiver: Receiver = receiver
        self.head = head
        self.body = body
        self.connection: Connection | None = None
        self.queue: Queue | None = None
        self.attempt: Attempt | None = None
        self.retried = False
        self.cancelled = False

    @property
    def phase(self) -> Phase:
        """How far the request got: waiting for a connection, for the first byte, or inside the answer."""
        if self.connection is None:
            return Phase.CONNECT
        return Phase.BODY if self.connection.answer_begun else Phase.FIRST_BYTE

    def cancel(self) -> None:
        """Forget the receiver and close the connection that serves it: the upstream sees the abort at once."""
        self.cancelled = True
        # One that was its own receiver is gone with its last use, not with the next garbage collection.
        self.receiver = _NOBODY
        connection, self.connection = self.connection, None
        queue, self.queue = self.queue, None
        if connection is not None:
            connection.abort()
        elif queue is not None:
            queue.leave(self)

    def fail(self, failure: Failure) -> None:
        """Tell the receiver, if it still wants to know."""
        if not self.cancelled:
            self.receiver.on_failure(failure)

    def pause_reading(self) -> None:
        """Stop reading the answer (the caller's socket is full)."""
        if self.connection is not None:
            self.connection.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self.connection is not None:
            self.connection.resume_reading()
