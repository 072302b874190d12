"""Whether the units that were counted came in the proportion that the share promises: a ramp that can't say so stops.

Counted with the sums of evidence, by the share in force at the draw. A mismatch means that something loses units of one
arm, so nothing that was measured can be trusted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import sample_ratio
from rollout.core.evidence.counts import ArmCounts
from rollout.core.evidence.eprocess import value_of
from rollout.core.evidence.stored_rows import counts_in, numbers_in
from rollout.core.gates import Result, Verdict
from rollout.core.model import BUCKETS
from rollout.core.sums import SumKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.ramp_model import Progress

CANDIDATE, BASELINE = 0, 1
"""Elements of the vector."""
_PREFIX = "units."
_NAME = "sample-ratio"
_ARMS = 2


def units_key(feature: str, progress: Progress, share_millipct: int) -> SumKey:
    """Where units are counted that were drawn with this share in this attempt."""
    return SumKey(feature, progress.attempt, f"{_PREFIX}{share_millipct}")


def arms_of(feature: str, progress: Progress, sums: Mapping[SumKey, Sequence[int]]) -> ArmCounts:
    """The units of each arm that were counted in this attempt, by share; InvalidArgument for what can't be read."""
    found = sorted(
        _row(key.name, vector)
        for key, vector in sums.items()
        if (key.feature, key.epoch) == (feature, progress.attempt) and key.name.startswith(_PREFIX)
    )
    return ArmCounts(tuple(row for row in found if 0 < row[0] < BUCKETS))


def _row(name: str, vector: Sequence[int]) -> tuple[int, int, int]:
    (share,) = numbers_in(name, name.removeprefix(_PREFIX), 1)
    counts = counts_in(name, vector, _ARMS, least=_ARMS)
    return share, counts[CANDIDATE], counts[BASELINE]


def sample_ratio_of(
    feature: str, progress: Progress, sums: Mapping[SumKey, Sequence[int]], now_s: float
) -> Verdict | None:
    """What the arms' sizes say; FAIL once they are proven wrong, ERROR if they can't be read. None of no unit."""
    try:
        arms = arms_of(feature, progress, sums)
    except InvalidArgument as fault:
        return Verdict(_NAME, Result.ERROR, fault.cause, now_s, from_s=progress.ramp_began_s)
    if not arms.by_share:
        return None
    candidates = sum(row[1] for row in arms.by_share)
    units = candidates + sum(row[2] for row in arms.by_share)
    expected = sum(share * (candidate + baseline) for share, candidate, baseline in arms.by_share) / BUCKETS
    return Verdict(
        _NAME,
        Result.FAIL if sample_ratio.mismatch(arms) else Result.PASS,
        f"{candidates} of {units} units are the candidate's, {expected:.0f} were expected",
        now_s,
        from_s=progress.ramp_began_s,
        value=value_of(sample_ratio.log_value(arms)),
        limit=1 / sample_ratio.ALPHA,
        samples=units,
    )
