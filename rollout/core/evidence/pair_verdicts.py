"""What a gate of metric `judge` says, from the sums of judged pairs.

| of the version in force                          | non-inferiority | harm, floor  |
| ------------------------------------------------ | --------------- | ------------ |
| no pair has a score                              | NO_DATA         | NO_DATA      |
| more than 5 % of at least 20 it was asked are lost | INCONCLUSIVE  | INCONCLUSIVE |
| shown at 1/alpha (proof: and no harm near)       | PASS            | FAIL         |
| else                                             | INCONCLUSIVE    | PASS         |

The j-th version of a judge has alpha * 6 / (pi j)**2, so a judge that changes ever again spends no more than alpha.
What a judge loses may be what it would have said something about, so a lossy one says nothing, in either direction.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import interval as intervals
from rollout.core.evidence.ledger import MetricSums, add, harm_log_value, noninferiority_log_value, total
from rollout.core.evidence.names import is_gathered
from rollout.core.evidence.pairs import UNKNOWN, Asked, asked, by_version, harm_margin_of, number_of, plan_of
from rollout.core.evidence.plans import margin_of, step_of
from rollout.core.evidence.rollback import ALPHA, HARM_WARNS, attempt_alpha
from rollout.core.gates import Estimate, Result, Verdict
from rollout.core.ramp_model import GateKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.evidence.interval import Moments
    from rollout.core.evidence.ledger import MetricPlan
    from rollout.core.evidence.pairs import VersionSums
    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Gate
    from rollout.core.sums import SumKey

LOST_RATIO_MAX = 0.05
LOST_ASKED_MIN = 20
_LOG_MAX = 690.0


class _Found(NamedTuple):
    """Of the version in force. `scope`: of the gate's step or ramp; `by_epoch`: of the whole ramp."""

    scope: MetricSums
    by_epoch: Mapping[int, MetricSums]
    number: int
    asked: Asked


def verdict_of(gate: Gate, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float) -> Verdict:
    """What a gate of metric `judge` says at Unix time `now_s`; ERROR for sums or margins that can't be used."""
    try:
        plan = _plan_for(gate, flag)
        return _judged(gate, flag, plan, _found(gate, flag, plan, sums), now_s)
    except InvalidArgument as fault:
        return Verdict(gate.name, Result.ERROR, fault.cause, now_s, metric=gate.metric)


def _plan_for(gate: Gate, flag: FeatureFlag) -> MetricPlan:
    plan = plan_of(flag)
    if plan is None or not is_gathered(gate):
        raise InvalidArgument(f"no evidence is gathered for {gate.name!r}", "give it a metric and a margin")
    return plan


def _found(gate: Gate, flag: FeatureFlag, plan: MetricPlan, sums: Mapping[SumKey, Sequence[int]]) -> _Found:
    versions = by_version(flag, plan, sums)
    if not versions:
        return _Found(total(plan, ()), {}, 1, asked(flag, UNKNOWN, sums))
    ours = versions[-1]
    by_epoch: dict[int, MetricSums] = {}
    for _, epoch, part in ours.parts:
        by_epoch[epoch] = add(by_epoch[epoch], part) if epoch in by_epoch else part
    return _Found(
        total(plan, _in_scope(gate, flag, ours)), by_epoch, number_of(ours, versions), asked(flag, ours.version, sums)
    )


def _in_scope(gate: Gate, flag: FeatureFlag, version: VersionSums) -> list[MetricSums]:
    step = step_of(flag.progress)
    return [part for found, _, part in version.parts if gate.scope == "ramp" or found == step]


def _judged(gate: Gate, flag: FeatureFlag, plan: MetricPlan, found: _Found, now_s: float) -> Verdict:
    began_s = flag.progress.ramp_began_s if gate.scope == "ramp" else flag.progress.step_began_s
    alpha = _alpha(gate, flag, found.number)
    harm = _value(harm_log_value(plan, harm_margin_of(gate), found.by_epoch))
    margin, value = harm_margin_of(gate), harm
    if gate.kind is GateKind.NONINFERIORITY:
        margin = margin_of(gate, flag.share_millipct)
        value = _value(noninferiority_log_value(plan, margin, [found.scope]))
    estimate = _estimate(found.scope.moments, margin, alpha, now_s - began_s, harm)
    result, reason = _result(gate, found, value * alpha >= 1.0, harm)
    return Verdict(
        gate.name, result, f"{reason}{_text(found, estimate)}", now_s, from_s=began_s, metric=gate.metric,
        value=value, limit=1 / alpha, samples=found.scope.moments.units, estimate=estimate,
    )  # fmt: skip


def _result(gate: Gate, found: _Found, shown: bool, harm: float) -> tuple[Result, str]:  # noqa: FBT001  one question
    """The result, and what has to be said of it first."""
    pairs, wanted = found.scope.moments.units, max(1, gate.min_samples)
    proof, lossy = gate.kind is GateKind.NONINFERIORITY, _is_lossy(found.asked)
    if shown and not proof and not lossy:
        return Result.FAIL, ""  # of an earlier step as well
    if not pairs:
        return Result.NO_DATA, "no pair has a score; "
    if lossy:
        return Result.INCONCLUSIVE, f"the judge loses too many answers: {found.asked.lost} of {sum(found.asked)}; "
    if pairs < wanted:
        return Result.INCONCLUSIVE, f"{pairs} of {wanted} pairs; "
    if proof and shown and harm >= HARM_WARNS:
        return Result.INCONCLUSIVE, f"proven, but an e-value for harm of {harm:.3g} warns; "
    return (Result.PASS if shown or not proof else Result.INCONCLUSIVE), ""


def _is_lossy(found: Asked) -> bool:
    return sum(found) >= LOST_ASKED_MIN and found.lost > LOST_RATIO_MAX * sum(found)


def _alpha(gate: Gate, flag: FeatureFlag, number: int) -> float:
    """The level of this version in this attempt. All gates that find harm share one; each of proof has its own."""
    alpha = attempt_alpha(attempt_alpha(gate.alpha or ALPHA, max(1, flag.progress.attempt)), number)
    if gate.kind is GateKind.NONINFERIORITY:
        return alpha
    return alpha / sum(each.kind is not GateKind.NONINFERIORITY and is_gathered(each) for each in flag.gates)


def _estimate(moments: Moments, margin: float, alpha: float, passed_s: float, harm: float) -> Estimate | None:
    effect = moments.estimate
    if effect is None:
        return None
    bounds = intervals.interval(moments, alpha)
    excluded = intervals.smallest_margin_excluded(moments, alpha)
    pace = moments.n_eff / passed_s if passed_s > 0.0 else 0.0
    left_s = intervals.decision_expected_s(moments, margin, alpha, pace)
    return Estimate(effect, bounds.lower, bounds.upper, margin, excluded, left_s, harm)


def _text(found: _Found, estimate: Estimate | None) -> str:
    if estimate is None:
        return f"{found.asked.lost} were lost"
    excluded, left_s = estimate.excluded, estimate.expected_s
    parts = (
        f"win rate less one half {estimate.effect:+.4f}, between {estimate.lower:+.4f} and {estimate.upper:+.4f}",
        f"margin {estimate.margin:g}",
        "no margin is excluded yet" if excluded is None else f"{max(0.0, excluded):.4f} and worse is excluded",
        "" if left_s is None else f"decided in about {left_s:.0f} s",
    )
    return ", ".join(part for part in parts if part)


def _value(log_value: float) -> float:
    return math.exp(min(log_value, _LOG_MAX))
