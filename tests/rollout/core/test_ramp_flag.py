import pytest
from msgspec.structs import replace

from rollout.core.model import FeatureFlag, Kill
from rollout.core.ramp_flag import (
    applied,
    as_measured,
    is_watched,
    queries_of,
    ramp_of,
)
from rollout.core.ramp_model import Gate, GateKind, GateMemory, Phase, Progress, RampPlan, Role, Step
from rollout.core.ramp_table import Event, Transition
from rollout.core.readings import measured, no_data, unusable

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


def test_readings_become_what_gates_judge() -> None:
    good = as_measured(measured(0.5, 10.0, 7, from_s=3.0))
    assert (good.value, good.at_s, good.from_s, good.samples, good.series, good.error) == (0.5, 10.0, 3.0, 7, 1, "")
    assert as_measured(no_data("nothing")).series == 0
    assert as_measured(unusable("HTTP 500")).error == "HTTP 500"
