"""When an endpoint gets no more requests, and how it gets them again: one `Breaker` per endpoint and worker.

| state   | sent                               | success                  | failure                | released |
| ------- | ---------------------------------- | ------------------------ | ---------------------- | -------- |
| HEALTHY | HEALTHY                            | HEALTHY                  | HEALTHY, or EJECTED    | HEALTHY  |
| EJECTED | PROBING from `retry_at_s` on       | (none can be current)    | (none can be current)  | (none)   |
| PROBING | PROBING if no probe is out         | PROBING, the 2nd HEALTHY | EJECTED, twice as long | PROBING  |

Whatever the table does not allow raises `NotAdmittedError` and changes nothing. `on_sent` gives a ticket that the end
of the request hands back: a request sent before the last ejection or probe says nothing about the endpoint as it is
now, so its end is ignored. Every request sent must end in exactly one of success, failure and released.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

_PROBES_NEEDED = 2


class BreakerState(StrEnum):
    """How an endpoint is treated."""

    HEALTHY = "healthy"
    EJECTED = "ejected"
    PROBING = "probing"


_HEALTHY, _EJECTED, _PROBING = BreakerState.HEALTHY, BreakerState.EJECTED, BreakerState.PROBING


class BreakerLimits(NamedTuple):
    """What ejects, and for how long (seconds).

    Either so many failures in a row, or so large a part of at least `requests_min` requests that ended within about
    `window_s`. Each further ejection lasts twice as long, until it has stayed healthy for `ejected_max_s`.
    """

    consecutive_failures: int = 5
    failure_ratio: float = 0.5
    window_s: float = 10.0
    requests_min: int = 20
    ejected_s: float = 1.0
    ejected_max_s: float = 30.0


class NotAdmittedError(RuntimeError):
    """A request was sent to an endpoint that does not admit one."""


class Breaker:
    """Times are seconds of one monotonic clock, the caller's."""

    __slots__ = (
        "_ejections",
        "_epoch",
        "_failures",
        "_failures_before",
        "_half_ends_s",
        "_healthy_since_s",
        "_limits",
        "_probe_out",
        "_probes_passed",
        "_requests",
        "_requests_before",
        "_row",
        "retry_at_s",
        "state",
    )

    def __init__(self, limits: BreakerLimits) -> None:
        self.state = _HEALTHY
        self.retry_at_s = 0.0
        """When an ejected endpoint admits its first probe."""
        self._limits = limits
        self._epoch = 0
        self._row = 0
        # The window is two halves: the one under way, and the one before.
        self._half_ends_s = 0.0
        self._requests = self._failures = 0
        self._requests_before = self._failures_before = 0
        self._ejections = 0
        self._healthy_since_s = 0.0
        self._probe_out = False
        self._probes_passed = 0

    def admits(self, now_s: float) -> bool:
        """Whether a request may be sent now."""
        state = self.state
        if state is _HEALTHY:
            return True
        return now_s >= self.retry_at_s if state is _EJECTED else not self._probe_out

    def on_sent(self, now_s: float) -> int:
        """A request is sent; returns its ticket. Raises `NotAdmittedError` if none is admitted."""
        if self.state is not _HEALTHY:
            self._send_probe(now_s)
        return self._epoch

    def on_success(self, now_s: float, ticket: int) -> None:
        """The endpoint answered as it should; a caller's error that it noticed is that too."""
        if ticket != self._epoch:
            return
        if self.state is not _HEALTHY:
            self._pass_probe(now_s)
            return
        if now_s >= self._half_ends_s:
            self._begin_half(now_s)
        self._requests += 1
        self._row = 0

    def on_failure(self, now_s: float, ticket: int) -> None:
        """The endpoint could not be reached, broke off, took too long or answered with an error of its own."""
        if ticket != self._epoch:
            return
        if self.state is not _HEALTHY:
            self._eject(now_s)
            return
        if now_s >= self._half_ends_s:
            self._begin_half(now_s)
        self._requests += 1
        self._failures += 1
        self._row += 1
        if self._row >= self._limits.consecutive_failures or self._failing_ratio():
            self._eject(now_s)

    def on_released(self, now_s: float, ticket: int) -> None:  # noqa: ARG002  all ends are told alike
        """The request ended without telling anything about the endpoint: cancelled, or told to slow down."""
        if ticket == self._epoch and self.state is not _HEALTHY:
            self._end_probe()

    def _failing_ratio(self) -> bool:
        requests = self._requests + self._requests_before
        failures = self._failures + self._failures_before
        limits = self._limits
        return requests >= limits.requests_min and failures >= limits.failure_ratio * requests

    def _begin_half(self, now_s: float) -> None:
        half_s = self._limits.window_s / 2
        fresh = now_s < self._half_ends_s + half_s
        self._requests_before = self._requests if fresh else 0
        self._failures_before = self._failures if fresh else 0
        self._requests = self._failures = 0
        self._half_ends_s = now_s + half_s

    def _eject(self, now_s: float) -> None:
        limits = self._limits
        if self.state is _HEALTHY and now_s - self._healthy_since_s >= limits.ejected_max_s:
            self._ejections = 0
        # 2 ** 64 times any time is beyond any limit.
        self.retry_at_s = now_s + min(limits.ejected_s * 2 ** min(self._ejections, 64), limits.ejected_max_s)
        self._ejections += 1
        self._end_probe()
        self.state = _EJECTED

    def _send_probe(self, now_s: float) -> None:
        if not self.admits(now_s):
            raise NotAdmittedError(f"{self.state}: no request is admitted")
        if self.state is _EJECTED:
            self.state = _PROBING
            self._probes_passed = 0
        self._probe_out = True
        self._epoch += 1

    def _end_probe(self) -> None:
        self._probe_out = False
        self._epoch += 1

    def _pass_probe(self, now_s: float) -> None:
        self._end_probe()
        self._probes_passed += 1
        if self._probes_passed < _PROBES_NEEDED:
            return
        self.state = _HEALTHY
        self._healthy_since_s = now_s
        self._row = 0
        self._requests = self._failures = self._requests_before = self._failures_before = 0
