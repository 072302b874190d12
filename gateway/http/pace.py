"""Whether a connection keeps pace, judged now and then: requests themselves take no time stamp for it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.http.limits import CallerLimits


class Phase(Enum):
    """What a connection waits for."""

    IDLE = "the next request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    BUSY = "an answer"


class Pace:
    """What was seen of one connection at the earlier looks. Limits hold to within the time between two looks."""

    __slots__ = ("_message", "_phase", "_progress_s", "_received", "_since_s", "_taken_s", "_unsent")

    def __init__(self) -> None:
        self._phase = Phase.BUSY
        self._message: object = None
        self._received = 0
        self._since_s = self._progress_s = self._taken_s = 0.0
        self._unsent = 0

    def late(
        self, phase: Phase, message: object, received: int, now_s: float, *, limits: CallerLimits, idle_s: float
    ) -> bool:
        """Whether the caller has been longer in `phase` than it may.

        `message`: what is another object for another request; `received`: bytes of its body; `idle_s`: for IDLE.
        """
        if phase is not self._phase or message is not self._message:
            self._phase, self._message, self._received = phase, message, received
            self._since_s = self._progress_s = now_s
        elif received != self._received:
            self._received, self._progress_s = received, now_s
        waited_s = now_s - self._since_s
        if phase is Phase.IDLE:
            return waited_s >= idle_s
        if phase is Phase.HEAD:
            return waited_s >= limits.head_timeout_s
        if phase is Phase.BODY:
            stalled = now_s - self._progress_s >= limits.body_idle_s
            return stalled or waited_s >= limits.body_idle_s + received / limits.body_rate_min_bytes_s
        return False

    def stalled(self, unsent: int, now_s: float, send_idle_s: float) -> bool:
        """Whether nothing of the `unsent` bytes has been taken for `send_idle_s`."""
        if unsent == 0 or unsent < self._unsent or self._unsent == 0:
            self._taken_s = now_s
        self._unsent = unsent
        return unsent > 0 and now_s - self._taken_s >= send_idle_s
