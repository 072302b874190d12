"""What an operator may do to a ramp: pure steps from a ramp to the next, each with who, why and when.

Safety is asymmetric. `SAFE` commands need neither a revision nor an approval; whatever raises the share is refused
while a kill is on, after a rollback but for `restart`, and without a second person where a step asks for one. Windows
bind the automation only: a person who raises the share is there to see it.

The shell adds what the flag itself holds (the kill, the plan) and writes with compare-and-set. Refusals are
RolloutError, and then nothing has changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from rollout.core import ramp_moves as moves
from rollout.core.commands import checked_reason
from rollout.core.errors import (
    ApprovalRequired,
    InvalidArgument,
    InvalidDocument,
    RampRefused,
    ShareIncreaseRefused,
)
from rollout.core.ramp_holds import is_approved
from rollout.core.ramp_model import BEFORE_FIRST, Approval, Cause, Pause, Phase, Progress, RampPlan
from rollout.core.ramp_table import Capacity, Event, Ramp, Transition, next_phase
from rollout.core.share import format_share

if TYPE_CHECKING:
    from rollout.core.ramp_plan import Findings

SAFE = frozenset({Event.KILL, Event.PAUSE, Event.ROLL_BACK})
"""Commands that the shell carries out on whatever revision there is, and with the store down on this replica alone."""

_ALL = 100_000
_UNDER_WAY = (Phase.RUNNING, Phase.MONITORING)
_UNKNOWN_CAPACITY = Capacity()


class Order(NamedTuple):
    """Who commands, why, and when (Unix seconds)."""

    actor: str
    reason: str
    at_s: float


def create(ramp: Ramp, order: Order, findings: Findings, *, afresh: bool = False) -> Transition:
    """Take the plan that `ramp` already holds, with what `ramp_plan.validate` found; InvalidDocument if it has faults.

    In a pause the new plan goes on from the present share, with evidence from now on. `afresh`: other questions are
    asked of it, so it is another attempt, with less alpha: else whoever asks ever again gets the wished-for answer.
    """
    order = _checked(order)
    next_phase(ramp.progress.phase, Event.CREATE)
    plan = _planned(ramp)
    if findings.faults:
        raise InvalidDocument("; ".join(findings.faults), "correct the ramp; the one in force stays until then")
    if ramp.progress.phase is Phase.PAUSED:
        step = plan.step_at(ramp.share_millipct)
        new = {"attempt": ramp.progress.attempt + 1, "ramp_began_s": order.at_s} if afresh else {}
        return moves.enter(ramp, Event.CREATE, step, order.at_s, order.reason, proposer=order.actor, **new)
    if ramp.progress.phase is Phase.ROLLED_BACK:
        return moves.moved(ramp, Event.CREATE, order.reason, proposer=order.actor)
    return moves.moved(_blank(ramp), Event.CREATE, order.reason, proposer=order.actor)


def start(ramp: Ramp, order: Order) -> Transition:
    """Begin the ramp at its first step, or at the step of a share that people have raised already."""
    return _begin(ramp, Event.START, order)


def restart(ramp: Ramp, order: Order) -> Transition:
    """Begin again after a rollback, once it is finished and its cooldown is over."""
    _planned(ramp)
    next_phase(ramp.progress.phase, Event.RESTART)
    _refuse_cooling(ramp, order)
    return _begin(ramp, Event.RESTART, order)


def pause(ramp: Ramp, order: Order) -> Transition:
    """Stop the automation; the share stays. Pausing what is paused changes nothing of it."""
    order = _checked(order)
    return moves.pause(ramp, Cause.OPERATOR, order.at_s, order.reason, actor=order.actor)


def resume(ramp: Ramp, order: Order) -> Transition:
    """Go on where the pause began: exactly its length is added to the step's timers."""
    order = _checked(order)
    progress = ramp.progress
    event = Event.RESUME if progress.monitoring_since_s is None else Event.WATCH
    plan = _planned(ramp)
    next_phase(progress.phase, event)
    _refuse_killed(ramp)
    limit_s = plan.criteria(progress.step).max_duration_s if progress.step < len(plan.steps) else None
    spent_s = progress.elapsed_s(order.at_s)
    if event is Event.RESUME and limit_s is not None and spent_s > limit_s + progress.extended_s:
        raise RampRefused(f"step {progress.step} has used up its {limit_s:g} s", "extend it first, or jump")
    since_s = order.at_s if progress.paused is None else progress.paused.since_s
    lasted_s = max(0.0, order.at_s - since_s)
    return moves.moved(
        ramp, event, order.reason, paused=None, paused_s=progress.paused_s + lasted_s, proposer=order.actor
    )


def advance(ramp: Ramp, order: Order) -> Transition:
    """Go one step on without the rest of its proof, which is marked; an approval is needed all the same."""
    order = _checked(order)
    progress = ramp.progress
    plan = _planned(ramp)
    next_phase(progress.phase, Event.ADVANCE)
    if progress.step + 1 < len(plan.steps):
        _may_raise(ramp, plan, plan.steps[progress.step + 1].share, order)
    else:
        _refuse_killed(ramp)
    return moves.advance(ramp, plan, order.at_s, order.reason, skipped=_skipping(ramp), proposer=order.actor)


def jump(ramp: Ramp, order: Order, step: int) -> Transition:
    """Go to a step, up or down, and stay there paused."""
    order = _checked(order)
    plan = _planned(ramp)
    next_phase(ramp.progress.phase, Event.JUMP)
    if not 0 <= step < len(plan.steps):
        raise InvalidArgument(f"there is no step {step}", f"use 0..{len(plan.steps) - 1}")
    share = plan.steps[step].share
    _may_raise(ramp, plan, share, order)
    return _set_down(ramp, Event.JUMP, order, share, step)


def set_share(ramp: Ramp, order: Order, share_millipct: int) -> Transition:
    """Set the share by hand; a ramp that is under way is paused and would go on from the step below the share."""
    order = _checked(order)
    phase = next_phase(ramp.progress.phase, Event.SET_SHARE)
    if not 0 <= share_millipct <= _ALL:
        raise InvalidArgument(f"{share_millipct} is not a share in thousandths of a percent", f"use 0..{_ALL}")
    if ramp.progress.phase is Phase.ROLLED_BACK and share_millipct > ramp.share_millipct:
        raise ShareIncreaseRefused("the ramp was rolled back", "restart or end it, when its cooldown is over")
    _may_raise(ramp, ramp.plan, share_millipct, order)
    if phase is Phase.PAUSED:
        step = ramp.plan.step_at(share_millipct) if ramp.plan else BEFORE_FIRST
        return _set_down(ramp, Event.SET_SHARE, order, share_millipct, step)
    made = moves.moved(ramp, Event.SET_SHARE, order.reason, proposer=order.actor)
    return made._replace(share_millipct=share_millipct)


def approve(ramp: Ramp, order: Order, step: int | None = None) -> Transition:
    """Approve a step (None: the next) of the revision that this very write makes; any write after it voids that."""
    order = _checked(order)
    plan = _planned(ramp)
    next_phase(ramp.progress.phase, Event.APPROVE)
    if order.actor == ramp.progress.proposer:
        raise RampRefused(f"{order.actor!r} proposed it and can't approve it", "ask a second person")
    entered = _next_step(ramp, plan) if step is None else step
    if not 0 <= entered < len(plan.steps):
        raise InvalidArgument(f"there is no step {entered} to approve", f"use 0..{len(plan.steps) - 1}")
    approval = Approval(ramp.feature, ramp.revision + 1, entered, order.actor, order.at_s)
    return moves.moved(ramp, Event.APPROVE, order.reason, approval=approval)


def extend(ramp: Ramp, order: Order, seconds: float) -> Transition:
    """Give the present step, or the monitoring, more time."""
    order = _checked(order)
    if not 0 < seconds < float("inf"):
        raise InvalidArgument(f"{seconds} s is no time to add", 'write it as "2h"')
    return moves.moved(ramp, Event.EXTEND, order.reason, extended_s=ramp.progress.extended_s + seconds)


def ack(ramp: Ramp, order: Order) -> Transition:
    """Note that somebody looks after a pause or a rollback; nothing else changes."""
    order = _checked(order)
    progress = ramp.progress
    paused = progress.paused and replace(progress.paused, acked_by=order.actor)
    back = progress.rolled_back and replace(progress.rolled_back, acked_by=order.actor)
    return moves.moved(ramp, Event.ACK, order.reason, paused=paused, rolled_back=back)


def complete(ramp: Ramp, order: Order) -> Transition:
    """End the ramp at its present share; a step or monitoring that was not at its end is marked."""
    order = _checked(order)
    return moves.moved(ramp, Event.COMPLETE, order.reason, paused=None, skipped=_skipping(ramp))


def roll_back(ramp: Ramp, order: Order, capacity: Capacity = _UNKNOWN_CAPACITY) -> Transition:
    """Give the share back; told twice, it goes on from where it is."""
    order = _checked(order)
    return moves.roll_back(ramp, Cause.OPERATOR, order.at_s, order.reason, capacity, actor=order.actor)


def end(ramp: Ramp, order: Order) -> Transition:
    """Give the ramp up where it stands, as when the salt or the candidate changes; after a cooldown if there is one."""
    order = _checked(order)
    next_phase(ramp.progress.phase, Event.END)
    _refuse_cooling(ramp, order)
    return moves.moved(_blank(ramp), Event.END, order.reason, proposer=order.actor)


def kill(ramp: Ramp, order: Order) -> Transition:
    """The ramp's part of a kill: what runs is paused. The flag's part sends everybody to the baseline."""
    return _stop(ramp, Event.KILL, order)


def unkill(ramp: Ramp, order: Order) -> Transition:
    """The ramp's part of lifting a kill: nothing runs after it, also if the kill was this replica's alone."""
    return _stop(ramp, Event.UNKILL, order)


def _stop(ramp: Ramp, event: Event, order: Order) -> Transition:
    order = _checked(order)
    if ramp.progress.phase not in _UNDER_WAY:
        return moves.moved(ramp, event, order.reason)
    return moves.pause(ramp, Cause.OPERATOR, order.at_s, order.reason, actor=order.actor, event=event)


def _begin(ramp: Ramp, event: Event, order: Order) -> Transition:
    order = _checked(order)
    plan = _planned(ramp)
    next_phase(ramp.progress.phase, event)
    _refuse_killed(ramp)
    step = max(0, plan.step_at(ramp.share_millipct))
    share = max(ramp.share_millipct, plan.steps[step].share)
    _may_raise(ramp, plan, share, order)
    new = {"attempt": ramp.progress.attempt + 1, "ramp_began_s": order.at_s, "proposer": order.actor}
    begun = moves.enter(_blank(ramp), event, step, order.at_s, order.reason, **new)
    return begun._replace(share_millipct=share)


def _set_down(ramp: Ramp, event: Event, order: Order, share: int, step: int) -> Transition:
    """Put a ramp at a share, paused from now on by whoever did that."""
    paused = Pause(Cause.OPERATOR, order.at_s, order.actor, order.reason)
    down = moves.enter(ramp, event, step, order.at_s, order.reason, paused=paused, proposer=order.actor)
    return down._replace(share_millipct=share, memory=replace(ramp.memory, blind_since_s=None))


def _may_raise(ramp: Ramp, plan: RampPlan | None, share: int, order: Order) -> None:
    """Refuse a share above the present one while killed, or without the approval that its steps ask for."""
    if share <= ramp.share_millipct:
        return
    _refuse_killed(ramp)
    if plan is None:
        return
    entered = [index for index in range(len(plan.steps)) if plan.steps[index].share > ramp.share_millipct]
    first = entered[0] if entered else len(plan.steps) - 1
    last = next((index for index in entered if plan.steps[index].share >= share), len(plan.steps) - 1)
    if not any(step.approval for step in plan.steps[first : last + 1]):
        return
    given = ramp.progress.approval
    if given is None or not is_approved(ramp, last) or given.actor == order.actor:
        cause = f"raising the share to {format_share(share)} needs the approval of step {last} by a second person"
        raise ApprovalRequired(cause, "ask them to approve it; any change after that voids the approval")


def _next_step(ramp: Ramp, plan: RampPlan) -> int:
    if ramp.progress.phase in (Phase.READY, Phase.ROLLED_BACK):
        return max(0, plan.step_at(ramp.share_millipct))
    return ramp.progress.step + 1


def _skipping(ramp: Ramp) -> tuple[int, ...]:
    step = ramp.progress.step
    return ramp.progress.skipped if step in ramp.progress.skipped else (*ramp.progress.skipped, step)


def _blank(ramp: Ramp) -> Ramp:
    """Forget all progress but the phase and how many attempts there were."""
    return ramp._replace(progress=Progress(phase=ramp.progress.phase, attempt=ramp.progress.attempt))


def _refuse_cooling(ramp: Ramp, order: Order) -> None:
    back = ramp.progress.rolled_back
    if back is not None and ramp.share_millipct > back.to_share:
        way = f"{format_share(ramp.share_millipct)} is on its way to {format_share(back.to_share)}"
        raise RampRefused(f"the rollback is not finished: {way}", "wait for it, or see why it holds")
    if back is not None and order.at_s < back.cooldown_ends_s:
        left_s = back.cooldown_ends_s - order.at_s
        raise RampRefused(f"the cooldown lasts another {left_s:.0f} s", "use the time to find the cause")


def _refuse_killed(ramp: Ramp) -> None:
    if ramp.killed:
        raise ShareIncreaseRefused(f"{ramp.feature!r} is killed", "lift the kill first; the ramp is paused after it")


def _planned(ramp: Ramp) -> RampPlan:
    if ramp.plan is None:
        raise RampRefused(f"{ramp.feature!r} has no ramp", "apply a document with one")
    return ramp.plan


def _checked(order: Order) -> Order:
    if not order.actor.strip():
        raise InvalidArgument("nobody is named as the actor", "say who commands it, for the audit log")
    return order._replace(reason=checked_reason(order.reason))
