"""What latencies are held against: quantiles of what units of the baseline took, as this worker saw them.

A unit is measured with the yardstick that was in force when it arrived. One that is made at a look is in force from
the next whole second on, and made of units that had come of age by then: nothing of a unit itself, or of a later one,
is in its own. See docs/decisions/0017.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from math import floor, inf
from typing import TYPE_CHECKING

from gateway.core.unit_outcomes import span_of
from rollout.core.evidence.names import LATENCY
from rollout.core.evidence.quantile import EDGES_S, LatencyCounts, yardstick_s

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gateway.core.units import Unit

UNITS_MAX = 1_000
"""The newest of the baseline that make up a yardstick,"""
OLDEST_S = 3_600.0
"""and how old they are at most."""
UNITS_MIN = 50
KEPT_MAX = 4_096
"""Yardsticks that are remembered of a feature, one a second at most."""
_EDGES_S = EDGES_S.tolist()
_NONE: Mapping[str, float] = {}


class _Window:
    """Buckets of the newest latencies of one feature and part."""

    def __init__(self) -> None:
        self._latencies: deque[tuple[float, int]] = deque()
        self._by_bucket: Counter[int] = Counter()

    def add(self, arrived_s: float, latency_s: float) -> None:
        bucket = bisect_left(_EDGES_S, latency_s)
        self._latencies.append((arrived_s, bucket))
        self._by_bucket[bucket] += 1
        if len(self._latencies) > UNITS_MAX:
            self._forget()

    def forget_before(self, oldest_s: float) -> None:
        while self._latencies and self._latencies[0][0] < oldest_s:
            self._forget()

    def counts(self) -> LatencyCounts:
        return LatencyCounts(tuple(sorted(self._by_bucket.items())))

    def _forget(self) -> None:
        _, bucket = self._latencies.popleft()
        self._by_bucket[bucket] -= 1
        if not self._by_bucket[bucket]:
            del self._by_bucket[bucket]


class _Feature:
    """One feature's windows by part, and its yardsticks by metric with the second from which each set is in force."""

    def __init__(self) -> None:
        self.windows: dict[str, _Window] = {}
        self.from_s: list[float] = []
        self.sets: list[Mapping[str, float]] = []

    def at(self, arrived_s: float) -> Mapping[str, float]:
        index = bisect_right(self.from_s, arrived_s)
        return self.sets[index - 1] if index else _NONE

    def put(self, from_s: float, yardsticks_s: Mapping[str, float]) -> None:
        while self.from_s and self.from_s[-1] >= from_s:  # the clock was set back
            del self.from_s[-1], self.sets[-1]
        if yardsticks_s == (self.sets[-1] if self.sets else _NONE):
            return
        self.from_s.append(from_s)
        self.sets.append(yardsticks_s)
        if len(self.from_s) > KEPT_MAX:
            del self.from_s[: KEPT_MAX // 2], self.sets[: KEPT_MAX // 2]


class Yardsticks:
    """One worker's."""

    def __init__(self) -> None:
        self._features: dict[str, _Feature] = {}

    def at(self, feature: str, arrived_s: float) -> Mapping[str, float]:
        """The yardsticks in seconds, by metric, that were in force then (Unix time)."""
        known = self._features.get(feature)
        return _NONE if known is None else known.at(arrived_s)

    def learn(self, now_s: float, due: Sequence[Unit], wanted: Mapping[str, Collection[str]]) -> None:
        """Take the units that have come of age by now; those of the baseline make the yardsticks from now on.

        `wanted`: latency metrics by feature; what is known of other features is forgotten. To be called after `at`.
        """
        self.see(due, wanted)
        for name, metrics in wanted.items():
            self._put(self._features[name], now_s, metrics)

    def see(self, due: Sequence[Unit], wanted: Mapping[str, Collection[str]]) -> None:
        """Take some of the units that have come of age, before `learn` takes the last of them."""
        self._features = {name: self._features.get(name) or _Feature() for name in wanted}
        parts = {name: {LATENCY[metric].part for metric in metrics} for name, metrics in wanted.items()}
        for unit in due:
            if not unit.candidate and unit.feature in parts:
                self._add(unit, parts[unit.feature])

    def _add(self, unit: Unit, parts: Collection[str]) -> None:
        windows = self._features[unit.feature].windows
        for part in parts:
            span = span_of(unit, part)
            if span is None or (span.at_least_s < unit.age_s and span.at_most_s == inf):
                continue  # nobody knows how long it would have taken
            window = windows.get(part)
            if window is None:
                window = windows[part] = _Window()
            window.add(unit.arrived_s, span.at_most_s)

    @staticmethod
    def _put(feature: _Feature, now_s: float, metrics: Collection[str]) -> None:
        for window in feature.windows.values():
            window.forget_before(now_s - OLDEST_S)
        counts = {part: window.counts() for part, window in feature.windows.items()}
        found: dict[str, float] = {}
        for metric in metrics:
            part, quantile = LATENCY[metric]
            least = max(UNITS_MIN, round(1 / (1 - quantile)))
            seconds = yardstick_s(counts[part], quantile, least) if part in counts else None
            if seconds is not None:
                found[metric] = seconds
        feature.put(floor(now_s) + 1.0, found)
