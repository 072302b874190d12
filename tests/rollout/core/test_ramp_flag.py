import pytest
from msgspec.structs import replace

from rollout.core.model import Arm, FeatureFlag, Kill, State
from rollout.core.promql import MetricQuery
from rollout.core.ramp_flag import (
    applied,
    as_measured,
    capacity_of,
    capacity_queries_of,
    faults_of,
    is_watched,
    queries_of,
    ramp_of,
)
from rollout.core.ramp_model import Gate, GateKind, GateMemory, Phase, Progress, RampPlan, Role, Rollback, Step
from rollout.core.ramp_table import Event, Transition
from rollout.core.readings import Reading, measured, no_data, unusable

PROGRESS = Progress(phase=Phase.RUNNING, step=0, ramp_began_s=100.0, step_began_s=150.0)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    revision=3,
    share_millipct=1_000,
    ramp=RampPlan(steps=(Step(share=1_000),)),
    progress=PROGRESS,
)


def gate(name: str, source: str = "promql", scope: str = "step") -> Gate:
    kind = GateKind.THRESHOLD if source == "promql" else GateKind.HARM
    return Gate(name=name, role=Role.HARD, source=source, kind=kind, query="rate(x[$elapsed])", limit=1.0, scope=scope)


@pytest.mark.parametrize(
    ("killed", "locally", "wanted"), [(False, False, False), (True, False, True), (False, True, True)]
)
def test_a_ramp_is_killed_by_its_flag_or_on_this_replica(*, killed: bool, locally: bool, wanted: bool) -> None:
    memory = GateMemory(attempt=2)
    ramp = ramp_of(replace(FLAG, kill=Kill(on=killed)), memory, killed_locally=locally)
    assert ramp == ("draft", 3, 1_000, wanted, FLAG.ramp, (), FLAG.rollback, PROGRESS, memory)


def test_a_transition_changes_share_and_progress_only() -> None:
    done = replace(PROGRESS, phase=Phase.COMPLETED)
    after = applied(FLAG, Transition(Event.COMPLETE, done, 2_000, GateMemory()))
    assert after == replace(FLAG, share_millipct=2_000, progress=done)


@pytest.mark.parametrize("phase", list(Phase))
def test_ramps_at_rest_are_not_watched(phase: Phase) -> None:
    flag = replace(FLAG, gates=(gate("a"),), progress=replace(PROGRESS, phase=phase))
    assert is_watched(flag) is (phase not in {Phase.DRAFT, Phase.COMPLETED})
    assert bool(queries_of(flag, 200.0)) is is_watched(flag)


def test_ranges_reach_back_to_where_the_gates_scope_began() -> None:
    flag = replace(FLAG, gates=(gate("step"), gate("ramp", scope="ramp"), gate("other", "evidence")))
    found = queries_of(flag, 200.0)
    assert {name: query.expression for name, query in found.items()} == {"step": "rate(x[48s])", "ramp": "rate(x[98s])"}
    assert found["step"].max_age_s == 120.0
    assert queries_of(flag, 0.0)["step"].expression == "rate(x[1s])"


def test_gates_that_can_roll_back_are_read_first() -> None:
    roles = {"seen": Role.OBSERVE, "soft": Role.SOFT, "one": Role.HARD, "two": Role.HARD}
    flag = replace(FLAG, gates=tuple(replace(gate(name), role=role) for name, role in roles.items()))
    assert list(queries_of(flag, 200.0)) == ["one", "two", "seen", "soft"]


@pytest.mark.parametrize("scope", ["step", "ramp"])
def test_a_ramp_that_has_not_begun_is_not_measured_by_what_was_before_it(scope: str) -> None:
    flag = replace(FLAG, gates=(gate("a", scope=scope),), progress=Progress(phase=Phase.READY))
    assert queries_of(flag, 1.7e9)["a"].expression == "rate(x[1s])"


def test_a_gate_may_ask_for_the_newest_sample_and_how_many_there_were() -> None:
    asked = replace(gate("a"), newest="max(timestamp(x))", samples="sum(increase(x[$elapsed]))", max_age="30s")
    (query,) = queries_of(replace(FLAG, gates=(asked,)), 200.0).values()
    assert (query.newest, query.samples, query.max_age_s) == ("max(timestamp(x))", "sum(increase(x[48s]))", 30.0)


CHECKED = replace(FLAG, rollback=Rollback(partner_capacity_check=True, baseline_capacity="room_b"))


def test_capacity_is_asked_for_where_the_flag_says_how() -> None:
    assert capacity_queries_of(FLAG) == {}
    assert capacity_queries_of(replace(FLAG, rollback=Rollback(baseline_capacity="room_b"))) == {}
    assert capacity_queries_of(CHECKED) == {Arm.BASELINE: MetricQuery("room_b")}
    both = replace(CHECKED, ramp=replace(FLAG.ramp, candidate_capacity="room_c"))
    assert capacity_queries_of(both) == {Arm.CANDIDATE: MetricQuery("room_c"), Arm.BASELINE: MetricQuery("room_b")}
    assert capacity_queries_of(replace(CHECKED, ramp=None)) == {Arm.BASELINE: MetricQuery("room_b")}
    assert capacity_queries_of(replace(both, progress=replace(PROGRESS, phase=Phase.COMPLETED))) == {}


@pytest.mark.parametrize(
    ("reading", "bears"),
    [
        (measured(0.25, 1.0), 25_000),
        (measured(7.0, 1.0), 100_000),
        (measured(0.0, 1.0), 0),
        (measured(-0.1, 1.0), None),
        (no_data("nothing"), None),
        (unusable("HTTP 500"), None),
    ],
)
def test_what_is_no_share_of_the_traffic_is_unknown(reading: Reading, bears: int | None) -> None:
    assert capacity_of({Arm.BASELINE: reading}) == (None, bears)
    assert capacity_of({Arm.CANDIDATE: reading}) == (bears, None)
    assert capacity_of({}) == (None, None)


def test_readings_become_what_gates_judge() -> None:
    good = as_measured(measured(0.5, 10.0, 7, from_s=3.0))
    assert (good.value, good.at_s, good.from_s, good.samples, good.series, good.error) == (0.5, 10.0, 3.0, 7, 1, "")
    assert as_measured(no_data("nothing")).series == 0
    assert as_measured(unusable("HTTP 500")).error == "HTTP 500"


def test_a_disabled_flag_proves_nothing() -> None:
    assert faults_of(FLAG) == ()
    assert faults_of(replace(FLAG, state=State.DISABLED)) == ("the flag is disabled, so nobody gets the candidate",)
