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
from rollout.core.claims import DIGEST_BITS, REMEMBER_FLUSH_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HELD_MAX = 100_000
RATED_MAX = 50_000
RATED_LATE_S = REMEMBER_FLUSH_S
"""How long after the age of ratings a unit may be asked for: its claim may have waited for the store."""
RATINGS_MAX = 100_000
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
        """Hand over all, `count` at a time, those of one revision together; nothing is left here."""
        rest, self._heap = sorted(self._heap, key=lambda each: (each.feature, each.revision)), []
        for start in range(0, len(rest), count):
            yield tuple(rest[start : start + count])

    def give_up(self) -> int:
        """Let go of all; how many there were."""
        units, self._heap = self._heap, []
        for unit in units:
            self._lose(unit, Why.ENDED)
        return len(units)

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


class _Said(NamedTuple):
    """Of one unit. `since_s`: when the first of it was said, Unix time; `values`: by tenant, request id and kind."""

    since_s: float
    values: dict[tuple[str, str, str], float]


class Ratings:
    """What callers have said of units, by feature and digest; the last one of each request and kind counts.

    `lost` (counter): units whose ratings were forgotten because there were too many.
    """

    def __init__(self, most: int = RATED_MAX, ratings_most: int = RATINGS_MAX) -> None:
        """`most`: units with ratings, `ratings_most`: those of all; beyond it the units rated first are forgotten."""
        self._most, self._ratings_most = most, ratings_most
        self._of: dict[tuple[str, int], _Said] = {}
        """In the order in which they were rated first."""
        self._count = self.lost = 0

    def __len__(self) -> int:
        return len(self._of)

    def add(
        self, feature: str, digest: int, request: tuple[str, str], kind: str, value: float, *, now_s: float
    ) -> None:
        """Take one. `request`: tenant and id; `value`: in [0, 1]; `now_s`: Unix time."""
        unit = (feature, digest)
        said = self._of.get(unit)
        if said is None:
            said = self._of[unit] = _Said(now_s, {})
        key = (*request, kind)
        if key not in said.values:
            if len(said.values) >= RATINGS_OF_A_UNIT_MAX:
                return
            self._count += 1
        said.values[key] = value
        while len(self._of) > self._most or self._count > self._ratings_most:
            self.take(*next(iter(self._of)))
            self.lost += 1

    def take(self, feature: str, digest: int) -> list[float]:
        """All of a unit, in any order; they are forgotten."""
        said = self._of.pop((feature, digest), None)
        if said is None:
            return []
        self._count -= len(said.values)
        return sorted(said.values.values())

    def forget(self, before_s: float) -> None:
        """Let go of units that were rated first before then: somebody else holds those, or nobody."""
        while self._of:
            unit, said = next(iter(self._of.items()))
            if said.since_s >= before_s:
                break
            self.take(*unit)
