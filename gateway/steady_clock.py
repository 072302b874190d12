"""Unix time that does not jump: what is looked at when it is so old must not become older because a clock was set.

Small steps of the wall clock are worked off slowly. Large ones are taken over at once: epochs are agreed on with
others, in Unix time, and what is older than others bear counts for nothing.
"""

from __future__ import annotations

from math import copysign
from typing import TYPE_CHECKING

from msgspec.structs import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.outcome import Record

SLEW = 0.1
"""Seconds for each second."""
STEP_S = 60.0
"""Beyond it nothing is worked off; far below `carrying.SETTLED_S`."""
_NOISE_S = 1e-3
_LAG_MAX_S = 2.0
"""How long a request may wait, once it has settled, until somebody takes its Record."""


class SteadyClock:
    """One collector's."""

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        """`clock`: any seconds that only grow; `wall_clock`: Unix time, as in Records."""
        self._clock, self._wall_clock = clock, wall_clock
        self._read_s, self._wall_s = clock(), wall_clock()
        self._now_s = self._wall_s

    def now_s(self) -> float:
        """Unix time, but for a step of the wall clock that has not been worked off yet."""
        read_s, self._wall_s = self._clock(), self._wall_clock()
        passed_s = read_s - self._read_s
        steady_s = self._now_s + passed_s
        ahead_s, slew_s = self._wall_s - steady_s, SLEW * passed_s
        follows = abs(ahead_s) <= max(slew_s, _NOISE_S) or abs(ahead_s) > STEP_S
        self._read_s = read_s
        self._now_s = self._wall_s if follows else steady_s + copysign(slew_s, ahead_s)
        return self._now_s

    def timed(self, records: Sequence[Record]) -> Sequence[Record]:
        """Requests that have settled just now, or are under way, with their times by this clock."""
        now_s = self.now_s()
        if now_s == self._wall_s:
            return records
        return [replace(each, at_s=now_s - min(_LAG_MAX_S, max(0.0, self._wall_s - each.at_s))) for each in records]
