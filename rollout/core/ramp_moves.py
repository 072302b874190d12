"""The moves that both ticks and commands make: to the next step, to a pause, back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollout.core.ramp_model import Cause, Pause, Phase, RampPlan, RolledBack
from rollout.core.ramp_table import Effect, EffectKind, Event, Ramp, Transition, next_phase
from rollout.core.share import format_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollout.core.ramp_table import Capacity
    from rollout.core.verdict import Verdict

_ALL = 100_000


def moved(ramp: Ramp, event: Event, reason: str, **changes: object) -> Transition:
    """Make a transition in which only `changes` of the progress differ; any approval is void after it."""
    phase = next_phase(ramp.progress.phase, event)
    progress = replace(ramp.progress, **{"approval": None, **changes, "phase": phase})
    return Transition(event, progress, ramp.share_millipct, ramp.memory, reason)


def enter(ramp: Ramp, event: Event, step: int, now_s: float, reason: str, **changes: object) -> Transition:
    """Begin `step` with its timers at zero; evidence counts from here. The share is the caller's to set.

    A pause that lasts goes on, but what of it lies before the step is none of the step's.
    """
    paused = ramp.progress.paused and replace(ramp.progress.paused, since_s=now_s)
    timers = {"paused": paused, "step_began_s": now_s, "paused_s": 0.0, "extended_s": 0.0, "monitoring_since_s": None}
    begun = moved(ramp, event, reason, step=step, **{**timers, **changes})
    return begun._replace(effects=(Effect(EffectKind.NEW_EPOCH, f"step {step}"),))


def advance(ramp: Ramp, plan: RampPlan, now_s: float, reason: str, **changes: object) -> Transition:
    """Go exactly one step on: to the next share, or after the last to monitoring. Never lowers the share."""
    step = ramp.progress.step + 1
    if step >= len(plan.steps):
        timers = {"monitoring_since_s": now_s, "paused_s": 0.0, "extended_s": 0.0}
        return moved(ramp, Event.MONITOR, reason, **timers, **changes)
    share = max(ramp.share_millipct, plan.steps[step].share)
    return enter(ramp, Event.ADVANCE, step, now_s, reason, **changes)._replace(share_millipct=share)


def pause(
    ramp: Ramp, by: Cause, now_s: float, reason: str, *, actor: str = "", event: Event = Event.PAUSE
) -> Transition:
    """Stop the automation; a pause that lasts already goes on as it is, so that its time is counted once."""
    why = ramp.progress.paused or Pause(by, now_s, actor, reason)
    stopped = moved(ramp, event, reason, paused=why)
    alarms = () if by is Cause.OPERATOR else (Effect(EffectKind.ALARM, f"paused: {reason}"),)
    memory = replace(ramp.memory, blind_since_s=None)
    return stopped._replace(effects=alarms, memory=memory)


def roll_back(
    ramp: Ramp,
    by: Cause,
    now_s: float,
    reason: str,
    capacity: Capacity,
    *,
    actor: str = "",
    gate: str = "",
    verdicts: Sequence[Verdict] = (),
) -> Transition:
    """Give the share back, as far at once as `Rollback` and the baseline's capacity allow; ticks do the rest.

    `gate`: the one that failed; `verdicts`: what all gates of the ramp said, in their order, kept for people to read.
    """
    before = ramp.progress.rolled_back
    if ramp.progress.phase is not Phase.ROLLED_BACK or before is None:
        target = min(ramp.rollback.to_share, ramp.share_millipct)
        ends_s = now_s + (ramp.plan.cooldown_s if ramp.plan else 0.0)
        # Not the queries: they may be long, and the flag has them.
        kept = tuple(replace(each, metric=own.metric) for own, each in zip(ramp.gates, verdicts, strict=False))
        before = RolledBack(by, now_s, ends_s, now_s, target, actor, reason, gate=gate, verdicts=kept)
    share, alarm = lowered(ramp, before.to_share, capacity)
    record = replace(before, staged_s=now_s)
    back = moved(ramp, Event.ROLL_BACK, reason, paused=None, monitoring_since_s=None, rolled_back=record)
    effects = (Effect(EffectKind.ALARM, f"rolled back: {reason}"), *alarm)
    return back._replace(share_millipct=share, effects=effects)


def lowered(ramp: Ramp, target: int, capacity: Capacity) -> tuple[int, tuple[Effect, ...]]:
    """Return the share to fall to now, never above the present one, with an alarm if the baseline bears no more."""
    rollback, share = ramp.rollback, ramp.share_millipct
    aim = target
    if rollback.mode == "staged" and ramp.plan:
        aim = max([target, *(step.share for step in ramp.plan.steps if step.share < share)])
    aim = min(aim, share)
    if not rollback.partner_capacity_check:
        return aim, ()
    if capacity.baseline is None:
        return aim, (Effect(EffectKind.ALARM, "rolling back without knowing what the baseline bears"),)
    floor = min(share, _ALL - capacity.baseline)
    if floor <= aim:
        return aim, ()
    bears = f"the baseline bears {format_share(max(0, capacity.baseline))} of the traffic"
    return floor, (Effect(EffectKind.ALARM, f"{bears}: the share falls to {format_share(floor)} for now"),)
