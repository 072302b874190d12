"""From sums to what a gate says: non-inferiority and harm, with the numbers behind it.

`value` is an e-value, `limit` is 1/alpha of this attempt. Neither shown is INCONCLUSIVE, which holds; no unit at all is
NO_DATA, so silence never passes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import interval as intervals
from rollout.core.evidence.ledger import MetricSums, add, harm_log_value, noninferiority_log_value, total
from rollout.core.evidence.names import is_gathered
from rollout.core.evidence.plans import series_for, step_of, stored
from rollout.core.evidence.rollback import ALPHA, HARM_WARNS, attempt_alpha
from rollout.core.gates import Result, Verdict
from rollout.core.ramp_model import GateKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.evidence.interval import Moments
    from rollout.core.evidence.ledger import MetricPlan
    from rollout.core.evidence.plans import Series
    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Gate
    from rollout.core.sums import SumKey

_LOG_MAX = 690.0


class _Sums(NamedTuple):
    """`scope`: of the gate's step or ramp. `by_epoch`: of the whole ramp."""

    scope: MetricSums
    by_epoch: Mapping[int, MetricSums]


def verdicts_of(flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float) -> dict[str, Verdict]:
    """What the flag's gates of evidence say, by name; `sums`: all that the store has of the feature."""
    return {gate.name: verdict_of(gate, flag, sums, now_s) for gate in flag.gates if is_gathered(gate)}


def verdict_of(gate: Gate, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float) -> Verdict:
    """What one gate of `flag` says at Unix time `now_s`; ERROR for sums or margins that can't be used."""
    try:
        series = series_for(flag, gate, gate.margin or 0.0)
        return _judged(gate, flag, series.plan, _selected(gate, flag, series, sums), now_s)
    except InvalidArgument as fault:
        return Verdict(gate.name, Result.ERROR, fault.cause, now_s, metric=gate.metric)


def _selected(gate: Gate, flag: FeatureFlag, series: Series, sums: Mapping[SumKey, Sequence[int]]) -> _Sums:
    of_scope: list[MetricSums] = []
    by_epoch: dict[int, MetricSums] = {}
    for step, epoch, found in stored(flag.feature, flag.progress, series, sums):
        by_epoch[epoch] = add(by_epoch[epoch], found) if epoch in by_epoch else found
        if gate.scope == "ramp" or step == step_of(flag.progress):
            of_scope.append(found)
    return _Sums(total(series.plan, of_scope), by_epoch)


def _judged(gate: Gate, flag: FeatureFlag, plan: MetricPlan, sums: _Sums, now_s: float) -> Verdict:
    moments, margin = sums.scope.moments, gate.margin or 0.0
    alpha = _alpha(gate, flag)
    began_s = flag.progress.ramp_began_s if gate.scope == "ramp" else flag.progress.step_began_s
    harm = _value(harm_log_value(plan, margin, sums.by_epoch))
    if gate.kind is GateKind.HARM:
        value = harm
        shown = Result.FAIL if value >= 1 / alpha else Result.PASS
    else:
        value = _value(noninferiority_log_value(plan, margin, [sums.scope]))
        shown = Result.PASS if value >= 1 / alpha and harm < HARM_WARNS else Result.INCONCLUSIVE
    text = _text(moments, margin, alpha, now_s - began_s)
    if shown is Result.INCONCLUSIVE and value >= 1 / alpha:
        text = f"proven, but an e-value for harm of {harm:.3g} warns; {text}"
    if shown is not Result.FAIL and moments.units < max(1, gate.min_samples):
        shown = Result.INCONCLUSIVE if moments.units else Result.NO_DATA
        text = f"{moments.units} of {max(1, gate.min_samples)} units; {text}"
    return Verdict(
        gate.name, shown, text, now_s,
        from_s=began_s, metric=gate.metric, value=value, limit=1 / alpha, samples=moments.units,
    )  # fmt: skip


def _alpha(gate: Gate, flag: FeatureFlag) -> float:
    """The level of this attempt. All gates of harm share one; each of non-inferiority has its own: all must be met."""
    alpha = attempt_alpha(gate.alpha or ALPHA, max(1, flag.progress.attempt))
    if gate.kind is not GateKind.HARM:
        return alpha
    return alpha / sum(each.kind is GateKind.HARM and is_gathered(each) for each in flag.gates)


def _value(log_value: float) -> float:
    return math.exp(min(log_value, _LOG_MAX))


def _text(moments: Moments, margin: float, alpha: float, passed_s: float) -> str:
    effect = moments.estimate
    if effect is None:
        return "no unit has come of age"
    found = intervals.interval(moments, alpha)
    excluded = intervals.smallest_margin_excluded(moments, alpha)
    left_s = intervals.decision_expected_s(moments, margin, alpha, moments.n_eff / passed_s if passed_s > 0 else 0.0)
    parts = (
        f"effect {effect:+.4f}, between {found.lower:+.4f} and {found.upper:+.4f}",
        f"margin {margin:g}",
        "no margin is excluded yet" if excluded is None else f"{max(0.0, excluded):.4f} and worse is excluded",
        "" if left_s is None else f"decided in about {left_s:.0f} s",
    )
    return ", ".join(part for part in parts if part)
