"""Why the share doesn't rise now: every reason, with its value and limit, worked out anew at each tick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.gates import Result, Verdict, counted, fails_limit
from rollout.core.hold import Hold, HoldReason
from rollout.core.ramp_model import Gate, Phase, RampPlan, Role
from rollout.core.windows import closed_because, opens_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollout.core.ramp_table import Observations, Ramp

_MINUTE_S = 60
_OF_RESULT = {
    Result.FAIL: HoldReason.FAILING,
    Result.ERROR: HoldReason.METRICS_ERROR,
    Result.NO_DATA: HoldReason.NO_DATA,
    Result.INCONCLUSIVE: HoldReason.INCONCLUSIVE,
}


def holds_of(
    ramp: Ramp, plan: RampPlan, seen: Observations, verdicts: Sequence[Verdict], now_s: float
) -> tuple[Hold, ...]:
    """Return what keeps a ramp that runs or monitors where it is, first what matters most; empty: go on."""
    gates = _of_gates(ramp, verdicts)
    if ramp.progress.phase is Phase.MONITORING:
        return (*gates, *_monitoring(ramp, plan, now_s))
    holds = (*gates, *_samples(ramp, plan, seen), *_baking(ramp, plan, now_s))
    if ramp.progress.step + 1 >= len(plan.steps):
        return holds
    return (*holds, *_capacity(ramp, plan, seen), *_window(plan, now_s), *_approval(ramp, plan))


def timed_holds(ramp: Ramp, plan: RampPlan, now_s: float) -> tuple[Hold, ...]:
    """Return those holds of a ramp under way that need no measurement: they are true whoever looks."""
    if ramp.progress.phase is Phase.MONITORING:
        return _monitoring(ramp, plan, now_s)
    if ramp.progress.step >= len(plan.steps):
        return ()
    baking = _baking(ramp, plan, now_s)
    is_last = ramp.progress.step + 1 == len(plan.steps)
    return baking if is_last else (*baking, *_window(plan, now_s), *approval_hold(ramp, plan, ramp.progress.step + 1))


def approval_hold(ramp: Ramp, plan: RampPlan, step: int) -> tuple[Hold, ...]:
    """Say that entering `step` still needs a second person; empty if it doesn't."""
    if not plan.steps[step].approval or is_approved(ramp, step):
        return ()
    detail = f"for step {step}, by somebody else than {ramp.progress.proposer or 'the proposer'}"
    return (Hold(HoldReason.AWAITING_APPROVAL, 0, 1, detail=detail),)


def is_approved(ramp: Ramp, step: int) -> bool:
    """Whether somebody else than the proposer has approved `step` of this very revision."""
    given = ramp.progress.approval
    if given is None or given.actor == ramp.progress.proposer:
        return False
    return (given.feature, given.revision, given.step) == (ramp.feature, ramp.revision, step)


def _of_gates(ramp: Ramp, verdicts: Sequence[Verdict]) -> tuple[Hold, ...]:
    pairs = [(gate, each) for gate, each in zip(ramp.gates, verdicts, strict=True) if gate.role is not Role.OBSERVE]
    found = [_of_gate(ramp, *pair) for pair in pairs if pair[1].result is not Result.PASS]
    order = list(_OF_RESULT.values())
    return tuple(sorted(found, key=lambda hold: order.index(hold.reason)))


def _of_gate(ramp: Ramp, gate: Gate, verdict: Verdict) -> Hold:
    reason = _OF_RESULT[verdict.result]
    value, limit = verdict.value, verdict.limit
    detail = verdict.reason
    if reason is HoldReason.FAILING:
        detail = f"{detail}; failed {counted(gate, ramp.memory.gates.get(gate.name))} of {fails_limit(gate)} times"
    return Hold(reason, value, limit, gate.name, detail)


def _samples(ramp: Ramp, plan: RampPlan, seen: Observations) -> tuple[Hold, ...]:
    needed = plan.criteria(ramp.progress.step).min_samples
    if not needed:
        return ()
    since_s = seen.samples_since_s
    of_this_step = since_s is not None and since_s >= ramp.progress.step_began_s
    if of_this_step and seen.samples is not None and seen.samples >= needed:
        return ()
    value = seen.samples if of_this_step else None
    detail = "" if of_this_step else "not counted since this step began"
    return (Hold(HoldReason.INSUFFICIENT_SAMPLES, value, needed, detail=detail),)


def _baking(ramp: Ramp, plan: RampPlan, now_s: float) -> tuple[Hold, ...]:
    elapsed_s, bake_s = ramp.progress.elapsed_s(now_s), plan.criteria(ramp.progress.step).bake_s
    # More than no time at all: a tick repeated at the same moment must not go two steps.
    if elapsed_s >= bake_s and elapsed_s > 0:
        return ()
    behind_s = ramp.progress.step_began_s - now_s
    detail = (
        f"the clock is {behind_s:g} s behind the step's beginning; a jump to it begins anew" if behind_s > 0 else ""
    )
    return (Hold(HoldReason.BAKING, elapsed_s, bake_s, detail=detail),)


def _monitoring(ramp: Ramp, plan: RampPlan, now_s: float) -> tuple[Hold, ...]:
    elapsed_s, needed_s = ramp.progress.elapsed_s(now_s), plan.post_monitor_s + ramp.progress.extended_s
    return () if elapsed_s >= needed_s and elapsed_s > 0 else (Hold(HoldReason.MONITORING, elapsed_s, needed_s),)


def _capacity(ramp: Ramp, plan: RampPlan, seen: Observations) -> tuple[Hold, ...]:
    wanted, bears = plan.steps[ramp.progress.step + 1].share, seen.capacity.candidate
    if bears is None and plan.candidate_capacity:
        return (Hold(HoldReason.CAPACITY, None, wanted, detail="the candidate's can't be read"),)
    if bears is None or bears >= wanted:
        return ()
    return (Hold(HoldReason.CAPACITY, bears, wanted, detail="the candidate's"),)


def _window(plan: RampPlan, now_s: float) -> tuple[Hold, ...]:
    closed = closed_because(plan.windows, plan.freezes, now_s)
    if closed is None:
        return ()
    minute_s = now_s // _MINUTE_S * _MINUTE_S
    return (Hold(HoldReason.OUTSIDE_WINDOW, minute_s, opens_s(plan.windows, plan.freezes, now_s), detail=closed),)


def _approval(ramp: Ramp, plan: RampPlan) -> tuple[Hold, ...]:
    return approval_hold(ramp, plan, ramp.progress.step + 1)
