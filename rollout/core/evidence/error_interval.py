"""The effect behind harm by errors, with the interval that belongs to the count test which decides it.

The test looks for harm from the start of the ramp and afresh from each epoch. Shown is what it says since the start
that speaks loudest for harm: of the whole ramp, or one of the last ten minutes, whose epochs are not folded. Each start
has its weight of the level, so all intervals hold at once, whichever is shown. The ratios of errors that the test does
not reject, at the rate of the baseline that it reckons with, are the differences shown: once all lie beyond the margin,
it is harm.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.duration import format_duration
from rollout.core.evidence import counts, restart
from rollout.core.evidence.counts import ArmCounts
from rollout.core.evidence.eprocess import log_mean_exp
from rollout.core.evidence.error_harm import RATIO, UNITS_BEFORE, folded_by_share, seen_of
from rollout.core.evidence.estimates import LATELY_S, Words, between, text_of
from rollout.core.evidence.interval import Interval
from rollout.core.evidence.plans import EPOCH_S, ErrorCounts, error_counts
from rollout.core.model import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rollout.core.gates import Estimate
    from rollout.core.model import FeatureFlag
    from rollout.core.sums import SumKey

    Sums = Mapping[SumKey, Sequence[int]]
    ByShare = dict[int, ErrorCounts]

_HALVINGS = 24
_LOG_RATIO_MAX = 12.0
"""160,000 times the baseline's errors."""


class _Allowed(NamedTuple):
    """What is no harm: so many times the baseline's errors, at this rate of them."""

    ratio: float
    rate: float


class _Start(NamedTuple):
    """What was counted since an epoch; `value`: ln of its part in the test."""

    epoch: int
    by_share: ByShare
    value: float


def counted(
    flag: FeatureFlag, margin: float, sums: Sums, level: float, now_s: float, *, shown: bool
) -> tuple[Estimate, str] | None:
    """Estimate and text of a gate on harm by errors that decides at `level`; None before any unit was counted.

    `shown`: whether harm is. All starts together may have shown it a little before one of them does alone.
    """
    lately = _lately(flag, now_s)
    allowed = _allowed(flag, margin, sums, lately)
    starts = _starts(flag, sums, allowed.ratio, lately)
    start = max(starts, key=lambda each: max(0.0, each.value), default=None)  # of those that say nothing the earliest
    effect = None if start is None else _effect(start.by_share)
    if start is None or effect is None:
        return None
    asked = (allowed.ratio - 1.0) * allowed.rate
    bounds = _bounds(start, allowed, level)
    upper = max(effect, min(bounds.upper, -asked) if shown else max(bounds.upper, -asked))
    lower = min(bounds.lower, effect)
    since_s = flag.progress.ramp_began_s + start.epoch * EPOCH_S
    estimate = between(effect, Interval(lower, upper), asked, -lower if lower > -1.0 else None, since_s=since_s)
    when = f"in the last {format_duration(max(0.0, now_s - since_s))}" if start.epoch else "in this ramp"
    return estimate, f"{_said(start.by_share)} {when}; {text_of(estimate, Words(more=_ratio(allowed)))}"


def _said(by_share: ByShare) -> str:
    total = ErrorCounts(*map(sum, zip(*by_share.values(), strict=True)))
    ours = f"{total.candidate_errors} of {total.candidate_units} units of the candidate failed"
    return f"{ours}, {total.baseline_errors} of {total.baseline_units} of the baseline"


def _ratio(allowed: _Allowed) -> str:
    return f"harm is more than {allowed.ratio:.3g} times the baseline's errors"


def _lately(flag: FeatureFlag, now_s: float) -> int:
    """The first epoch that is certainly not folded yet: what is shown must not depend on who has folded what."""
    return max(0, restart.epoch_at(now_s - LATELY_S, flag.progress.ramp_began_s, EPOCH_S) + 1)


def _allowed(flag: FeatureFlag, margin: float, sums: Sums, lately: int) -> _Allowed:
    """As the test has it in its latest epoch."""
    seen = seen_of(flag, sums)
    total, last = seen.total, max((epoch for epoch in seen.totals if epoch >= lately), default=None)
    ours = ErrorCounts() if last is None else seen.totals[last]
    errors = total.baseline_errors - ours.baseline_errors
    units = total.baseline_units - ours.baseline_units + UNITS_BEFORE
    return _Allowed(counts.allowed_ratio(errors, units, RATIO, margin), (errors + 0.5) / (units + 1))


def _starts(flag: FeatureFlag, sums: Sums, ratio: float, lately: int) -> list[_Start]:
    """The start of the ramp, and each epoch since `lately`. Without what was folded no start of the ramp."""
    seen, by_epoch = seen_of(flag, sums), _by_epoch(flag, sums)
    folded = folded_by_share(flag, sums)
    since: ByShare = {}
    found = []
    for epoch in sorted(by_epoch, reverse=True):
        since = _merged(since, by_epoch[epoch])
        if epoch >= lately:
            found.append(_start(epoch, since, ratio))
    if sum(each.baseline_units for each in folded.values()) == seen.before.baseline_units:
        whole = _merged(since, folded)
        found += [_start(0, whole, ratio)] if whole else []
    return [*reversed(found)]


def _by_epoch(flag: FeatureFlag, sums: Sums) -> dict[int, ByShare]:
    folded = seen_of(flag, sums).folded
    found: dict[int, ByShare] = {}
    for _, epoch, share, each in error_counts(flag, sums):
        if epoch > folded:
            found[epoch] = _merged(found.get(epoch, {}), {share: each})
    return found


def _merged(first: ByShare, second: ByShare) -> ByShare:
    merged = dict(first)
    for share, each in second.items():
        before = merged.get(share, ErrorCounts())
        merged[share] = ErrorCounts(*(one + other for one, other in zip(before, each, strict=True)))
    return merged


def _start(epoch: int, by_share: ByShare, ratio: float) -> _Start:
    value = log_mean_exp(counts.harm_growth(_arms(by_share), ratio))
    return _Start(epoch, by_share, math.log(restart.weight_of(epoch)) + value)


def _arms(by_share: ByShare) -> ArmCounts:
    rows = ((share, each.candidate_errors, each.baseline_errors) for share, each in sorted(by_share.items()))
    return ArmCounts(tuple(row for row in rows if 0 < row[0] < BUCKETS))


def _effect(by_share: ByShare) -> float | None:
    """Of good outcomes, candidate minus baseline, at each share by itself (Mantel and Haenszel's weights)."""
    whole = weights = 0.0
    for _, each in sorted(by_share.items()):
        if each.candidate_units and each.baseline_units:
            weight = each.candidate_units * each.baseline_units / (each.candidate_units + each.baseline_units)
            ours, theirs = each.candidate_errors / each.candidate_units, each.baseline_errors / each.baseline_units
            whole += weight * (theirs - ours)
            weights += weight
    return whole / weights if weights else None


def _bounds(start: _Start, allowed: _Allowed, level: float) -> Interval:
    """The ratios that are not rejected on either side, as differences at the baseline's rate."""
    arms, limit = _arms(start.by_share), -math.log(level * restart.weight_of(start.epoch))

    def more(log_ratio: float) -> bool:
        return log_mean_exp(counts.harm_growth(arms, math.exp(log_ratio))) >= limit

    def fewer(log_ratio: float) -> bool:
        return counts.noninferiority_log_value(arms, math.exp(log_ratio)) >= limit

    least = _last(more, -_LOG_RATIO_MAX, _LOG_RATIO_MAX)
    most = _last(fewer, _LOG_RATIO_MAX, -_LOG_RATIO_MAX)

    def effect(log_ratio: float) -> float:
        return max(-1.0, min(1.0, -math.expm1(log_ratio) * allowed.rate))

    lower = -1.0 if most >= _LOG_RATIO_MAX else effect(most)
    return Interval(lower, 1.0 if least <= -_LOG_RATIO_MAX else effect(least))


def _last(rejected: Callable[[float], bool], start: float, end: float) -> float:
    """The last of the ratios from `start` on that are all rejected; `start` if none is."""
    for _ in range(_HALVINGS):
        middle = (start + end) / 2
        if rejected(middle):
            start = middle
        else:
            end = middle
    return start
