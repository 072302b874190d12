"""What a gate of metric `judge` says, from the sums of judged pairs.

| of the version in force                          | non-inferiority | harm, floor  |
| ------------------------------------------------ | --------------- | ------------ |
| no pair has a score                              | NO_DATA         | NO_DATA      |
| more than 5 % of at least 20 it was asked are lost | INCONCLUSIVE  | INCONCLUSIVE |
| more than 5 % of an arm's shadow calls failed (of a floor: of the candidate's) | INCONCLUSIVE | floor: INCONCLUSIVE |
| the judge has had too many versions              | INCONCLUSIVE    | floor: INCONCLUSIVE |
| shown at 1/alpha (proof: and no harm near)       | PASS            | FAIL         |
| else                                             | INCONCLUSIVE    | PASS         |

The e-value of the j-th version counts 6 / (pi j)**2 of itself: all versions together are one e-value, whichever is
looked at, so a judge that changes ever again gains nothing. What a judge loses may be what it would have said something
about, so a lossy one says nothing, in either direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.coverage import covered, shadow_coverage
from rollout.core.evidence.eprocess import value_of
from rollout.core.evidence.estimates import Asked, Rate, Words, estimate_of, text_of
from rollout.core.evidence.ledger import MetricSums, add, harm_log_value, noninferiority_log_value, total
from rollout.core.evidence.levels import alpha_of, limit_of
from rollout.core.evidence.names import is_gathered
from rollout.core.evidence.pairs import (
    OVER,
    UNKNOWN,
    VERSIONS_MAX,
    Replies,
    by_version,
    harm_margin_of,
    number_of,
    plan_of,
    replies_of,
)
from rollout.core.evidence.plans import began_s_of, step_of
from rollout.core.evidence.rollback import HARM_WARNS, attempt_alpha
from rollout.core.gates import Result, Verdict
from rollout.core.ramp_model import GateKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.evidence.interval import Moments
    from rollout.core.evidence.ledger import MetricPlan
    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Gate
    from rollout.core.sums import SumKey

LOST_RATIO_MAX = 0.05
LOST_ASKED_MIN = 20


class _Found(NamedTuple):
    """Of the version in force. `scope`: of the gate's step or ramp; `harm`: e-value over the whole ramp.

    `versions`: that have scored; `over`: pairs of later ones that were not counted.
    """

    scope: MetricSums
    harm: float
    weight: float
    replies: Replies
    versions: int = 0
    over: int = 0

    @property
    def pairs(self) -> int:
        """With a score."""
        return self.scope.moments.units

    @property
    def is_lossy(self) -> bool:
        """Whether too much is missing to say anything."""
        asked = sum(self.replies)
        return asked >= LOST_ASKED_MIN and self.replies.lost > LOST_RATIO_MAX * asked


def verdict_of(gate: Gate, flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]], now_s: float) -> Verdict:
    """What a gate of metric `judge` says at Unix time `now_s`; ERROR for sums or margins that can't be used."""
    try:
        plan = _plan_for(gate, flag)
        verdict = _judged(gate, flag, plan, _found(gate, flag, plan, sums), now_s)
    except InvalidArgument as fault:
        return Verdict(gate.name, Result.ERROR, fault.cause, now_s, metric=gate.metric)
    return covered(verdict, gate, shadow_coverage(gate, flag, sums))


def _plan_for(gate: Gate, flag: FeatureFlag) -> MetricPlan:
    plan = plan_of(flag)
    if plan is None or not is_gathered(gate):
        raise InvalidArgument(f"no evidence is gathered for {gate.name!r}", "give it a metric and a margin")
    return plan


def _found(gate: Gate, flag: FeatureFlag, plan: MetricPlan, sums: Mapping[SumKey, Sequence[int]]) -> _Found:
    versions, step = by_version(flag, plan, sums), step_of(flag.progress)
    over = sum(replies_of(flag, OVER, sums))
    if not versions:
        return _Found(total(plan, ()), 1.0, 1.0, replies_of(flag, UNKNOWN, sums), over=over)
    ours = versions[-1]
    by_epoch: dict[int, MetricSums] = {}
    for _, epoch, part in ours.parts:
        by_epoch[epoch] = add(by_epoch[epoch], part) if epoch in by_epoch else part
    scope = [part for found, _, part in ours.parts if gate.scope == "ramp" or found == step]
    harm = value_of(harm_log_value(plan, harm_margin_of(gate), by_epoch))
    weight = attempt_alpha(1.0, number_of(ours, versions))
    replies = replies_of(flag, ours.version, sums)
    return _Found(total(plan, scope), harm, weight, replies, len(versions), over)


def _judged(gate: Gate, flag: FeatureFlag, plan: MetricPlan, found: _Found, now_s: float) -> Verdict:
    began_s = began_s_of(gate, flag)
    margin, value, limit, log_value = harm_margin_of(gate), found.harm, limit_of(gate, flag), 0.0
    if gate.kind is GateKind.NONINFERIORITY:
        margin = gate.margin_at(flag.share_millipct)
        log_value = noninferiority_log_value(plan, margin, [found.scope])
        value = value_of(log_value)
    value *= found.weight
    proven = gate.kind is GateKind.NONINFERIORITY and value >= limit
    asked = Asked(
        margin, margin, alpha_of(gate, flag) * found.weight, _rate(found.scope.moments, now_s - began_s), found.harm,
        gate.min_samples, log_value,
    )  # fmt: skip
    estimate = estimate_of(found.scope.moments, asked, excluded=None, proven=proven)
    if gate.kind is not GateKind.NONINFERIORITY:
        estimate = replace(estimate, expected_s=None)
    words = Words("win rate less one half", f"{found.replies.lost} were lost")
    result, reason = _result(gate, found, shown=value >= limit)
    return Verdict(
        gate.name, result, f"{reason}{text_of(estimate, words)}", now_s, from_s=began_s, metric=gate.metric,
        value=None if found.is_lossy else value, limit=limit, samples=found.pairs, estimate=estimate,
    )  # fmt: skip


def _result(gate: Gate, found: _Found, *, shown: bool) -> tuple[Result, str]:
    """The result, and what has to be said of it first."""
    proof = gate.kind is GateKind.NONINFERIORITY
    if shown and not proof and not found.is_lossy:
        return Result.FAIL, ""  # of an earlier step as well
    if not found.pairs:
        return Result.NO_DATA, "no pair has a score; "
    doubt = _doubt(gate, found, shown=shown)
    if doubt:
        return Result.INCONCLUSIVE, f"{doubt}; "
    return (Result.PASS if shown or not proof else Result.INCONCLUSIVE), ""


def _doubt(gate: Gate, found: _Found, *, shown: bool) -> str:
    """Why it can't be told, empty if it can."""
    wanted = max(1, gate.min_samples)
    if found.is_lossy:
        return f"the judge loses too many answers: {found.replies.lost} of {sum(found.replies)}"
    if gate.kind is not GateKind.HARM and (found.over or found.versions > VERSIONS_MAX):
        told = f"the judge has had more than {VERSIONS_MAX} versions, {found.over} pairs of the latest are not counted"
        return f"{told}: begin another attempt"
    if found.pairs < wanted:
        return f"{found.pairs} of {wanted} pairs"
    if gate.kind is GateKind.NONINFERIORITY and shown and found.harm >= HARM_WARNS:
        return f"proven, but an e-value for harm of {found.harm:.3g} warns"
    return ""


def _rate(moments: Moments, passed_s: float) -> Rate:
    """Over the whole scope: pairs come as fast as their daily budget lets them."""
    return Rate(moments.units / passed_s, moments.n_eff / passed_s) if passed_s > 0 else Rate()
