"""One try of one exchange at one endpoint: what it holds there, and when its time is up."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from gateway.core.outcome import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.deadlines import Deadlines
    from gateway.core.outcome import Failure
    from gateway.http.connection import Answer, Lease
    from gateway.upstream import Endpoint, Upstream


class Asker(Protocol):
    """Whoever made the attempt."""

    def on_answer(self, attempt: Attempt, answer: Answer, chunks: Sequence[bytes], *, complete: bool) -> None:
        """Take what one read of the upstream's socket brought."""
        ...

    def on_failure(self, attempt: Attempt, failure: Failure) -> None:
        """Take that no (further) answer will come."""
        ...


class Attempt:
    """The `Receiver` of one request to an upstream; gives its place at the endpoint back exactly once."""

    __slots__ = (
        "_asker",
        "_holding",
        "_lease",
        "deadlines",
        "endpoint",
        "last_read_s",
        "sent_at_s",
        "status",
        "upstream",
    )

    def __init__(self, asker: Asker, upstream: Upstream, endpoint: Endpoint, deadlines: Deadlines) -> None:
        self._asker = asker
        self.upstream = upstream
        self.endpoint = endpoint
        self.deadlines = deadlines
        self.status = 0
        self._lease: Lease | None = None
        self._holding = True
        endpoint.outstanding += 1

    def send(self, head: bytes, body: bytes) -> None:
        """Send the request; from now on the asker hears what becomes of it."""
        self.sent_at_s = self.last_read_s = perf_counter()
        self._lease = self.endpoint.pool.request(self, head, body)

    def on_answer(self, answer: Answer, chunks: Sequence[bytes], *, complete: bool) -> None:
        """Receiver: a read; the place is free with the last one."""
        self.last_read_s = perf_counter()
        self.status = answer.status
        if complete:
            self._lease = None
            self._give_back()
        self._asker.on_answer(self, answer, chunks, complete=complete)

    def on_failure(self, failure: Failure) -> None:
        """Receiver: the attempt broke."""
        self._lease = None
        self._give_back()
        self._asker.on_failure(self, failure)

    def cancel(self) -> None:
        """Nobody wants the (rest of the) answer: the upstream sees the abort at once. Harmless when it is over."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.cancel()
        self._give_back()

    def pause_reading(self) -> None:
        """The caller is slow; from now on it is its time that counts."""
        self.last_read_s = perf_counter()
        if self._lease is not None:
            self._lease.pause_reading()

    def resume_reading(self) -> None:
        """The caller is ready again; the wait was not the upstream's."""
        self.last_read_s = perf_counter()
        if self._lease is not None:
            self._lease.resume_reading()

    def overdue(self, now_s: float, arrived_at_s: float) -> str | None:
        """Which deadline has passed, if any (times: perf_counter)."""
        limits = self.deadlines
        if now_s - arrived_at_s > limits.total_s:
            return "total_timeout"
        waited_s = now_s - self.last_read_s
        if self.status == 0:
            return "first_byte_timeout" if waited_s > limits.first_byte_s else None
        return "idle_timeout" if waited_s > limits.idle_s else None

    @property
    def phase(self) -> Phase:
        """How far it got."""
        return Phase.BODY if self._lease is None else self._lease.phase

    def _give_back(self) -> None:
        if self._holding:
            self._holding = False
            self.endpoint.outstanding -= 1
