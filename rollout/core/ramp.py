"""What a tick makes of a ramp: pure, with the time as an argument, at most one event and one step per tick.

First match wins:

1. kill: nothing rises; what ran is paused
2. an operator's command: it was written before this tick read the ramp, or else this tick's write meets a newer
   revision and is refused (compare-and-set)
3. a hard gate that failed as often as its rule says: roll back, also while READY or PAUSED
4. sample-ratio mismatch or a fault of the configuration: pause
5. a soft gate that failed as often as its rule says: pause
6. gates blind (NO_DATA, ERROR) for longer than `no_data_pause`: pause
7. blind, failing, inconclusive, too few samples, baking, capacity, window, approval: hold; past `max_duration`: pause
8. advance exactly one step: to the next share, from the last step to monitoring, from there to completed
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollout.core import ramp_moves as moves
from rollout.core.gates import BLIND, Result, Verdict, has_failed, judge, remember
from rollout.core.hold import Hold, HoldReason, cut
from rollout.core.ramp_holds import holds_of
from rollout.core.ramp_model import LINE_CHARS_MAX, Cause, Gate, GateMemory, Phase, RampPlan, Role
from rollout.core.ramp_table import Capacity, Event, Observations, Ramp, Transition, unchanged

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNDER_WAY = (Phase.RUNNING, Phase.MONITORING)
_UNREAD = (HoldReason.NO_DATA, HoldReason.METRICS_ERROR)
_FORGETTING_S = 1_800.0
"""How long absence keeps a row of FAILs where no plan says."""


def tick(ramp: Ramp, seen: Observations, now_s: float) -> Transition:
    """Look at a ramp at Unix time `now_s`. Total: it raises for no observation, and without an event writes nothing."""
    phase = ramp.progress.phase
    if ramp.killed:
        return _under_kill(ramp, now_s)
    if phase is Phase.ROLLED_BACK:
        return _fall_further(ramp, seen.capacity, now_s)
    if phase in (Phase.DRAFT, Phase.COMPLETED):
        return unchanged(ramp)
    verdicts = _judged(ramp, seen, now_s)
    ramp = ramp._replace(memory=_remembered(ramp, verdicts, now_s))
    failed = _failed(ramp, verdicts, Role.HARD)
    if failed is not None:
        why = _told(failed)
        made = moves.roll_back(ramp, Cause.GATE, now_s, why, seen.capacity, gate=failed.gate, verdicts=verdicts)
    elif phase is Phase.PAUSED:
        made = unchanged(ramp, (_paused(ramp),))
    elif phase in _UNDER_WAY:
        made = _go_on(ramp, seen, verdicts, now_s)
    else:
        made = unchanged(ramp)
    return made._replace(verdicts=verdicts)


def _go_on(ramp: Ramp, seen: Observations, verdicts: tuple[Verdict, ...], now_s: float) -> Transition:
    """Pause, hold or advance a ramp that is under way."""
    plan = ramp.plan
    fault = _fault(ramp, seen)
    if plan is None or fault is not None:
        return moves.pause(ramp, Cause.SYSTEM, now_s, fault or "the ramp has no plan any more")
    failed = _failed(ramp, verdicts, Role.SOFT)
    if failed is not None:
        return moves.pause(ramp, Cause.GATE, now_s, _told(failed))
    holds = holds_of(ramp, plan, seen, verdicts, now_s)
    blind_since_s = ramp.memory.blind_since_s
    if blind_since_s is not None and now_s - blind_since_s >= plan.no_data_pause_s:
        unread = next(hold for hold in holds if hold.reason in _UNREAD)
        return moves.pause(ramp, Cause.SYSTEM, now_s, f"for {plan.no_data_pause} {unread}")._replace(holds=holds)
    if not holds:
        return _proven(ramp, plan, now_s)
    if _overdue(ramp, plan, now_s):
        late = f"step {ramp.progress.step} is not done in its time: {holds[0]}"
        return moves.pause(ramp, Cause.SYSTEM, now_s, late)._replace(holds=holds)
    return unchanged(ramp, holds)


def _proven(ramp: Ramp, plan: RampPlan, now_s: float) -> Transition:
    if ramp.progress.phase is Phase.MONITORING:
        return moves.moved(ramp, Event.COMPLETE, "monitored to its end")
    step = ramp.progress.step
    return moves.advance(ramp, plan, now_s, f"step {step} is proven" if step >= 0 else "its first step is due")


def _overdue(ramp: Ramp, plan: RampPlan, now_s: float) -> bool:
    limit_s = plan.criteria(ramp.progress.step).max_duration_s
    if limit_s is None or ramp.progress.phase is not Phase.RUNNING:
        return False
    return ramp.progress.elapsed_s(now_s) > limit_s + ramp.progress.extended_s


def _under_kill(ramp: Ramp, now_s: float) -> Transition:
    """Pause what ran. Nobody has the candidate now, so a rollback needn't wait for the baseline's capacity."""
    hold = (Hold(HoldReason.KILLED),)
    back = ramp.progress.rolled_back
    if ramp.progress.phase in _UNDER_WAY:
        return moves.pause(ramp, Cause.SYSTEM, now_s, "killed", event=Event.KILL)._replace(holds=hold)
    if ramp.progress.phase is Phase.ROLLED_BACK and back is not None and ramp.share_millipct > back.to_share:
        fallen = moves.moved(ramp, Event.LOWER, "killed while rolling back")
        return fallen._replace(share_millipct=back.to_share, holds=hold)
    return unchanged(ramp, hold)


def _fall_further(ramp: Ramp, capacity: Capacity, now_s: float) -> Transition:
    """Continue a rollback by one stage, as far as the baseline bears."""
    back = ramp.progress.rolled_back
    if back is None:
        return unchanged(ramp)
    if ramp.share_millipct <= back.to_share:
        waits = Hold(HoldReason.COOLDOWN, max(0.0, now_s - back.at_s), back.cooldown_ends_s - back.at_s)
        return unchanged(ramp, (waits,) if now_s < back.cooldown_ends_s else ())
    hold = Hold(HoldReason.ROLLING_BACK, ramp.share_millipct, back.to_share)
    staged = ramp.rollback.mode == "staged"
    if staged and 0 <= now_s - back.staged_s < ramp.rollback.stage_every_s:
        return unchanged(ramp, (hold,))
    share, alarm = moves.lowered(ramp, back.to_share, capacity)
    if share == ramp.share_millipct:
        short = Hold(HoldReason.CAPACITY, capacity.baseline, 100_000 - share + 1, detail="the baseline's")
        return unchanged(ramp, (hold, short))
    fallen = moves.moved(ramp, Event.LOWER, "rolling back", rolled_back=replace(back, staged_s=now_s))
    return fallen._replace(share_millipct=share, effects=alarm, holds=(hold,))


def _judged(ramp: Ramp, seen: Observations, now_s: float) -> tuple[Verdict, ...]:
    began = {"step": ramp.progress.step_began_s, "ramp": ramp.progress.ramp_began_s}
    return tuple(judge(gate, seen.gates.get(gate.name), now_s=now_s, since_s=began[gate.scope]) for gate in ramp.gates)


def _remembered(ramp: Ramp, verdicts: Sequence[Verdict], now_s: float) -> GateMemory:
    attempt, before = ramp.progress.attempt, ramp.memory
    if before.attempt != attempt:
        before = GateMemory(attempt)
    forget_s = ramp.plan.no_data_pause_s if ramp.plan else _FORGETTING_S
    records, blind = {}, False
    for gate, verdict in zip(ramp.gates, verdicts, strict=True):
        if gate.role is Role.OBSERVE:
            continue
        blind = blind or verdict.result in BLIND
        record = remember(gate, before.gates.get(gate.name), verdict, now_s=now_s, absent_max_s=forget_s)
        if record is not None:
            records[gate.name] = record
    since_s = None
    if blind and ramp.progress.phase in _UNDER_WAY:
        since_s = now_s if before.blind_since_s is None else min(now_s, before.blind_since_s)
    return GateMemory(attempt, records, since_s)


def _failed(ramp: Ramp, verdicts: Sequence[Verdict], role: Role) -> Verdict | None:
    def is_it(gate: Gate, verdict: Verdict) -> bool:
        return gate.role is role and has_failed(gate, ramp.memory.gates.get(gate.name), verdict)

    pairs = zip(ramp.gates, verdicts, strict=True)
    return next((verdict for gate, verdict in pairs if is_it(gate, verdict)), None)


def _fault(ramp: Ramp, seen: Observations) -> str | None:
    """Say what makes the ramp's own figures doubtful."""
    ratio = seen.sample_ratio
    if ratio is not None and ratio.result is Result.FAIL:
        return f"the arms' sizes contradict the share: {ratio.reason}"
    if ratio is not None and ratio.result in BLIND:
        return f"nobody can tell whether the arms' sizes fit the share: {ratio.reason}"
    if seen.faults:
        return f"the configuration has a fault: {seen.faults[0]}"
    if ramp.plan is not None and ramp.progress.step >= len(ramp.plan.steps):
        return f"step {ramp.progress.step} is not in the plan any more"
    return None


def _told(verdict: Verdict) -> str:
    """One line that a flag can hold, however many gates it names: a rollback that can't be written would be none."""
    numbers = f" {verdict.value:g} against {verdict.limit:g}" if None not in (verdict.value, verdict.limit) else ""
    line = f"gate {verdict.gate} failed:{numbers} ({verdict.reason})"
    return cut(line, LINE_CHARS_MAX)


def _paused(ramp: Ramp) -> Hold:
    why = ramp.progress.paused
    return Hold(HoldReason.PAUSED) if why is None else Hold(HoldReason.PAUSED, detail=f"by {why.by}: {why.reason}")
