from math import inf
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.core.gates import Result, Verdict
from rollout.core.hold import Hold, HoldReason
from rollout.core.memory import MEMORY_BYTES_MAX
from rollout.core.ramp_model import (
    GATES_MAX,
    EarlyMargin,
    FailureRule,
    Freeze,
    Gate,
    GateKind,
    GateMemory,
    GateRecord,
    Phase,
    RampPlan,
    Role,
    Rollback,
    Step,
    Window,
)
from rollout.core.ramp_plan import FAILS_KEPT_MAX, Findings, dry_run, total_s, validate, written
from rollout.core.ramp_shown import Shown, encode_memory

METRICS = ("form", "ttft_s")
ERRORS = Gate(
    name="errors",
    role=Role.HARD,
    source="promql",
    kind=GateKind.THRESHOLD,
    query="up",
    limit=0.05,
    window="5m",
    failure=FailureRule(count=3),
)
QUALITY = Gate(
    name="quality",
    role=Role.SOFT,
    source="evidence",
    kind=GateKind.NONINFERIORITY,
    metric="form",
    margin=0.05,
    alpha=0.05,
)
PLAN = RampPlan(steps=(Step(share=1_000, bake="1h"), Step(share=50_000, bake="1d")))


WHOLE = Rollback()


def found(
    plan: RampPlan = PLAN,
    *gates: Gate,
    rollback: Rollback = WHOLE,
    rate: float | None = None,
) -> Findings:
    return validate(plan, gates or (ERRORS, QUALITY), rollback, known_metrics=METRICS, units_per_s=rate)


def plan_of(*steps: Step, **changes: Any) -> RampPlan:
    return RampPlan(steps=steps, **changes)


def test_a_sound_plan_has_no_findings() -> None:
    assert found() == Findings()
    freezing = plan_of(*PLAN.steps, freezes=(Freeze(first="2026-12-20", last="2026-12-20"),))
    assert found(freezing) == Findings()


@pytest.mark.parametrize(
    ("gate", "fault"),
    [
        (
            replace(QUALITY, metric="fom"),
            "asks for the unknown metric 'fom'; did you mean 'form'?",
        ),
        (replace(QUALITY, metric="zzz"), "asks for the unknown metric 'zzz'; known: form, ttft_s"),
        (replace(ERRORS, failure=None), "needs a failure rule"),
        (replace(ERRORS, limit=None), "needs a limit"),
        (replace(ERRORS, query=""), "can't be asked: a PromQL query needs an expression"),
        (replace(ERRORS, max_age="0s"), "can't be asked: max_age_s must lie"),
        (replace(ERRORS, kind=GateKind.HARM, margin=0.1, alpha=0.1), "can't show harm from PromQL"),
        (replace(QUALITY, margin=None), "needs margin"),
        (replace(QUALITY, alpha=None), "needs alpha"),
    ],
)
def test_invariant_22_a_gate_that_could_not_judge_is_refused(gate: Gate, fault: str) -> None:
    (told,) = found(PLAN, gate).faults
    assert told.startswith(f"gate {gate.name!r} {fault}")


def test_an_observing_gate_needs_no_failure_rule() -> None:
    assert found(PLAN, ERRORS, replace(ERRORS, name="cost", role=Role.OBSERVE, failure=None)).faults == ()


def test_names_of_gates_are_unique() -> None:
    assert found(PLAN, ERRORS, ERRORS).faults == ("2 gates are called 'errors'",)


def test_invariant_22_a_gate_needs_time_to_judge() -> None:
    plan = plan_of(Step(share=1_000), Step(share=5_000, bake="1h"))
    assert found(plan).faults == ("step 0 doesn't bake, so its gates would judge nothing",)
    assert found(plan, replace(ERRORS, role=Role.OBSERVE)).faults == ()


@pytest.mark.parametrize("bake", ["10m", "1m"])
def test_a_step_must_last_longer_than_its_bake_and_its_windows(bake: str) -> None:
    limit = "10m" if bake == "10m" else "5m"
    (fault,) = found(plan_of(Step(share=1_000, bake=bake, max_duration=limit))).faults
    assert fault.startswith("step 0 must end before")
    assert found(plan_of(Step(share=1_000, bake=bake, max_duration="11m"))).faults == ()


@pytest.mark.parametrize(
    ("plan", "fault"),
    [
        (plan_of(*PLAN.steps, windows=(Window(opens="09:00", closes="09:00"),)), "the window 09:00-09:00 never opens"),
        (plan_of(*PLAN.steps, windows=(Window(opens="09:00", closes="10:00", days=()),)), "never opens"),
        (plan_of(*PLAN.steps, cooldown="91d"), "a cooldown of 91d is too long"),
        (plan_of(*PLAN.steps, freezes=(Freeze(first="2026-12-20", last="2026-12-19"),)), "ends before it begins"),
    ],
)
def test_hours_that_cannot_be_meant(plan: RampPlan, fault: str) -> None:
    assert fault in found(plan).faults[0]


def test_a_rollback_must_give_something_back() -> None:
    assert found(rollback=Rollback(to_share=50_000)).faults == ("a rollback to 50% would give nothing back",)


def test_invariant_22_samples_out_of_reach_are_warned_of() -> None:
    plan = plan_of(Step(share=1_000, bake="1h", min_samples=500, max_duration="2h"), Step(share=50_000, bake="1h"))
    assert found(plan, rate=None).warnings == ()
    assert found(plan, rate=7.0).warnings == ()
    assert found(plan, rate=1.0).warnings == ("step 0: 500 samples need 13.9 h at your traffic, but it may last 2 h",)
    assert "longer than can be said" in found(plan, rate=0.0).warnings[0]


def test_shares_that_look_like_percent_are_warned_of() -> None:
    assert "the last share is 0.1%: shares are in thousandths" in found(plan_of(Step(share=100, bake="1h"))).warnings[0]


def test_a_ramp_that_nothing_stops_is_warned_of() -> None:
    watched = replace(ERRORS, role=Role.OBSERVE)
    assert found(PLAN, watched).warnings == (
        "no gate holds this ramp: time alone raises the share",
        "no gate is hard and can fail: nothing rolls back by itself",
    )
    for role in (Role.SOFT, Role.HARD):
        assert found(PLAN, replace(QUALITY, role=role, metric="ttft_s")).warnings == (
            "no gate is hard and can fail: nothing rolls back by itself",
        )


def test_errors_alone_do_not_see_callers_who_leave() -> None:
    failing, slow = replace(QUALITY, metric="errors"), replace(QUALITY, name="slow", metric="total_p95")
    told = [
        validate(PLAN, (ERRORS, *gates), WHOLE, known_metrics=("errors", "total_p95")).warnings
        for gates in ((failing,), (failing, slow), (slow,))
    ]
    assert told == [
        ("errors don't count callers who leave before an answer begins: let a gate on ttft or total see them",),
        (),
        (),
    ]


@pytest.mark.parametrize("metric", ["itl_p95", "form"])
def test_answers_that_are_stopped_are_for_a_gate_on_total_to_see(metric: str) -> None:
    harm = replace(QUALITY, name="worse", role=Role.HARD, kind=GateKind.HARM, metric=metric)
    total, ttft = (replace(harm, name=each, metric=each) for each in ("total_p50", "ttft_p95"))
    watching = replace(total, role=Role.OBSERVE)

    def warned(*gates: Gate) -> tuple[str, ...]:
        known = (metric, "total_p50", "ttft_p95")
        return validate(PLAN, gates, WHOLE, known_metrics=known).warnings

    left = "leave out answers that callers stop, of which a slow candidate has more: let a gate on total see them"
    assert warned(harm) == warned(harm, ttft) == warned(harm, watching) == (f"worse {left}",)
    assert warned(harm, total) == warned(harm, replace(total, role=Role.SOFT)) == ()
    assert warned(ERRORS, replace(harm, role=Role.SOFT)) == (), "it stops nothing"


def test_at_100_percent_there_is_nothing_to_compare_with() -> None:
    whole = plan_of(Step(share=100_000, bake="1h"))
    assert found(whole).warnings == (
        "at 100% there is no baseline to compare with: quality are not asked in the last step",
    )
    assert found(whole, ERRORS).warnings == ()


def test_a_first_step_may_give_nobody_the_candidate() -> None:
    shadows, first = Step(share=0, bake="1h"), Step(share=1_000, bake="1h")
    assert found(plan_of(shadows, first)).faults == ()
    asked = found(plan_of(replace(shadows, min_samples=1), first)).faults
    assert asked == ("step 0 gives nobody the candidate, so it can't have min_samples",)
    assert dry_run(plan_of(shadows, first), (QUALITY,), 1.0)[0].needs_s == 3_600.0


def test_a_window_may_stay_closed_longer_than_a_step_may_last() -> None:
    steps = (Step(share=1_000, bake="1h", max_duration="8h"), Step(share=5_000, bake="1h"))
    office, always = Window(opens="09:00", closes="17:00"), Window(opens="22:00", closes="21:00")
    assert found(plan_of(*steps, windows=(office,))).warnings == (
        "steps 0 may run out of time while the window is closed",
    )
    assert found(plan_of(*steps, windows=(always,))).warnings == ()


def test_a_dry_run_says_what_each_step_needs() -> None:
    plan = plan_of(
        Step(share=1_000, bake="1h", min_samples=360),
        Step(share=50_000, bake="2h", min_samples=360, approval=True),
        post_monitor="1h",
    )
    first, second = dry_run(plan, (ERRORS,), 1.0)
    assert (first.samples_s, first.needs_s, second.samples_s, second.needs_s) == (36_000, 36_000, 720, 7_200)
    assert str(first) == "step 0 (1%): at your traffic this step needs 10 h"
    assert str(second).endswith("needs 2 h, and the approval of a second person before")
    assert total_s((first, second), plan) == 36_000 + 7_200 + 3_600


def test_a_dry_run_reckons_with_the_evidence() -> None:
    (step,) = dry_run(plan_of(Step(share=50_000)), (QUALITY, ERRORS), 2.0)
    # 12.5 * 0.25 / 0.05**2 = 1250 effective units, p(1 - p) = 1/4 of each
    assert step.evidence_s == step.needs_s == pytest.approx(2_500)
    bare = dry_run(plan_of(Step(share=50_000)), (replace(QUALITY, margin=None), ERRORS), 2.0)
    assert bare[0].needs_s == 300


def test_margins_of_a_step_and_spreads_of_a_metric_are_reckoned_with() -> None:
    def needs(gate: Gate, share: int) -> float:
        (step,) = dry_run(plan_of(Step(share=share)), (gate,), 4.0)
        return step.evidence_s

    early = replace(QUALITY, early=(EarlyMargin(60_000, 0.1),))
    assert needs(early, 50_000) == pytest.approx(needs(QUALITY, 50_000) / 4)
    assert needs(replace(QUALITY, metric="errors"), 50_000) == pytest.approx(100)
    assert 3_500 < needs(replace(QUALITY, metric="ttft_p95", margin=0.1), 50_000) < 5_500  # 4,400 in simulations
    for gate, share in ((QUALITY, 100_000), (replace(QUALITY, metric="judge"), 50_000)):
        assert needs(gate, share) == 0.0


def test_without_traffic_nothing_is_ever_proven() -> None:
    plan = plan_of(Step(share=1_000, bake="1h", min_samples=1))
    assert dry_run(plan, (), None)[0].needs_s == inf
    assert dry_run(plan_of(Step(share=50_000, bake="1h")), (QUALITY,), 0.0)[0].evidence_s == inf
    assert dry_run(plan_of(Step(share=1_000, bake="1h")), (), None)[0].needs_s == 3_600


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (30.0, "30 s"),
        (90.0, "1.5 min"),
        (9_000.0, "2.5 h"),
        (86_400.0, "1 day"),
        (172_800.0, "2 days"),
        (inf, "longer than can be said"),
    ],
)
def test_lengths_of_time_as_people_say_them(seconds: float, text: str) -> None:
    assert written(seconds) == text


def test_queries_that_mislead_are_shown() -> None:
    def warned(gate: Gate, rollback: Rollback = WHOLE) -> str:
        return "\n".join(found(PLAN, gate, rollback=rollback).warnings)

    assert "give `newest`" in warned(replace(ERRORS, query="sum(rate(x[5m]))"))
    assert "give `newest`" not in warned(replace(ERRORS, query="sum(rate(x[5m]))", newest="max(timestamp(x))"))
    assert "it will never pass" in warned(replace(ERRORS, min_samples=5))
    assert "it will never pass" not in warned(replace(ERRORS, min_samples=5, samples="sum(x)"))
    unread = Rollback(partner_capacity_check=True)
    assert "rollbacks don't wait for the partner" in warned(ERRORS, unread)
    assert "rollbacks don't wait" not in warned(ERRORS, replace(unread, baseline_capacity="room"))


def test_capacity_queries_must_be_askable() -> None:
    plan = replace(PLAN, candidate_capacity=" ")
    (told,) = found(plan, ERRORS, rollback=Rollback(baseline_capacity="room")).faults
    assert told.startswith("candidate_capacity can't be asked")
    (told,) = found(PLAN, ERRORS, rollback=Rollback(baseline_capacity=" ")).faults
    assert told.startswith("baseline_capacity can't be asked")


def test_failure_rules_may_only_count_what_can_be_kept() -> None:
    many = FailureRule(count=1_000, within="1d")
    gates = [replace(ERRORS, name=f"g{index}", failure=many) for index in range(6)]
    assert found(PLAN, *gates[:5]).faults == ()
    assert found(PLAN, *gates).faults == ("the gates' failure rules count 6000 FAILs in all, at most 5000 can be kept",)


def test_the_largest_memory_that_is_let_through_can_be_kept() -> None:
    times = tuple(1.7e9 + index / 7 for index in range(FAILS_KEPT_MAX // GATES_MAX))
    names = [f"{index:064}" for index in range(GATES_MAX)]
    memory = GateMemory(1, dict.fromkeys(names, GateRecord(50, times, times[-1])), 1.7e9)
    holds = tuple(Hold(HoldReason.FAILING, 1 / 3, 1 / 7, name, "x" * 340) for name in names)
    verdicts = tuple(Verdict(name, Result.FAIL, "x" * 300, 1 / 3, 1 / 7, "", 1 / 3, 1 / 7, 10**9) for name in names)
    shown = Shown(9, Phase.RUNNING, 1, 1 / 3, "h" * 90, holds, verdicts)
    assert len(encode_memory(memory, shown)) < MEMORY_BYTES_MAX
