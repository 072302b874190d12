from typing import Any

import pytest
from msgspec.structs import replace

from rollout.core.gates import Reading, Result, Verdict
from rollout.core.hold import Hold, HoldReason
from rollout.core.ramp_holds import approval_hold, holds_of, is_approved, timed_holds
from rollout.core.ramp_model import (
    Approval,
    FailureRule,
    Freeze,
    Gate,
    GateKind,
    GateMemory,
    GateRecord,
    Phase,
    Progress,
    RampPlan,
    Role,
    Rollback,
    Step,
)
from rollout.core.ramp_table import Capacity, Observations, Ramp

NOW = 2_000.0
PLAN = RampPlan(
    steps=(Step(share=1_000, bake="10m", min_samples=50), Step(share=5_000, approval=True)), post_monitor="1h"
)
APPROVAL = Approval("f", 3, 1, "bob", 1_500.0)
BAKED = Progress(phase=Phase.RUNNING, step=0, step_began_s=1_000.0, proposer="ann", approval=APPROVAL)
SEEN = Observations(samples=50, samples_since_s=1_000.0)


def gate_of(name: str, role: Role = Role.HARD) -> Gate:
    rule = FailureRule(count=3)
    return Gate(name=name, role=role, source="promql", kind=GateKind.THRESHOLD, limit=0.05, failure=rule)


def ramp_of(progress: Progress = BAKED, gates: tuple[Gate, ...] = (), **changes: Any) -> Ramp:
    ramp = Ramp("f", 3, 1_000, killed=False, plan=PLAN, gates=gates, rollback=Rollback(), progress=progress)
    return ramp._replace(**changes)


def holds(ramp: Ramp, seen: Observations = SEEN, plan: RampPlan = PLAN, now_s: float = NOW) -> tuple[Hold, ...]:
    return holds_of(ramp, plan, seen, (), now_s)


def test_nothing_holds_what_is_proven() -> None:
    assert holds(ramp_of()) == ()


def test_baking_shows_how_long_of_how_long() -> None:
    assert holds(ramp_of(), now_s=1_599.0) == (Hold(HoldReason.BAKING, 599.0, 600.0),)
    assert holds(ramp_of(), now_s=1_600.0) == ()


def test_a_clock_that_went_back_holds_and_says_so() -> None:
    (hold,) = holds(ramp_of(), now_s=900.0)
    assert (hold.reason, hold.value) == (HoldReason.BAKING, 0.0)
    assert hold.detail.startswith("the clock is 100 s behind")


def test_a_step_takes_some_time_even_if_it_asks_for_none() -> None:
    plan = RampPlan(steps=(Step(share=1_000), Step(share=5_000)))
    assert holds(ramp_of(), plan=plan, now_s=1_000.0) == (Hold(HoldReason.BAKING, 0.0, 0.0),)
    assert holds(ramp_of(), plan=plan, now_s=1_000.5) == ()


@pytest.mark.parametrize(
    ("seen", "value", "detail"),
    [
        (SEEN._replace(samples=49), 49, ""),
        (SEEN._replace(samples=None), None, ""),
        (SEEN._replace(samples_since_s=999.0), None, "not counted since this step began"),
        (Observations(), None, "not counted since this step began"),
    ],
)
def test_invariant_06_samples_count_from_the_beginning_of_the_step(
    seen: Observations, value: int | None, detail: str
) -> None:
    assert holds(ramp_of(), seen) == (Hold(HoldReason.INSUFFICIENT_SAMPLES, value, 50, detail=detail),)


def test_capacity_holds_if_it_is_known_to_be_short() -> None:
    assert holds(ramp_of(), SEEN._replace(capacity=Capacity(candidate=4_999))) == (
        Hold(HoldReason.CAPACITY, 4_999, 5_000, detail="the candidate's"),
    )
    assert holds(ramp_of(), SEEN._replace(capacity=Capacity(candidate=5_000))) == ()


def test_capacity_that_is_asked_for_and_not_known_holds() -> None:
    asking = replace(PLAN, candidate_capacity="room")
    (hold,) = holds(ramp_of(), plan=asking)
    assert str(hold) == "capacity: room for unknown, 5% wanted (the candidate's can't be read)"
    assert holds(ramp_of(), SEEN._replace(capacity=Capacity(candidate=5_000)), asking) == ()


def test_a_freeze_holds() -> None:
    plan = RampPlan(steps=PLAN.steps, freezes=(Freeze(first="1970-01-01", last="1970-01-02"),))
    assert holds(ramp_of(), plan=plan) == (
        Hold(HoldReason.OUTSIDE_WINDOW, 1_980.0, 172_800.0, detail="frozen from 1970-01-01 to 1970-01-02"),
    )


@pytest.mark.parametrize(
    "given",
    [
        None,
        replace(APPROVAL, feature="g"),
        replace(APPROVAL, revision=2),
        replace(APPROVAL, revision=4),
        replace(APPROVAL, step=0),
        replace(APPROVAL, actor="ann"),
    ],
)
def test_invariant_17_an_approval_binds_to_feature_revision_step_and_another_person(given: Approval | None) -> None:
    ramp = ramp_of(replace(BAKED, approval=given))
    assert not is_approved(ramp, 1)
    assert holds(ramp) == (Hold(HoldReason.AWAITING_APPROVAL, 0, 1, detail="for step 1, by somebody else than ann"),)
    assert is_approved(ramp_of(), 1)


def test_nobody_known_as_proposer() -> None:
    (hold,) = holds(ramp_of(replace(BAKED, approval=None, proposer="")))
    assert hold.detail == "for step 1, by somebody else than the proposer"


def test_the_last_step_needs_neither_capacity_nor_approval() -> None:
    last = replace(BAKED, step=1, approval=None)
    assert holds(ramp_of(last), SEEN._replace(capacity=Capacity(candidate=0))) == ()


def test_monitoring_waits_for_its_time() -> None:
    watched = Progress(phase=Phase.MONITORING, step=1, monitoring_since_s=1_000.0, extended_s=60.0)
    assert holds(ramp_of(watched), now_s=4_659.0) == (Hold(HoldReason.MONITORING, 3_659.0, 3_660.0),)
    assert holds(ramp_of(watched), now_s=4_660.0) == ()


def test_gates_hold_worst_first_with_value_and_limit() -> None:
    named = {"a": Result.INCONCLUSIVE, "b": Result.PASS, "c": Result.NO_DATA, "d": Result.ERROR, "e": Result.FAIL}
    gates = (*map(gate_of, named), gate_of("shown", Role.OBSERVE))
    verdicts = [Verdict(name, each, "why", NOW, value=0.2, limit=0.05) for name, each in named.items()]
    verdicts.append(Verdict("shown", Result.FAIL, "why", NOW))
    ramp = ramp_of(gates=gates, memory=GateMemory(0, {"e": GateRecord(2, (1.0,), 1.0)}))
    assert holds_of(ramp, PLAN, SEEN, verdicts, NOW) == (
        Hold(HoldReason.FAILING, 0.2, 0.05, "e", "why; failed 2 of 3 times"),
        Hold(HoldReason.METRICS_ERROR, 0.2, 0.05, "d", "why"),
        Hold(HoldReason.NO_DATA, 0.2, 0.05, "c", "why"),
        Hold(HoldReason.INCONCLUSIVE, 0.2, 0.05, "a", "why"),
    )


def test_everything_that_holds_is_told_at_once() -> None:
    fresh = replace(BAKED, step_began_s=NOW - 60, approval=None)
    seen = Observations(capacity=Capacity(candidate=0), gates={"a": Reading()})
    told = [hold.reason for hold in holds(ramp_of(fresh), seen)]
    wanted = [HoldReason.INSUFFICIENT_SAMPLES, HoldReason.BAKING, HoldReason.CAPACITY, HoldReason.AWAITING_APPROVAL]
    assert told == wanted


WATCHED = Progress(phase=Phase.MONITORING, step=1, monitoring_since_s=1_000.0)
CLOSED = RampPlan(steps=PLAN.steps, freezes=(Freeze(first="1970-01-01", last="1970-01-02"),))


@pytest.mark.parametrize(
    ("progress", "plan", "reasons"),
    [
        (BAKED, PLAN, []),
        (replace(BAKED, step_began_s=NOW - 1), PLAN, [HoldReason.BAKING]),
        (replace(BAKED, step_began_s=NOW - 1, step=1), CLOSED, []),
        (replace(BAKED, step_began_s=NOW, step=1), CLOSED, [HoldReason.BAKING]),
        (
            replace(BAKED, approval=None, step_began_s=NOW),
            CLOSED,
            [HoldReason.BAKING, HoldReason.OUTSIDE_WINDOW, HoldReason.AWAITING_APPROVAL],
        ),
        (replace(BAKED, step=2), CLOSED, []),
        (WATCHED, PLAN, [HoldReason.MONITORING]),
    ],
)
def test_what_needs_no_measurement_is_told_apart(progress: Progress, plan: RampPlan, reasons: list[HoldReason]) -> None:
    ramp = ramp_of(progress)
    found = timed_holds(ramp, plan, NOW)
    assert [hold.reason for hold in found] == reasons
    if progress.step < len(plan.steps):
        assert set(found) <= set(holds_of(ramp, plan, SEEN, (), NOW))


def test_any_step_can_be_asked_about_its_approval() -> None:
    assert approval_hold(ramp_of(), PLAN, 0) == approval_hold(ramp_of(), PLAN, 1) == ()
    assert [hold.limit for hold in approval_hold(ramp_of(replace(BAKED, approval=None)), PLAN, 1)] == [1]
