"""Units between their first request and their age: which request stands for a unit, and what it came to.

Nothing here may depend on the arm but the outcome itself: not which request it is, not when it is looked at, not
whether it is kept when there are too many. See docs/decisions/0015.
"""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.outcome import CALLER_ERRORS_FROM, UNDER_WAY, Outcome
from rollout.core.claims import DIGEST_BITS
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.outcome import Record

WAITING_MAX = 50_000
PATIENCE_S = 10.0
"""Who waits this long for an answer to begin, and leaves, was failed."""
NOT_THE_ARMS = frozenset({"caller_stalled", "draining"})


class Unit(NamedTuple):
    """A unit as its first request shows it. `arrived_s`: Unix time; `revision`: of the flag at the draw.

    `success`: 1 or 0; None when it is left out, that is to be scored at its prediction.
    """

    arrived_s: float
    digest: int
    feature: str
    revision: int
    candidate: bool
    success: float | None


def unit_of(record: Record) -> Unit | None:
    """The unit of a request, settled or under way; None if it is none: not drawn, nothing gathered, nobody asked."""
    if not record.unit_digest or not record.attempts:
        return None
    return Unit(
        record.at_s - record.duration_s,
        record.unit_digest,
        record.feature,
        record.revision,
        record.assigned == Arm.CANDIDATE,
        success_of(record),
    )


def success_of(record: Record) -> float | None:
    """Whether the assigned arm gave an answer: 1 or 0, None if that is not for the arm to say."""
    if record.attempts > 1:
        return 0.0
    begun = 0 < record.status < CALLER_ERRORS_FROM
    if record.outcome == UNDER_WAY:
        return float(begun)
    if record.outcome == Outcome.CANCELLED:
        return None if begun or record.duration_s < PATIENCE_S else 0.0
    if record.cause in NOT_THE_ARMS:
        return None
    return float(record.outcome == Outcome.OK)


class Waiting:
    """One worker's units that have not come of age. `thinned`: those given up because there were too many."""

    def __init__(self, age_s: float, most: int = WAITING_MAX) -> None:
        """`most`: units that wait at once, beyond it the half with the larger digests is given up, now and later."""
        self._age_s, self._most = age_s, most
        self._units: dict[tuple[str, int], Unit] = {}
        self._below = 1 << DIGEST_BITS
        self._handed_out_s = 0
        self.thinned = 0

    def __len__(self) -> int:
        return len(self._units)

    def add(self, records: Iterable[Record]) -> None:
        """Take requests that have settled; of a unit the one that arrived first is kept.

        What arrived before the last `due` looked was under way then, and handed out.
        """
        for record in records:
            unit = unit_of(record)
            if unit is not None:
                self._keep(unit)

    def due(self, now_s: float, under_way: Iterable[Record]) -> list[Unit]:
        """Hand out, in order of arrival, all units whose first request came before the whole second `now_s` - age.

        `under_way`: of the requests that have not settled at least those as old. Of those that have, all must have been
        added before.
        """
        self.add(under_way)
        until_s = floor(now_s - self._age_s)
        due = sorted(unit for unit in self._units.values() if unit.arrived_s < until_s)
        for unit in due:
            del self._units[unit.feature, unit.digest]
        self._handed_out_s = until_s  # also if the clock was set back: then some come again, and are not new
        return due

    def _keep(self, unit: Unit) -> None:
        if unit.arrived_s < self._handed_out_s:
            return
        if unit.digest >= self._below:
            self.thinned += 1
            return
        key = (unit.feature, unit.digest)
        known = self._units.get(key)
        if known is None or unit.arrived_s < known.arrived_s:
            self._units[key] = unit
            if len(self._units) > self._most:
                self._thin()

    def _thin(self) -> None:
        while len(self._units) > self._most:
            self._below //= 2
            kept = {key: unit for key, unit in self._units.items() if unit.digest < self._below}
            self.thinned += len(self._units) - len(kept)
            self._units = kept
