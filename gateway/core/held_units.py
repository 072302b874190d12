"""Units that were counted once and are looked at again: at the age of callers' ratings, with the ratings known here.

Whoever holds a unit's claim keeps it. What callers say of any request of a unit is joined by the unit's digest, so it
matters neither which turn was rated nor when, as long as it is before that age.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import floor
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.left_out import Why
from gateway.core.thinning import QUIET_S, Thinning
from rollout.core.claims import DIGEST_BITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HELD_MAX = 100_000
RATED_MAX = 50_000
RATINGS_OF_A_UNIT_MAX = 64


class Held(NamedTuple):
    """A counted unit of a place. `at_s`: when its ratings count, Unix time."""

    at_s: float
    arrived_s: float
    feature: str
    revision: int
    digest: int
    candidate: bool


class HeldUnits:
    """One worker's. `thinned`: those given up because there were too many."""

    def __init__(self, most: int = HELD_MAX, lose: Callable[[Held, Why], None] = lambda _held, _why: None) -> None:
        """`most`: beyond it the half with the larger digests is given up, now and until there is room again.

        `lose`: told of each.
        """
        self._most, self._thinning, self._lose = most, Thinning(1 << DIGEST_BITS), lose
        self._heap: list[Held] = []
        self.thinned = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, units: Iterable[Held]) -> None:
        """Keep them until their time."""
        for unit in units:
            if unit.digest < self._thinning.at(unit.arrived_s):
                heappush(self._heap, unit)
                self._thin()
            else:
                self.thinned += 1
                self._lose(unit, Why.THINNED)

    def ripe(self, now_s: float) -> list[Held]:
        """Hand out, in order, those whose time came before the whole second of now."""
        held_s = self._heap[0].at_s - self._heap[0].arrived_s if self._heap else 0.0
        quiet = len(self._heap) <= self._most // 4
        self._thinning.rest(now_s, quiet=quiet, for_s=max(QUIET_S, held_s))
        until_s = floor(now_s)
        found: list[Held] = []
        while self._heap and self._heap[0].at_s < until_s:
            found.append(heappop(self._heap))
        return found

    def give_away(self, count: int) -> Iterator[tuple[Held, ...]]:
        """Hand over all, `count` at a time; nothing is left here."""
        rest, self._heap = self._heap, []
        for start in range(0, len(rest), count):
            yield tuple(rest[start : start + count])

    def _thin(self) -> None:
        while len(self._heap) > self._most:
            self._thinning.halve()
            below = self._thinning.limit
            kept = [unit for unit in self._heap if unit.digest < below]
            heapify(kept)
            self.thinned += len(self._heap) - len(kept)
            for unit in self._heap:
                if unit.digest >= below:
                    self._lose(unit, Why.THINNED)
            self._heap = kept


class Ratings:
    """What callers have said of units, by feature and digest; the last one of each request and kind counts."""

    def __init__(self, most: int = RATED_MAX) -> None:
        """`most`: units with ratings; beyond it the ones rated first are forgotten."""
        self._most = most
        self._of: dict[tuple[str, int], dict[tuple[str, str, str], float]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def add(self, feature: str, digest: int, request: tuple[str, str], kind: str, value: float) -> None:
        """Take one. `request`: tenant and id; `value`: in [0, 1]."""
        unit = (feature, digest)
        known = self._of.get(unit)
        if known is None:
            if len(self._of) >= self._most:
                del self._of[next(iter(self._of))]
            known = self._of[unit] = {}
        key = (*request, kind)
        if key in known or len(known) < RATINGS_OF_A_UNIT_MAX:
            known[key] = value

    def take(self, feature: str, digest: int) -> list[float]:
        """All of a unit, in any order; they are forgotten."""
        return sorted(self._of.pop((feature, digest), {}).values())
