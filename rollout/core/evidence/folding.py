"""The sums of one series, of the step and of the ramp, with the epochs that were folded; and what is to be folded next.

| name | vector |
| --- | --- |
| `folded.{prefix}` | the last epoch that is folded, and the latest step in it |
| `folded.{prefix}.ramp`, `.step` | sums of the folded epochs, and those of that step alone |
| `folded.{prefix}.{row}` | what is carried over of a harm margin, then of the floors |

Folded or not, verdicts have the same bits. What comes for an epoch after it was folded (a worker's clock is late, or
that of who folds is fast) is added to what is folded: it proves as much, and counts for the last epoch in it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import restart
from rollout.core.evidence.carrying import (
    EPOCHS_AT_ONCE,
    NOT_FOLDED,
    carried_at,
    folded_name,
    last_over,
    replacing,
    vector_at,
    vector_of_carried,
    with_late,
)
from rollout.core.evidence.eprocess import LAMBDAS
from rollout.core.evidence.error_harm import errors_fold
from rollout.core.evidence.fixed_point import real
from rollout.core.evidence.known import once
from rollout.core.evidence.ledger import MetricSums, add, nothing
from rollout.core.evidence.names import age_s_of
from rollout.core.evidence.plans import series_of, step_of, stored, sums_of, vector_of
from rollout.core.evidence.silence import Watch, silence_fold
from rollout.core.evidence.stored_rows import UNUSABLE, told, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rollout.core.evidence.plans import Series
    from rollout.core.evidence.restart import Carried
    from rollout.core.model import FeatureFlag
    from rollout.core.sums import Replacement, SumKey

_RAMP, _STEP = "ramp", "step"
_OF_HEAD = 2


class Gathered(NamedTuple):
    """Of one series. `by_epoch`: epochs that are not folded; `carried`: of the others, by harm margin, then floor."""

    step: MetricSums
    ramp: MetricSums
    by_epoch: Mapping[int, MetricSums]
    carried: tuple[Carried | None, ...]


class _Folded(NamedTuple):
    """The part that is folded. `step`: the latest step in it (see `step_of`)."""

    up_to: int
    step: int
    of_step: MetricSums
    of_ramp: MetricSums
    carried: tuple[Carried | None, ...]


def gathered_of(flag: FeatureFlag, series: Series, sums: Mapping[SumKey, Sequence[int]]) -> Gathered:
    """What was added up in this attempt; InvalidArgument for vectors that are not of this series."""
    question = (gathered_of, flag.feature, flag.progress.attempt, step_of(flag.progress), series.prefix)
    return once(sums, question, lambda: _gathered(flag, series, sums))


def _gathered(flag: FeatureFlag, series: Series, sums: Mapping[SumKey, Sequence[int]]) -> Gathered:
    before, step = _folded(flag, series, sums), step_of(flag.progress)
    rows = list(stored(flag.feature, flag.progress, series, sums))
    folded = _carried_on(series, before, [row for row in rows if row[1] <= before.up_to])
    of_step = folded.of_step if folded.step == step else nothing(series.plan)
    of_ramp = folded.of_ramp
    by_epoch: dict[int, MetricSums] = {}
    for each_step, epoch, found in rows:
        if epoch <= before.up_to:
            continue
        by_epoch[epoch] = add(by_epoch[epoch], found) if epoch in by_epoch else found
        of_ramp = add(of_ramp, found)
        if each_step == step:
            of_step = add(of_step, found)
    return Gathered(of_step, of_ramp, by_epoch, folded.carried)


def folds_of(
    flag: FeatureFlag,
    sums: Mapping[SumKey, Sequence[int]],
    now_s: float,
    left: Callable[[str], None] = lambda _: None,
) -> Iterator[Replacement]:
    """What is to be replaced in the store at Unix time `now_s`. Sums that can't be read stay: `left` is told why."""
    if not flag.progress.attempt:
        return
    try:
        series = series_of(flag)
    except InvalidArgument:  # its gates ask too much, and say so: nothing was gathered
        return
    folds = (partial(_fold, flag, each, sums, now_s) for each in series)
    watches = (partial(silence_fold, flag, sums, now_s, watch) for watch in Watch)
    for fold in (*folds, partial(errors_fold, flag, sums, now_s), *watches):
        try:
            found = fold()
        except UNUSABLE as fault:
            left(told(fault))
        else:
            if found is not None:
                yield found


def _fold(flag: FeatureFlag, series: Series, sums: Mapping[SumKey, Sequence[int]], now_s: float) -> Replacement | None:
    before = _folded(flag, series, sums)
    question = (stored, flag.feature, flag.progress.attempt, series.prefix)
    rows = once(sums, question, lambda: sorted(stored(flag.feature, flag.progress, series, sums), key=_when))
    last = last_over(flag, age_s_of(flag, series.metric), now_s)
    over = sorted({epoch for _, epoch, _ in rows if before.up_to < epoch <= last})[:EPOCHS_AT_ONCE]
    taken = [row for row in rows if row[1] <= before.up_to or row[1] in over]
    if not taken:
        return None
    gone = [f"{series.prefix}.{step}.{epoch}" for step, epoch, _ in taken]
    after = _carried_on(series, before, taken)
    instead = {
        folded_name(series.prefix): [after.up_to, after.step],
        folded_name(series.prefix, _RAMP): vector_of(after.of_ramp),
        folded_name(series.prefix, _STEP): vector_of(after.of_step),
    }
    instead |= {
        folded_name(series.prefix, row): vector_of_carried(carried)
        for row, carried in enumerate(after.carried)
        if carried is not None
    }
    return replacing(flag, sums, gone, instead)


def _when(row: tuple[int, int, MetricSums]) -> tuple[int, int]:
    return row[:2]


def _carried_on(series: Series, before: _Folded, rows: Sequence[tuple[int, int, MetricSums]]) -> _Folded:
    """Fold `rows`, whole epochs and what is late for those before, on top of what is folded."""
    step = max((before.step, *(each for each, _, _ in rows)))
    of_step = before.of_step if step == before.step else nothing(series.plan)
    of_ramp = before.of_ramp
    by_epoch: dict[int, MetricSums] = {}
    for each, entered, found in rows:
        epoch = max(entered, before.up_to)
        by_epoch[epoch] = add(by_epoch[epoch], found) if epoch in by_epoch else found
        of_ramp = add(of_ramp, found)
        if each == step:
            of_step = add(of_step, found)
    late = by_epoch.pop(before.up_to, nothing(series.plan))
    carried = tuple(
        restart.carry(
            {epoch: _growth(sums, row) for epoch, sums in by_epoch.items()}, with_late(each, _growth(late, row))
        )
        for row, each in enumerate(before.carried)
    )
    return _Folded(max((before.up_to, *by_epoch)), step, of_step, of_ramp, carried)


def _folded(flag: FeatureFlag, series: Series, sums: Mapping[SumKey, Sequence[int]]) -> _Folded:
    def part(*name: object) -> Sequence[int]:
        return vector_at(flag, sums, folded_name(series.prefix, *name))

    head = part()
    if len(head) not in {0, _OF_HEAD}:
        raise unreadable(folded_name(series.prefix))
    up_to, step = head or (NOT_FOLDED, NOT_FOLDED)
    none = nothing(series.plan)
    of_step, of_ramp = (sums_of(series.plan, vector) if vector else none for vector in (part(_STEP), part(_RAMP)))
    carried = tuple(
        carried_at(flag, sums, folded_name(series.prefix, row), len(LAMBDAS)) for row in range(len(_bets(none)))
    )
    return _Folded(up_to, step, of_step, of_ramp, carried)


def _growth(sums: MetricSums, row: int) -> list[float]:
    return [real(log) for log in _bets(sums)[row]]


def _bets(sums: MetricSums) -> tuple[tuple[int, ...], ...]:
    """The rows that are restarted: of harm, then of floors."""
    return (*sums.harm, *sums.floors)
