"""Harm by errors: from the counts in the store to one e-value, by the bets of `error_bets`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rollout.core.evidence import error_bets, restart
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
from rollout.core.evidence.names import ERRORS, is_gathered
from rollout.core.evidence.plans import ErrorCounts, error_counts, final_margins
from rollout.core.evidence.stored_rows import counts_in

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.evidence.restart import Carried
    from rollout.core.model import FeatureFlag
    from rollout.core.sums import Replacement, SumKey

_COUNTS = len(ErrorCounts._fields)


class Seen(NamedTuple):
    """Counts by epoch and share; `before`: totals of the epochs up to `folded`, which are not among them.

    `late`: by share, what came for those epochs after they were folded.
    """

    folded: int
    before: ErrorCounts
    by_epoch: Mapping[int, Mapping[int, ErrorCounts]]
    late: Mapping[int, ErrorCounts] = {}

    @property
    def total(self) -> ErrorCounts:
        """Of all epochs, of every share."""
        rows = (*self.by_epoch.values(), self.late)
        return _added(self.before, *(found for counts in rows for found in counts.values()))


def seen_of(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]]) -> Seen:
    """What was counted in this attempt."""
    name = folded_name(_prefix(flag))
    head = vector_at(flag, sums, name)
    folded, before = (
        (head[0], ErrorCounts(*counts_in(name, head[1:], _COUNTS))) if head else (NOT_FOLDED, ErrorCounts())
    )
    by_epoch: dict[int, dict[int, ErrorCounts]] = {}
    late: dict[int, ErrorCounts] = {}
    for _, epoch, share, found in error_counts(flag, sums):
        counts = by_epoch.setdefault(epoch, {}) if epoch > folded else late
        counts[share] = _added(counts.get(share, ErrorCounts()), found)
    return Seen(folded, before, by_epoch, late)


def harm_log_value(flag: FeatureFlag, margin: float, sums: Mapping[SumKey, Sequence[int]]) -> float:
    """Log E against "the candidate fails in at most `margin` more of the units than the baseline"."""
    seen = seen_of(flag, sums)
    return error_bets.log_value(seen.by_epoch, margin, _carried(flag, margin, sums, seen.late))


def errors_fold(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float) -> Replacement | None:
    """Fold the counts of epochs that are over; None if there is nothing to do."""
    seen, prefix = seen_of(flag, sums), _prefix(flag)
    last = last_over(flag, flag.evidence.age_s, now_s)
    over = sorted(epoch for epoch in seen.by_epoch if epoch <= last)[:EPOCHS_AT_ONCE]
    gone = [
        f"{prefix}.{step}.{epoch}.{share}"
        for step, epoch, share, _ in error_counts(flag, sums)
        if epoch <= seen.folded or epoch in over
    ]
    if not gone:
        return None
    kept = seen._replace(by_epoch={epoch: seen.by_epoch[epoch] for epoch in over})
    instead = {folded_name(prefix): [max((seen.folded, *over)), *kept.total]}
    for margin in sorted(_margins(flag)):
        growth = {epoch: error_bets.log_growth(counts, margin) for epoch, counts in kept.by_epoch.items()}
        carried = restart.carry(growth, _carried(flag, margin, sums, seen.late))
        if carried is not None:
            instead[_carried_name(flag, margin)] = vector_of_carried(carried)
    return replacing(flag, sums, gone, instead)


def _margins(flag: FeatureFlag) -> set[float]:
    return final_margins([each for each in flag.gates if each.metric == ERRORS and is_gathered(each)])


def _carried(
    flag: FeatureFlag, margin: float, sums: Mapping[SumKey, Sequence[int]], late: Mapping[int, ErrorCounts]
) -> Carried | None:
    carried = carried_at(flag, sums, _carried_name(flag, margin), len(error_bets.BETS))
    return with_late(carried, error_bets.log_growth(late, margin)) if late else carried


def _carried_name(flag: FeatureFlag, margin: float) -> str:
    """Where what is carried over of a margin is."""
    return folded_name(_prefix(flag), error_bets.BETS_VERSION, f"{margin:g}")


def _prefix(flag: FeatureFlag) -> str:
    return f"{ERRORS}.{round(flag.evidence.age_s)}"


def _added(*parts: ErrorCounts) -> ErrorCounts:
    return ErrorCounts(*map(sum, zip(*parts, strict=True)))
