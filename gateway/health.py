"""Asking an endpoint whether it lives: one small request per interval, on a connection of its own.

Driven by the sweep, so it needs no task. Its pool holds one connection and shares nothing with the requests' pool: a
full pool, or a line of callers, makes no endpoint look dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.outcome import REDIRECTS_FROM

if TYPE_CHECKING:
    from gateway.core.outcome import Failure
    from gateway.http.client import Pool
    from gateway.http.lease import Answer, Lease
    from gateway.settings.upstreams import HealthSettings

_FIRST_OK = 200
HEALTH_ANSWER_MAX_BYTES = 1_048_576


class HealthCheck:
    """The receiver of one endpoint's health answers; `healthy` until so many in a row were none or not 2xx."""

    __slots__ = ("_asked_s", "_failures", "_head", "_lease", "_pool", "_settings", "due_s", "healthy")

    def __init__(self, pool: Pool, head: bytes, settings: HealthSettings, *, first_s: float) -> None:
        """Ask `pool` with `head`, a whole GET request, from `first_s` on."""
        self._pool = pool
        self._head = head
        self._settings = settings
        self._failures = 0
        self._lease: Lease | None = None
        self._asked_s = 0.0
        self.due_s = first_s
        """When it will be asked next."""
        self.healthy = True

    def sweep(self, now_s: float) -> None:
        """Ask if it is time, and give up on an answer that is too late (`now_s`: perf_counter)."""
        self._pool.sweep(now_s)
        lease = self._lease
        if lease is not None:
            if now_s - self._asked_s >= self._settings.timeout_s:
                lease.cancel()
                self._end(passed=False)
        elif now_s >= self.due_s:
            self._asked_s = now_s
            self.due_s = now_s + self._settings.interval_s
            self._lease = self._pool.request(self, self._head, b"")

    def on_answer(self, answer: Answer, data: bytes, *, complete: bool) -> None:  # noqa: ARG002  the status says it all
        """Receiver: an answer counts when it is whole."""
        if complete:
            self._end(passed=_FIRST_OK <= answer.status < REDIRECTS_FROM)

    def on_failure(self, failure: Failure) -> None:  # noqa: ARG002  why is seen on the requests themselves
        """Receiver: no answer."""
        self._end(passed=False)

    def close(self) -> None:
        """Ask no more."""
        if self._lease is not None:
            self._lease.cancel()
        self._lease = None
        self._pool.close()

    def _end(self, *, passed: bool) -> None:
        self._lease = None
        self._failures = 0 if passed else self._failures + 1
        self.healthy = self._failures < self._settings.unhealthy_after
