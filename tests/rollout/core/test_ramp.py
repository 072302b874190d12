from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.codec import decode_flag, encode_flag
from rollout.core.gates import Reading, Result, Verdict
from rollout.core.model import FeatureFlag
from rollout.core.ramp import tick
from rollout.core.ramp_model import (
    Cause,
    FailureRule,
    Gate,
    GateKind,
    GateMemory,
    GateRecord,
    Pause,
    Phase,
    Progress,
    RampPlan,
    Role,
    Rollback,
    RolledBack,
    Step,
)
from rollout.core.ramp_table import Capacity, EffectKind, Event, HoldReason, Observations, Ramp, Transition

NOW = 100_000.0
PLAN = RampPlan(
    steps=(
        Step(share=1_000, bake="10m", max_duration="1h"),
        Step(share=5_000, bake="10m", max_duration="1h"),
        Step(share=50_000, bake="10m", max_duration="1h"),
    ),
    cooldown="30m",
    post_monitor="20m",
    no_data_pause="5m",
)


def gate_of(name: str, role: Role, count: int = 2) -> Gate:
    rule = FailureRule(count=count)
    return Gate(name=name, role=role, source="promql", kind=GateKind.THRESHOLD, limit=0.05, failure=rule)


GATES = (gate_of("errors", Role.HARD), gate_of("quality", Role.SOFT), gate_of("cost", Role.OBSERVE, 1))
GOOD, BAD = Reading(0.01, NOW), Reading(0.5, NOW)
FINE = {"errors": GOOD, "quality": GOOD, "cost": BAD}
STEP_0 = Progress(phase=Phase.RUNNING, attempt=1, step=0, step_began_s=NOW - 1_200, ramp_began_s=NOW - 1_200)
TWICE = GateMemory(1, {name: GateRecord(1, (NOW - 10,), NOW - 10) for name in ("errors", "quality")})


def ramp_of(progress: Progress = STEP_0, share: int = 1_000, **changes: Any) -> Ramp:
    ramp = Ramp("f", 3, share, killed=False, plan=PLAN, gates=GATES, rollback=Rollback(), progress=progress)
    return ramp._replace(memory=GateMemory(1))._replace(**changes)


def at(phase: Phase, **changes: Any) -> Progress:
    return replace(STEP_0, phase=phase, **changes)


def seen(**gates: Reading | Verdict) -> Observations:
    return Observations(gates=FINE | gates)


def reasons(made: Transition) -> list[HoldReason]:
    return [hold.reason for hold in made.holds]


def test_what_is_proven_goes_one_step_on() -> None:
    made = tick(ramp_of(), seen(), NOW)
    assert (made.event, made.share_millipct, made.progress.step) == (Event.ADVANCE, 5_000, 1)
    assert made.progress.step_began_s == NOW
    assert made.reason == "step 0 is proven"
    assert [verdict.result for verdict in made.verdicts] == [Result.PASS, Result.PASS, Result.FAIL]


def test_a_share_below_the_first_step_proves_itself_like_the_first() -> None:
    below = ramp_of(replace(STEP_0, step=-1), 100)
    made = tick(below, seen(), NOW)
    assert (made.share_millipct, made.progress.step, made.reason) == (1_000, 0, "its first step is due")
    assert reasons(tick(below, Observations(), NOW)) == [HoldReason.NO_DATA, HoldReason.NO_DATA]


def test_invariant_06_one_step_per_tick_however_late_it_is() -> None:
    made = tick(ramp_of(), seen(errors=Reading(0.01, NOW + 1e7), quality=Reading(0.01, NOW + 1e7)), NOW + 1e7)
    assert (made.progress.step, made.share_millipct) == (1, 5_000)
    again = tick(ramp_of(made.progress, 5_000), seen(), NOW + 1e7)
    assert again.event is None


def test_invariant_06_a_tick_repeated_changes_nothing() -> None:
    plan = RampPlan(steps=(Step(share=1_000), Step(share=5_000), Step(share=50_000)))
    made = tick(ramp_of(plan=plan, gates=()), Observations(), NOW)
    assert made.share_millipct == 5_000
    again = tick(ramp_of(made.progress, 5_000, plan=plan, gates=()), Observations(), NOW)
    assert (again.event, reasons(again)) == (None, [HoldReason.BAKING])


def test_the_last_step_is_monitored_and_then_completed() -> None:
    last = ramp_of(replace(STEP_0, step=2), 50_000)
    made = tick(last, seen(), NOW)
    assert (made.event, made.progress.monitoring_since_s) == (Event.MONITOR, NOW)
    watched = ramp_of(at(Phase.MONITORING, step=2, monitoring_since_s=NOW - 1_199), 50_000)
    assert reasons(tick(watched, seen(), NOW)) == [HoldReason.MONITORING]
    done = tick(watched, seen(errors=Reading(0.01, NOW + 1), quality=Reading(0.01, NOW + 1)), NOW + 1)
    assert (done.event, done.progress.phase) == (Event.COMPLETE, Phase.COMPLETED)
    assert done.share_millipct == 50_000


@pytest.mark.parametrize("phase", [Phase.READY, Phase.RUNNING, Phase.PAUSED, Phase.MONITORING])
def test_invariant_08_a_hard_fail_at_its_limit_rolls_back(phase: Phase) -> None:
    paused = Pause(Cause.OPERATOR, NOW - 60) if phase is Phase.PAUSED else None
    fresh = ramp_of(at(phase, paused=paused))
    first = tick(fresh, seen(errors=BAD), NOW)
    assert first.event is None
    second = tick(fresh._replace(memory=first.memory), seen(errors=Reading(0.5, NOW + 10)), NOW + 10)
    assert (second.event, second.share_millipct) == (Event.ROLL_BACK, 0)
    assert second.progress.rolled_back == RolledBack(
        Cause.GATE,
        NOW + 10,
        NOW + 1_810,
        NOW + 10,
        to_share=0,
        reason="gate errors failed: 0.5 against 0.05 (at most 0.05 wanted)",
        gate="errors",
        verdicts=tuple(replace(each, metric="") for each in second.verdicts),
    )
    assert [each.gate for each in second.verdicts] == ["errors", "quality", "cost"]


def test_invariant_08_also_while_it_bakes() -> None:
    baking = ramp_of(replace(STEP_0, step_began_s=NOW - 1), memory=TWICE)
    assert tick(baking, seen(errors=BAD), NOW).event is Event.ROLL_BACK


def test_a_rollback_can_be_written_however_much_there_is_to_say() -> None:
    """A flag holds 500 characters of a reason; what is longer could not be stored, and nobody would be rolled back."""
    harm = Gate(name="harm", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="form", margin=0.1)
    long = Verdict(
        "harm", Result.FAIL, "together with " + ", ".join(["another-gate"] * 90), NOW, NOW - 1, "form", 99, 33
    )
    made = tick(ramp_of(gates=(harm,)), Observations({"harm": long}), NOW)
    assert made.event is Event.ROLL_BACK
    flag = FeatureFlag(feature="f", candidate="a", baseline="b", gates=(harm,), progress=made.progress)
    assert decode_flag(encode_flag(flag)) == flag
    assert made.reason.startswith("gate harm failed: 99 against 33 (together with another-gate, ")


def test_a_fail_below_its_limit_holds_with_its_count() -> None:
    made = tick(ramp_of(), seen(errors=BAD), NOW)
    assert (made.event, reasons(made)) == (None, [HoldReason.FAILING])
    assert made.holds[0].detail == "at most 0.05 wanted; failed 1 of 2 times"


def test_a_soft_fail_pauses() -> None:
    made = tick(ramp_of(memory=TWICE), seen(quality=BAD), NOW)
    assert (made.event, made.share_millipct) == (Event.PAUSE, 1_000)
    assert made.progress.paused is not None
    assert made.progress.paused.by is Cause.GATE


def test_a_hard_fail_goes_before_everything_but_a_kill() -> None:
    doubtful = seen(errors=BAD, quality=BAD)._replace(faults=("no upstream",))
    assert tick(ramp_of(memory=TWICE), doubtful, NOW).event is Event.ROLL_BACK
    assert tick(ramp_of(memory=TWICE, plan=None), doubtful, NOW).event is Event.ROLL_BACK
    assert tick(ramp_of(memory=TWICE, killed=True), doubtful, NOW).event is Event.KILL


RATIO = Verdict("srm", Result.FAIL, "p = 0.0001", NOW)


@pytest.mark.parametrize(
    ("ramp", "observed", "reason"),
    [
        (ramp_of(), seen()._replace(sample_ratio=RATIO), "contradict the share: p = 0.0001"),
        (
            ramp_of(),
            seen()._replace(sample_ratio=replace(RATIO, result=Result.ERROR, reason="it can't be read")),
            "nobody can tell whether the arms' sizes fit the share: it can't be read",
        ),
        (ramp_of(), seen()._replace(faults=("no upstream", "no key")), "has a fault: no upstream"),
        (ramp_of(plan=None), seen(), "has no plan any more"),
        (ramp_of(replace(STEP_0, step=3)), seen(), "step 3 is not in the plan any more"),
    ],
)
def test_doubtful_figures_pause_before_a_soft_gate_does(ramp: Ramp, observed: Observations, reason: str) -> None:
    failing = observed._replace(gates=FINE | {"quality": BAD})
    made = tick(ramp._replace(memory=TWICE), failing, NOW)
    assert made.event is Event.PAUSE
    assert made.progress.paused is not None
    assert made.progress.paused.by is Cause.SYSTEM
    assert reason in made.reason


def test_an_undecided_sample_ratio_pauses_nothing() -> None:
    unsure = replace(RATIO, result=Result.INCONCLUSIVE)
    assert tick(ramp_of(), seen()._replace(sample_ratio=unsure), NOW).event is Event.ADVANCE


def test_invariant_07_no_data_holds_and_then_pauses() -> None:
    ramp = ramp_of(replace(STEP_0, step_began_s=NOW))
    first = tick(ramp, Observations(gates={"errors": BAD._replace(error="refused")}), NOW)
    assert first.memory.blind_since_s == NOW
    assert reasons(first) == [HoldReason.METRICS_ERROR, HoldReason.NO_DATA, HoldReason.BAKING]
    later = ramp._replace(memory=first.memory)
    assert tick(later, Observations(), NOW + 299).event is None
    made = tick(later, Observations(), NOW + 300)
    assert (made.event, made.share_millipct) == (Event.PAUSE, 1_000)
    assert made.reason == "for 5m no_data: gate errors: nothing was measured"
    assert made.memory.blind_since_s is None


def test_data_that_comes_back_ends_the_wait_for_it() -> None:
    ramp = ramp_of(replace(STEP_0, step_began_s=NOW - 10), memory=GateMemory(1, blind_since_s=NOW - 299))
    assert tick(ramp, seen(), NOW).memory.blind_since_s is None


def test_the_wait_for_data_survives_a_clock_that_goes_back() -> None:
    ramp = ramp_of(memory=GateMemory(1, blind_since_s=NOW))
    assert tick(ramp, Observations(), NOW - 500).memory.blind_since_s == NOW - 500


def test_while_paused_nobody_waits_for_data() -> None:
    paused = ramp_of(at(Phase.PAUSED, paused=Pause(Cause.OPERATOR, NOW - 60, "ann", "lunch")))
    made = tick(paused, Observations(), NOW)
    assert made.memory.blind_since_s is None
    assert [str(hold) for hold in made.holds] == ["paused: by operator: lunch"]
    assert reasons(tick(ramp_of(at(Phase.PAUSED)), seen(), NOW)) == [HoldReason.PAUSED]


def test_a_step_that_takes_too_long_pauses_with_what_held_it() -> None:
    unsure = Reading(0.01, NOW, from_s=0.0)
    ramp = ramp_of(replace(STEP_0, step_began_s=NOW - 3_601))
    made = tick(ramp, seen(quality=unsure), NOW)
    assert (made.event, reasons(made)) == (Event.PAUSE, [HoldReason.INCONCLUSIVE])
    assert "step 0 is not done in its time: inconclusive: gate quality: 0.01, limit 0.05" in made.reason
    extended = ramp._replace(progress=replace(ramp.progress, extended_s=60.0))
    assert tick(extended, seen(quality=unsure), NOW).event is None
    assert tick(ramp, seen(), NOW).event is Event.ADVANCE


def test_without_a_limit_a_step_and_its_monitoring_wait() -> None:
    plan = RampPlan(steps=(Step(share=1_000, bake="10m"), Step(share=5_000)))
    unsure = seen(quality=Reading(0.01, NOW, from_s=0.0))
    assert tick(ramp_of(plan=plan), unsure, NOW).event is None
    watched = ramp_of(at(Phase.MONITORING, step=2, monitoring_since_s=NOW - 1e5))
    assert tick(watched, unsure, NOW).event is None


@pytest.mark.parametrize("phase", [Phase.DRAFT, Phase.COMPLETED])
def test_nothing_happens_before_and_after(phase: Phase) -> None:
    made = tick(ramp_of(at(phase), memory=TWICE), seen(errors=BAD), NOW)
    assert (made.event, made.holds, made.verdicts) == (None, (), ())


def test_a_ready_ramp_waits_for_its_start() -> None:
    made = tick(ramp_of(at(Phase.READY)), seen(), NOW)
    assert (made.event, made.holds) == (None, ())


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.MONITORING])
def test_invariant_05_a_kill_pauses_what_runs(phase: Phase) -> None:
    made = tick(ramp_of(at(phase, monitoring_since_s=None), killed=True), seen(), NOW)
    assert (made.event, made.progress.phase, made.share_millipct) == (Event.KILL, Phase.PAUSED, 1_000)
    after = tick(ramp_of(made.progress, killed=True), seen(), NOW + 1e6)
    assert (after.event, reasons(after)) == (None, [HoldReason.KILLED])


BACK = RolledBack(Cause.GATE, NOW - 60, NOW + 1_740, NOW - 60, to_share=0)


def test_a_rollback_waits_for_its_cooldown_and_then_for_a_command() -> None:
    ramp = ramp_of(at(Phase.ROLLED_BACK, rolled_back=BACK), 0)
    assert [str(hold) for hold in tick(ramp, seen(), NOW).holds] == ["cooldown: 1 min of 30 min"]
    made = tick(ramp, seen(), NOW + 1e6)
    assert (made.event, made.holds) == (None, ())
    assert tick(ramp_of(at(Phase.ROLLED_BACK)), seen(), NOW).event is None


def test_a_staged_rollback_falls_stage_by_stage() -> None:
    ramp = ramp_of(at(Phase.ROLLED_BACK, rolled_back=BACK), 5_000, rollback=Rollback("staged"))
    early = tick(ramp, seen(), NOW - 40)
    assert (early.event, reasons(early)) == (None, [HoldReason.ROLLING_BACK])
    made = tick(ramp, seen(), NOW)
    assert (made.event, made.share_millipct) == (Event.LOWER, 1_000)
    assert made.progress.rolled_back == replace(BACK, staged_s=NOW)
    assert tick(ramp, seen(), NOW - 1e6).share_millipct == 1_000


def test_invariant_21_a_rollback_waits_for_the_baseline_with_value_and_limit() -> None:
    checked = Rollback(partner_capacity_check=True)
    ramp = ramp_of(at(Phase.ROLLED_BACK, rolled_back=BACK), 20_000, rollback=checked)
    held = tick(ramp, seen()._replace(capacity=Capacity(baseline=80_000)), NOW)
    assert held.event is None
    assert [(hold.reason, hold.value, hold.limit) for hold in held.holds] == [
        (HoldReason.ROLLING_BACK, 20_000, 0),
        (HoldReason.CAPACITY, 80_000, 80_001),
    ]
    made = tick(ramp, seen()._replace(capacity=Capacity(baseline=95_000)), NOW)
    assert (made.share_millipct, [effect.kind for effect in made.effects]) == (5_000, [EffectKind.ALARM])


def test_invariant_21_a_kill_does_not_wait_for_the_baseline() -> None:
    checked = Rollback(partner_capacity_check=True)
    ramp = ramp_of(at(Phase.ROLLED_BACK, rolled_back=BACK), 20_000, rollback=checked, killed=True)
    made = tick(ramp, seen()._replace(capacity=Capacity(baseline=0)), NOW)
    assert (made.event, made.share_millipct) == (Event.LOWER, 0)
    assert tick(ramp._replace(share_millipct=0), seen(), NOW).event is None


def test_memory_of_an_earlier_attempt_is_forgotten() -> None:
    stale = replace(TWICE, attempt=0)
    made = tick(ramp_of(memory=stale), seen(errors=BAD), NOW)
    assert made.event is None
    assert made.memory == GateMemory(1, {"errors": GateRecord(1, (NOW,), NOW)})


def test_memory_needs_no_plan() -> None:
    ramp = ramp_of(at(Phase.READY), plan=None, memory=TWICE)
    assert tick(ramp, Observations(), NOW).memory.gates == TWICE.gates
    assert tick(ramp, Observations(), NOW + 3_600).memory.gates == {}


def test_evidence_of_the_whole_ramp_may_come_from_earlier_steps() -> None:
    later = replace(STEP_0, step=1, step_began_s=NOW - 700)
    reading = Reading(0.01, NOW, from_s=NOW - 1_000)
    of_ramp = replace(gate_of("quality", Role.SOFT), scope="ramp")
    assert reasons(tick(ramp_of(later, gates=GATES), seen(quality=reading), NOW)) == [HoldReason.INCONCLUSIVE]
    assert tick(ramp_of(later, gates=(GATES[0], of_ramp)), seen(quality=reading), NOW).event is Event.ADVANCE


def test_a_gate_that_fails_without_numbers_says_why() -> None:
    harm = Gate(name="harm", role=Role.HARD, source="evidence", kind=GateKind.HARM)
    verdict = Verdict("harm", Result.FAIL, "E = 40", NOW, value=40.0)
    made = tick(ramp_of(gates=(harm,)), Observations(gates={"harm": verdict}), NOW)
    assert made.reason == "gate harm failed: (E = 40)"


READINGS = st.none() | st.builds(
    Reading,
    value=st.none() | st.floats(),
    at_s=st.none() | st.floats() | st.just(NOW),
    samples=st.none() | st.integers(),
    series=st.integers(0, 3),
)


@given(st.dictionaries(st.sampled_from(["errors", "quality", "misspelt"]), READINGS), st.floats(-1e10, 1e10))
def test_invariant_07_no_observation_makes_a_tick_raise(gates: dict[str, Any], now_s: float) -> None:
    made = tick(ramp_of(), Observations(gates=gates), now_s)
    assert made.share_millipct <= 1_000 or all(gates.get(name) for name in ("errors", "quality"))
