"""One try of one exchange at one endpoint: what it holds there, what it says of it, and when its time is up."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from gateway.core.breaker import BreakerState
from gateway.core.outcome import CALLER_ERRORS_FROM, REDIRECTS_FROM, SERVER_ERRORS_FROM, TOO_MANY_REQUESTS
from gateway.core.wire import is_answer
from gateway.http.lease import Lease

if TYPE_CHECKING:
    from gateway.core.deadlines import Deadlines
    from gateway.core.outcome import Failure
    from gateway.http.lease import Answer
    from gateway.upstream import Endpoint, Upstream

# Breaks that say nothing about the endpoint.
_OWN_FAILURES = frozenset({"queue_full", "queue_timeout", "closed"})
_HEALTHY = BreakerState.HEALTHY


class Asker(Protocol):
    """Whoever made the attempt."""

    def on_answer(self, attempt: Attempt, data: bytes, *, complete: bool) -> None:
        """Take what one read of the upstream's socket brought; the attempt is the answer's head, too."""
        ...

    def on_failure(self, attempt: Attempt, failure: Failure) -> None:
        """Take that no (further) answer will come."""
        ...


class Attempt(Lease):
    """A request on its way; it is its own receiver. Gives its place at the endpoint back exactly once."""

    __slots__ = ("_asker", "_holding", "_ticket", "deadlines", "endpoint", "last_read_s", "upstream")

    def __init__(  # noqa: PLR0917  once per request: keywords would cost
        self, asker: Asker, upstream: Upstream, endpoint: Endpoint, deadlines: Deadlines, head: bytes, body: bytes
    ) -> None:
        """Take a place at the endpoint, which must admit requests."""
        Lease.__init__(self, self, head, body)
        self._asker = asker
        self.upstream = upstream
        self.endpoint = endpoint
        self.deadlines = deadlines
        self.last_read_s = now_s = perf_counter()
        self._ticket = endpoint.breaker.on_sent(now_s)
        self._holding = True
        endpoint.outstanding += 1

    def send(self) -> None:
        """Send the request; from now on the asker hears what becomes of it."""
        self.endpoint.pool.send(self)

    def on_answer(self, answer: Answer, data: bytes, *, complete: bool) -> None:  # noqa: ARG002  it is this object
        """Receiver: a read; the place is free with the last one."""
        self.last_read_s = now_s = perf_counter()
        if complete:
            self._end(now_s)
        elif self.endpoint.breaker.state is not _HEALTHY and self._is_good():
            # A probe has told what it can tell: a long stream must not keep the endpoint from the next one.
            self.endpoint.breaker.on_success(now_s, self._ticket)
        self._asker.on_answer(self, data, complete=complete)

    def on_failure(self, failure: Failure) -> None:
        """Receiver: the attempt broke."""
        self._break(failure)
        self._asker.on_failure(self, failure)

    def expire(self, failure: Failure) -> None:
        """Its time is up. A caller's own, shorter deadline says nothing about the endpoint."""
        if self.deadlines is self.upstream.deadlines:
            self._break(failure)
        self.cancel()

    def reject(self) -> None:
        """What came is no answer: end it as the endpoint's failure."""
        if self._holding:
            self._leave()
            self.endpoint.breaker.on_failure(perf_counter(), self._ticket)
        Lease.cancel(self)

    def cancel(self) -> None:
        """Nobody wants the (rest of the) answer: the upstream sees the abort at once. Harmless when it is over."""
        if self._holding:
            self._leave()
            breaker = self.endpoint.breaker
            tell = breaker.on_failure if self.status >= SERVER_ERRORS_FROM else breaker.on_released
            tell(perf_counter(), self._ticket)
        Lease.cancel(self)

    def pause_reading(self) -> None:
        """The caller is slow; from now on it is its time that counts."""
        self.last_read_s = perf_counter()
        Lease.pause_reading(self)

    def resume_reading(self) -> None:
        """The caller is ready again; the wait was not the upstream's."""
        self.last_read_s = perf_counter()
        Lease.resume_reading(self)

    def overdue(self, now_s: float, arrived_at_s: float) -> str | None:
        """Which deadline has passed, if any (times: perf_counter)."""
        limits = self.deadlines
        if now_s - arrived_at_s > limits.total_s:
            return "total_timeout"
        waited_s = now_s - self.last_read_s
        if self.status == 0:
            return "first_byte_timeout" if waited_s > limits.first_byte_s else None
        return "idle_timeout" if waited_s > limits.idle_s else None

    def _end(self, now_s: float) -> None:
        """Judge the endpoint by a whole answer; being told to slow down says nothing about its health."""
        if not self._holding:
            return
        self._leave()
        breaker, status = self.endpoint.breaker, self.status
        if self._is_good():
            breaker.on_success(now_s, self._ticket)
        elif status == TOO_MANY_REQUESTS or REDIRECTS_FROM <= status < CALLER_ERRORS_FROM:
            breaker.on_released(now_s, self._ticket)
        else:
            breaker.on_failure(now_s, self._ticket)

    def _is_good(self) -> bool:
        """Whether the endpoint did what it should; a caller's error that it noticed is that too."""
        status = self.status
        return status < SERVER_ERRORS_FROM and status != TOO_MANY_REQUESTS and is_answer(status, self.headers)

    def _break(self, failure: Failure) -> None:
        if not self._holding:
            return
        self._leave()
        breaker = self.endpoint.breaker
        tell = breaker.on_released if failure.kind in _OWN_FAILURES else breaker.on_failure
        tell(perf_counter(), self._ticket)

    def _leave(self) -> None:
        self._holding = False
        self.endpoint.outstanding -= 1
