"""Requests per second of each feature over the last minutes, from counters that only grow."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

WINDOW_S = 600.0
SHORTEST_S = 5.0
"""Less says nothing."""


class _Look(NamedTuple):
    at_s: float
    totals: Mapping[str, float]


class TrafficRate:
    """Remembers what counters said over the last `WINDOW_S`."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()

    def note(self, at_s: float, totals: Mapping[str, float]) -> None:
        """Note the counters, by feature, as they are at `at_s` (any seconds that only grow)."""
        self._looks.append(_Look(at_s, totals))
        while self._looks[0].at_s < at_s - WINDOW_S:
            self._looks.popleft()

    def per_s(self, feature: str) -> float | None:
        """Give the mean rate; None when it isn't known, or not for long enough."""
        if not self._looks or feature not in self._looks[-1].totals:
            return None
        first, last = self._looks[0], self._looks[-1]
        lasted_s = last.at_s - first.at_s
        if lasted_s < SHORTEST_S:
            return None
        return max(0.0, last.totals[feature] - first.totals.get(feature, 0.0)) / lasted_s
