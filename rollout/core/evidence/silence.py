"""Whether units are still looked at while requests come: what nobody looks at shows no harm, and must not pass for it.

| name | vector |
| --- | --- |
| `watch.{epoch}` | `Watched`, by when they arrived |
| `checks.{epoch}` | the same of units whose answers are sampled for free checks, and those that were checked |
| `pairs.{epoch}` | the same of shadow calls, by when they ended, and pairs with a score, or none by rule (budgets) |

Requests and units are counted by sinks of their own, so that one may fail while the other goes on. Units that were
known count as looked at: ids that come again are no silence. Nor is a night without requests, nor one worker that was
killed with the units of one age: only requests that came for longer than that, none of which anybody has looked at.
Checks and pairs are few, so that theirs is `SPARSE_S` at least.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.evidence.carrying import EPOCHS_AT_ONCE, last_over, replacing
from rollout.core.evidence.names import FORM, JUDGE, age_s_of
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
SPARSE_S = 1_800.0
"""For how long samples have to come in vain."""
PAIR_AGE_S = 1_800.0
"""Until when a pair has a score or never gets one: it waits for 15 min, and is asked about in a few (settings)."""


class Watch(StrEnum):
    """What is watched."""

    UNITS = "watch"
    CHECKS = "checks"
    PAIRS = "pairs"


_TOLD = {
    Watch.UNITS: "requests since {since}, no unit of them has come of age",
    Watch.CHECKS: "units of the sample since {since}, no answer of them was checked",
    Watch.PAIRS: "shadow calls since {since}, no pair of them has a score",
}


class Watched(NamedTuple):
    """A vector as it is: requests that may stand for a unit, and units that were looked at, new or known."""

    requests: int = 0
    units: int = 0


ELEMENTS = len(Watched._fields)


def watched_key(feature: str, progress: Progress, arrived_s: float, watch: Watch = Watch.UNITS) -> SumKey:
    """Where requests and units are counted that arrived at this Unix time."""
    return SumKey(feature, progress.attempt, f"{watch}.{epoch_of(progress, arrived_s)}")


def silence_of(gate: Gate, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float) -> str:
    """Why a gate sees nothing of what goes on, empty if it does; InvalidArgument for foreign sums."""
    if gate.metric == JUDGE:
        # Who asks for no copies wants no more pairs.
        return _told(flag, sums, Watch.PAIRS, PAIR_AGE_S, now_s) if flag.shadow.millipct else ""
    age_s = age_s_of(flag, gate.metric)
    of_units = _told(flag, sums, Watch.UNITS, age_s, now_s)
    return of_units or (_told(flag, sums, Watch.CHECKS, age_s, now_s) if gate.metric == FORM else "")


def silence_fold(
    flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float, watch: Watch = Watch.UNITS
) -> Replacement | None:
    """Keep of the epochs that are over what tells of a silence: the last seen, the first and the last unseen one.

    None if there is nothing to do.
    """
    watched = _watched(flag, sums, watch)
    age_s = PAIR_AGE_S if watch is Watch.PAIRS else flag.evidence.age_s
    seen, last = _last_seen(watched), last_over(flag, age_s, now_s)
    over = [epoch for epoch in sorted(watched) if epoch <= last]
    unseen = [epoch for epoch in over if epoch > seen]
    between = unseen[1:-1][:EPOCHS_AT_ONCE]
    before = [epoch for epoch in over if epoch < seen][:EPOCHS_AT_ONCE]
    if not before and not between:
        return None
    instead = {}
    if between:
        requests = sum(watched[epoch].requests for epoch in (unseen[0], *between))
        instead[f"{watch}.{unseen[0]}"] = [requests, 0]
    return replacing(flag, sums, [f"{watch}.{epoch}" for epoch in (*before, *between)], instead)


def _told(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], watch: Watch, age_s: float, now_s: float) -> str:
    """What came in vain; `age_s`: how long it takes to look at one."""
    watched = _watched(flag, sums, watch)
    due = epoch_of(flag.progress, now_s - age_s - PATIENCE_S)
    seen = _last_seen(watched)
    unseen = [epoch for epoch in sorted(watched) if seen < epoch < due]
    longest_s = flag.evidence.age_s + EPOCH_S
    if watch is not Watch.UNITS:
        longest_s = max(longest_s, SPARSE_S)
    if not unseen or (unseen[-1] - unseen[0]) * EPOCH_S <= longest_s:
        return ""
    requests = sum(watched[epoch].requests for epoch in unseen)
    since = datetime.fromtimestamp(flag.progress.ramp_began_s + unseen[0] * EPOCH_S, UTC)
    return f"{requests} {_TOLD[watch].format(since=f'{since:%Y-%m-%d %H:%M} UTC')}"


def _watched(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], watch: Watch) -> dict[int, Watched]:
    prefix = f"{watch}."
    return {
        numbers_in(key.name, key.name.removeprefix(prefix), 1)[0]: Watched(*counts_in(key.name, vector, ELEMENTS))
        for key, vector in sums.items()
        if key.name.startswith(prefix) and (key.feature, key.epoch) == (flag.feature, flag.progress.attempt)
    }


def _last_seen(watched: Mapping[int, Watched]) -> int:
    """The last epoch of which a unit was looked at; below 0 if there is none."""
    return max((epoch for epoch, found in watched.items() if found.units), default=-1)
