"""Whether units are still looked at while requests come: what nobody looks at shows no harm, and must not pass for it.

| name | vector |
| --- | --- |
| `watch.{epoch}` | `Watched`, by when they arrived |

Both are counted by sinks of their own, so that one may fail while the other goes on. Units that were known count as
looked at: ids that come again are no silence. Nor is a night without requests, nor one worker that was killed with the
units of one age: only requests that came for longer than that, none of which anybody has looked at.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.evidence.carrying import EPOCHS_AT_ONCE, last_over, replacing
from rollout.core.evidence.names import age_s_of
from rollout.core.evidence.plans import EPOCH_S, epoch_of
from rollout.core.evidence.stored_rows import counts_in, numbers_in
from rollout.core.sums import SumKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Gate, Progress
    from rollout.core.sums import Replacement

PATIENCE_S = 180.0
"""How long after their age units may take to be counted, while the store is slow."""
_PREFIX = "watch."


class Watched(NamedTuple):
    """A vector as it is: requests that may stand for a unit, and units that were looked at, new or known."""

    requests: int = 0
    units: int = 0


ELEMENTS = len(Watched._fields)


def watched_key(feature: str, progress: Progress, arrived_s: float) -> SumKey:
    """Where requests and units are counted that arrived at this Unix time."""
    return SumKey(feature, progress.attempt, f"{_PREFIX}{epoch_of(progress, arrived_s)}")


def silence_of(gate: Gate, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float) -> str:
    """Why a gate on drawn units sees nothing of what goes on, empty if it does; InvalidArgument for foreign sums."""
    watched = _watched(flag, sums)
    due = epoch_of(flag.progress, now_s - age_s_of(flag, gate.metric) - PATIENCE_S)
    seen = _last_seen(watched)
    unseen = [epoch for epoch in sorted(watched) if seen < epoch < due]
    if not unseen or (unseen[-1] - unseen[0]) * EPOCH_S <= flag.evidence.age_s + EPOCH_S:
        return ""
    requests = sum(watched[epoch].requests for epoch in unseen)
    since = datetime.fromtimestamp(flag.progress.ramp_began_s + unseen[0] * EPOCH_S, UTC)
    return f"{requests} requests since {since:%Y-%m-%d %H:%M} UTC, no unit of them has come of age"


def silence_fold(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float) -> Replacement | None:
    """Keep of the epochs that are over what tells of a silence: the last seen, the first and the last unseen one.

    None if there is nothing to do.
    """
    watched = _watched(flag, sums)
    seen, last = _last_seen(watched), last_over(flag, flag.evidence.age_s, now_s)
    over = [epoch for epoch in sorted(watched) if epoch <= last]
    unseen = [epoch for epoch in over if epoch > seen]
    between = unseen[1:-1][:EPOCHS_AT_ONCE]
    before = [epoch for epoch in over if epoch < seen][:EPOCHS_AT_ONCE]
    if not before and not between:
        return None
    instead = {}
    if between:
        requests = sum(watched[epoch].requests for epoch in (unseen[0], *between))
        instead[f"{_PREFIX}{unseen[0]}"] = [requests, 0]
    return replacing(flag, sums, [f"{_PREFIX}{epoch}" for epoch in (*before, *between)], instead)


def _watched(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]]) -> dict[int, Watched]:
    return {
        numbers_in(key.name, key.name.removeprefix(_PREFIX), 1)[0]: Watched(*counts_in(key.name, vector, ELEMENTS))
        for key, vector in sums.items()
        if key.name.startswith(_PREFIX) and (key.feature, key.epoch) == (flag.feature, flag.progress.attempt)
    }


def _last_seen(watched: Mapping[int, Watched]) -> int:
    """The last epoch of which a unit was looked at; below 0 if there is none."""
    return max((epoch for epoch, found in watched.items() if found.units), default=-1)
