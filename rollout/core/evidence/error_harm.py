"""Harm by errors: from the counts in the store to one e-value, by the exact test on which arm an error came from.

The ratio that is no harm yet is fixed for each epoch by what the baseline did before it (`counts.allowed_ratio`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rollout.core.evidence import counts, restart
from rollout.core.evidence.carrying import (
    EPOCHS_AT_ONCE,
    NOT_FOLDED,
    carried_of,
    folded_name,
    last_over,
    replacing,
    vector_at,
    vector_of_carried,
)
from rollout.core.evidence.counts import ArmCounts
from rollout.core.evidence.names import ERRORS, is_gathered
from rollout.core.evidence.plans import ErrorCounts, error_counts, final_margins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.evidence.restart import Carried
    from rollout.core.model import FeatureFlag
    from rollout.core.sums import Replacement, SumKey

RATIO = 1.25
"""So many times the baseline's errors are no harm, however few those are."""
_SHARES = "shares"
UNITS_BEFORE = 49
"""A baseline of which nothing is known yet is taken for one with half an error in so many units and one: 1 %."""

_WEIGHTS_VERSION = 2
"""What is carried over with other weights (see restart) is not gone on with: they would add up to more than one."""


class Seen(NamedTuple):
    """Counts by epoch; `before`: totals of the epochs up to `folded`, which are not among them."""

    folded: int
    before: ErrorCounts
    arms: Mapping[int, ArmCounts]
    totals: Mapping[int, ErrorCounts]

    @property
    def total(self) -> ErrorCounts:
        """Of all epochs."""
        total = self.before
        for each in self.totals.values():
            total = _added(total, each)
        return total


def seen_of(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]]) -> Seen:
    """What was counted in this attempt. What came for an epoch after it was folded is left out."""
    head = vector_at(flag, sums, folded_name(_prefix(flag)))
    folded, before = (head[0], ErrorCounts(*head[1:])) if head else (NOT_FOLDED, ErrorCounts())
    arms: dict[int, ArmCounts] = {}
    totals: dict[int, ErrorCounts] = {}
    for _, epoch, share, found in error_counts(flag, sums):
        if epoch > folded:
            errors = ArmCounts(((share, found.candidate_errors, found.baseline_errors),))
            arms[epoch] = counts.add(arms.get(epoch, ArmCounts()), errors)
            totals[epoch] = _added(totals.get(epoch, ErrorCounts()), found)
    return Seen(folded, before, arms, totals)


def harm_log_value(flag: FeatureFlag, margin: float, sums: Mapping[SumKey, Sequence[int]]) -> float:
    """Log E against "no more errors than `RATIO` times the baseline's, or `margin` more"."""
    seen = seen_of(flag, sums)
    return restart.log_value(_growth(seen, margin), _carried(flag, sums, margin))


def errors_fold(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float) -> Replacement | None:
    """Fold the counts of epochs that are over; None if there is nothing to do."""
    seen, prefix = seen_of(flag, sums), _prefix(flag)
    over = sorted(epoch for epoch in seen.totals if epoch <= last_over(flag, flag.evidence.age_s, now_s))
    over = over[:EPOCHS_AT_ONCE]
    gone = [
        f"{prefix}.{step}.{epoch}.{share}"
        for step, epoch, share, _ in error_counts(flag, sums)
        if epoch <= seen.folded or epoch in over
    ]
    if not gone:
        return None
    kept = seen._replace(totals={epoch: seen.totals[epoch] for epoch in over})
    instead = {folded_name(prefix): [max((seen.folded, *over)), *kept.total], **_shares_on(flag, sums, over)}
    carried = {name: _carried_on(flag, sums, seen, over, margin) for margin, name in _names(flag).items()}
    instead |= {name: vector_of_carried(each) for name, each in carried.items() if each is not None}
    return replacing(flag, sums, gone, instead)


def folded_by_share(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]]) -> dict[int, ErrorCounts]:
    """What was counted in the epochs that are folded, by share in millipct: for people, the test needs it no more."""
    head = f"{folded_name(_prefix(flag), _SHARES)}."
    return {
        int(key.name.removeprefix(head)): ErrorCounts(*vector)
        for key, vector in sums.items()
        if (key.feature, key.epoch) == (flag.feature, flag.progress.attempt) and key.name.startswith(head)
    }


def _shares_on(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], over: Sequence[int]) -> dict[str, list[int]]:
    kept = folded_by_share(flag, sums)
    for _, epoch, share, found in error_counts(flag, sums):
        if epoch in over:
            kept[share] = _added(kept.get(share, ErrorCounts()), found)
    return {folded_name(_prefix(flag), _SHARES, share): [*each] for share, each in kept.items()}


def _carried_on(
    flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], seen: Seen, over: Sequence[int], margin: float
) -> Carried | None:
    growth = _growth(seen, margin)
    return restart.carry({epoch: growth[epoch] for epoch in over}, _carried(flag, sums, margin))


def _growth(seen: Seen, margin: float) -> dict[int, list[float]]:
    """By epoch, the growth of each alternative."""
    growth, before = {}, seen.before
    for epoch in sorted(seen.arms):
        units = before.baseline_units + UNITS_BEFORE
        allowed = counts.allowed_ratio(before.baseline_errors, units, RATIO, margin)
        growth[epoch] = counts.harm_growth(seen.arms[epoch], allowed)
        before = _added(before, seen.totals[epoch])
    return growth


def _names(flag: FeatureFlag) -> dict[float, str]:
    """By margin, where what is carried over is."""
    margins = final_margins([each for each in flag.gates if each.metric == ERRORS and is_gathered(each)])
    return {margin: _name(flag, margin) for margin in sorted(margins)}


def _carried(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], margin: float) -> Carried | None:
    return carried_of(vector_at(flag, sums, _name(flag, margin)))


def _name(flag: FeatureFlag, margin: float) -> str:
    return folded_name(_prefix(flag), f"{margin:g}", _WEIGHTS_VERSION)


def _prefix(flag: FeatureFlag) -> str:
    return f"{ERRORS}.{round(flag.evidence.age_s)}"


def _added(first: ErrorCounts, second: ErrorCounts) -> ErrorCounts:
    return ErrorCounts(*(one + other for one, other in zip(first, second, strict=True)))
