"""Units between their first request and their age: which request stands for a unit, and what it came to.

Nothing here may depend on the arm but the outcome itself: not which request it is, not when it is looked at, not
whether it is kept when there are too many. See docs/decisions/0015.
"""

from __future__ import annotations

from enum import Enum
from math import floor
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.left_out import Why
from gateway.core.outcome import CALLER_ERRORS_FROM, UNDER_WAY, Outcome
from gateway.core.thinning import QUIET_S, Thinning
from rollout.core.claims import DIGEST_BITS
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.outcome import Record

WAITING_MAX = 50_000
PATIENCE_S = 10.0
"""Who waits this long for an answer to begin, and leaves, was failed."""
NOT_THE_ARMS = frozenset({"caller_stalled", "draining"})
_TOKENS_WITH_A_GAP = 2


class End(Enum):
    """How far a unit's first request has come at its age."""

    ANSWERED = "answered"
    FAILED = "failed"
    LEFT = "left"
    """Its caller has left, before what they waited for was over."""
    OPEN = "open"
    """Under way."""
    OUTSIDE = "outside"
    """Ended by what is not the arm's: the gateway ends, the caller stopped reading."""


class Unit(NamedTuple):
    """A unit as its first request shows it. `arrived_s`: Unix time; `revision`: of the flag at the draw.

    `age_s`: when it is looked at, after its arrival. `success`: 1 or 0; None when it is left out, that is to be scored
    at its prediction. Times since arrival: `total_s` so far or in all, `ttft_s` None if no content has come, or not in
    a stream; `gap_s` between tokens, None where there are none to speak of. `stream`: whether one was asked for.
    `tenant`: whose request it was; ids of two tenants may be the same.
    """

    arrived_s: float
    digest: int
    feature: str
    revision: int
    candidate: bool
    age_s: float
    request_id: str
    success: float | None
    end: End
    total_s: float
    ttft_s: float | None = None
    gap_s: float | None = None
    stream: bool = False
    tenant: str = ""


def is_unit(record: Record) -> bool:
    """Whether a request may stand for a unit: not if nothing was drawn, nothing is gathered or nobody was asked.

    Nor what an SDK marks as a retry: it is there because an earlier one failed, which might be counted later than it.
    """
    return record.unit_digest != 0 and record.attempts > 0 and not record.client_retries


def unit_of(record: Record, age_s: float) -> Unit:
    """The unit of a request (see `is_unit`), settled or under way."""
    return Unit(
        record.at_s - record.duration_s,
        record.unit_digest,
        record.feature,
        record.revision,
        record.assigned == Arm.CANDIDATE,
        age_s,
        record.request_id,
        success_of(record),
        end_of(record),
        record.duration_s,
        record.ttft_s,
        _gap_s(record),
        record.stream,
        record.tenant,
    )


def success_of(record: Record) -> float | None:
    """Whether the assigned arm gave an answer: 1 or 0, None if that is not for the arm to say.

    Who leaves an answer that has begun was given one, as who is still reading it at its age.
    """
    if record.attempts > 1:
        return 0.0
    if record.outcome == UNDER_WAY:
        return float(_begun(record))
    if record.outcome == Outcome.CANCELLED:
        return 1.0 if _begun(record) else 0.0 if _gave_up(record) else None
    if record.cause in NOT_THE_ARMS:
        return None
    return float(record.outcome == Outcome.OK)


def end_of(record: Record) -> End:
    """How far it has come for its caller, whoever answered."""
    if record.outcome == UNDER_WAY:
        return End.OPEN
    if record.outcome == Outcome.CANCELLED:
        return End.FAILED if _gave_up(record) else End.LEFT
    if record.cause in NOT_THE_ARMS:
        return End.OUTSIDE
    return End.ANSWERED if record.outcome == Outcome.OK else End.FAILED


def _begun(record: Record) -> bool:
    return 0 < record.status < CALLER_ERRORS_FROM


def _gave_up(record: Record) -> bool:
    """Whether a caller who left had waited long enough for an answer to begin."""
    return not _begun(record) and record.duration_s >= PATIENCE_S


def _gap_s(record: Record) -> float | None:
    tokens, ttft_s = record.completion_tokens, record.ttft_s
    if tokens is None or tokens < _TOKENS_WITH_A_GAP or ttft_s is None:
        return None
    return max(0.0, record.duration_s - ttft_s) / (tokens - 1)


_Key = tuple[str, int]


class Waiting:
    """One worker's units that have not come of age. `thinned`: those given up because there were too many.

    `ageless`: requests of revisions of which nobody knows the age.
    """

    def __init__(
        self,
        age_s_of: Callable[[str, int], float | None],
        most: int = WAITING_MAX,
        lose: Callable[[Unit, Why], None] = lambda _unit, _why: None,
    ) -> None:
        """`age_s_of`: by feature and revision; None where that is unknown.

        `most`: units that wait at once, beyond it the half with the larger digests is given up, now and until there is
        room again. Of those so many are remembered, and stay away: a later turn must not stand in for the first.
        `lose`: told of each that is given up.
        """
        self._age_s_of, self._most, self._lose = age_s_of, most, lose
        self._units: dict[_Key, Unit] = {}
        self._seconds: dict[float, dict[int, set[_Key]]] = {}
        """The same by age and second of arrival: who is due is found without a look at all."""
        self._thinning = Thinning(1 << DIGEST_BITS)
        self._gone: dict[int, None] = {}
        self._looked_s = 0.0
        self.thinned = self.ageless = 0

    def __len__(self) -> int:
        return len(self._units)

    def add(self, records: Iterable[Record]) -> None:
        """Take requests that have settled; of a unit the one that arrived first is kept.

        What had come of age when `due` looked last was under way then, and handed out.
        """
        for record in records:
            if not is_unit(record):
                continue
            age_s = self._age_s_of(record.feature, record.revision)
            if age_s is None:
                self.ageless += 1
                self._lose(unit_of(record, 0.0), Why.UNPLACED)
            else:
                self._keep(unit_of(record, age_s))

    def due(self, now_s: float, under_way: Iterable[Record]) -> list[Unit]:
        """Hand out, in order of arrival, all units whose first request came before the whole second `now_s` - age.

        `under_way`: of the requests that have not settled at least those as old; younger ones are for a later look,
        when more is known of them. Of those that have, all must have been added before.
        """
        for record in under_way:
            if is_unit(record):
                age_s = self._age_s_of(record.feature, record.revision)
                if age_s is not None and record.at_s - record.duration_s < floor(now_s - age_s):
                    self._keep(unit_of(record, age_s))
        quiet = len(self._units) <= self._most // 4
        self._thinning.rest(now_s, quiet=quiet, for_s=max((QUIET_S, *self._seconds)))
        due: list[Unit] = []
        for age_s, seconds in self._seconds.items():
            until_s = floor(now_s - age_s)
            for second in [each for each in seconds if each < until_s]:
                due += [self._units.pop(key) for key in seconds.pop(second)]
        self._seconds = {age_s: seconds for age_s, seconds in self._seconds.items() if seconds}
        self._looked_s = now_s  # also if the clock was set back: then some come again, and are not new
        due.sort()  # no two agree in arrival, digest and feature
        return due

    def give_up(self) -> int:
        """Let go of all; how many there were."""
        units, self._units, self._seconds = self._units, {}, {}
        for unit in units.values():
            self._lose(unit, Why.ENDED)
        return len(units)

    def _keep(self, unit: Unit) -> None:
        if unit.arrived_s < floor(self._looked_s - unit.age_s):
            return
        if unit.digest in self._gone or unit.digest >= self._thinning.at(unit.arrived_s):
            self._leave_out(unit)
            return
        key = (unit.feature, unit.digest)
        known = self._units.get(key)
        if known is None or unit.arrived_s < known.arrived_s:
            if known is not None:
                self._seconds[known.age_s][floor(known.arrived_s)].discard(key)
            self._units[key] = unit
            self._seconds.setdefault(unit.age_s, {}).setdefault(floor(unit.arrived_s), set()).add(key)
            if len(self._units) > self._most:
                self._thin()

    def _thin(self) -> None:
        while len(self._units) > self._most:
            self._thinning.halve()
            below = self._thinning.limit
            for unit in [each for each in self._units.values() if each.digest >= below]:
                key = (unit.feature, unit.digest)
                del self._units[key]
                self._seconds[unit.age_s][floor(unit.arrived_s)].discard(key)
                self._leave_out(unit)

    def _leave_out(self, unit: Unit) -> None:
        self.thinned += 1
        self._gone.pop(unit.digest, None)
        self._gone[unit.digest] = None
        if len(self._gone) > self._most:
            del self._gone[next(iter(self._gone))]
        self._lose(unit, Why.THINNED)
