import json
from typing import Any

from hypothesis import given
from msgspec.structs import replace

from rollout.core.codec import parse_document
from rollout.core.configuration import (
    EARLY_ACCESS,
    Change,
    _leaves_of,
    configured,
    created,
    diff,
    exported,
    same,
    unwritten_state,
)
from rollout.core.model import (
    Audience,
    Eligibility,
    Enrolment,
    EnrolmentState,
    FeatureFlag,
    Kill,
    Prerequisite,
)
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, RampPlan, Role, Step
from tests.examples import fewer
from tests.rollout.core.document_strategies import document_of, ramped_flags, stores

FLAG = FeatureFlag(feature="f", candidate="inhouse", baseline="partner")
GATE = Gate(name="errors", role=Role.HARD, source="promql", kind=GateKind.THRESHOLD, query="up", limit=0.5)
ANN = Enrolment("acme", "ann", EnrolmentState.APPROVED)


def test_the_difference_is_told_leaf_by_leaf_with_names_where_there_are_some() -> None:
    before = replace(FLAG, ramp=RampPlan(steps=(Step(share=1_000),)), gates=(GATE,))
    after = replace(
        before,
        salt="new",
        ramp=RampPlan(steps=(Step(share=1_000, approval=True), Step(share=2_000))),
        gates=(replace(GATE, name="latency"), replace(GATE, limit=0.25)),
        prerequisites=(Prerequisite("other"),),
    )
    found = {change.path: (change.before, change.after) for change in diff(before, after)}
    assert found["salt"] == ("", "new")
    assert found["ramp.steps[0].approval"] == (False, True)
    assert found["ramp.steps[1].share"] == (None, 2_000)
    assert found["gates"] == (["errors"], ["latency", "errors"])
    assert found["gates[errors].limit"] == (0.5, 0.25)
    assert found["gates[latency].limit"] == (None, 0.5)
    assert "gates[latency].window" not in found, "it is at its default"
    assert found["prerequisites"] == ([], ["other"])
    assert not any(path.startswith("eligibility") for path in found)


def test_items_of_one_name_are_told_by_their_place() -> None:
    twice = replace(FLAG, gates=(GATE, GATE))
    assert {"gates[0].limit", "gates[1].limit"} <= {change.path for change in diff(FLAG, twice)}


def test_of_a_new_flag_all_is_told_that_is_no_default() -> None:
    new = replace(FLAG, share_millipct=5_000, revision=7, progress=Progress(phase=Phase.READY))
    assert diff(None, new) == (
        Change("candidate", None, "inhouse"),
        Change("baseline", None, "partner"),
        Change("share_millipct", 0, 5_000),
    )


def test_true_and_one_are_not_the_same() -> None:
    one = replace(FLAG, eligibility=Eligibility(attributes={"===": [{"var": "beta"}, 1]}))
    true = replace(FLAG, eligibility=Eligibility(attributes={"===": [{"var": "beta"}, True]}))
    assert [change.path for change in diff(one, true)] == ["eligibility.attributes"]
    assert same([1], [1])
    assert not same([1], [True])


def test_a_document_gives_no_state_to_a_flag_that_exists() -> None:
    stored = replace(
        FLAG,
        revision=4,
        share_millipct=7,
        kill=Kill(on=True),
        progress=Progress(phase=Phase.READY),
        eligibility=Eligibility(early_access=(ANN,)),
    )
    wanted = replace(
        FLAG, owner="me", share_millipct=9, eligibility=Eligibility(audience=Audience.LISTED, tenants=("a",))
    )
    made = configured(stored, wanted)
    assert (made.revision, made.share_millipct, made.kill.on, made.progress) == (4, 7, True, stored.progress)
    assert (made.owner, made.eligibility) == ("me", Eligibility(Audience.LISTED, ("a",), (ANN,)))
    assert created(replace(wanted, revision=4, progress=stored.progress)) == replace(wanted, revision=0)
    given_keys = {"share_millipct", "kill", EARLY_ACCESS}
    assert unwritten_state(stored, wanted, given_keys) == ("share_millipct", "kill", EARLY_ACCESS)
    assert unwritten_state(stored, wanted, {"share_millipct"}) == ("share_millipct",)
    assert unwritten_state(stored, stored, given_keys) == ()


def test_an_export_holds_what_differs_from_the_defaults_and_what_decides_the_draw() -> None:
    pinned: dict[str, Any] = {
        "candidate": "inhouse",
        "baseline": "partner",
        "schemaVersion": 1,
        "state": "ENABLED",
        "hashVersion": 3,
        "bucketBy": "conversation",
    }
    listed = replace(FLAG, revision=3, share_millipct=5, eligibility=Eligibility(early_access=(ANN,)))
    assert exported(listed, with_state=False) == pinned
    with_state = exported(listed, with_state=True)
    assert with_state["share_millipct"] == 5
    assert [each["user"] for each in with_state["eligibility"]["early_access"]] == ["ann"]


@fewer(50)
@given(stores)
def test_what_is_exported_with_its_state_is_read_back_but_for_revision_and_progress(
    flags: dict[str, FeatureFlag],
) -> None:
    text = json.dumps(document_of(flags, with_state=True))
    assert parse_document(text) == {name: created(flag) for name, flag in flags.items()}


@fewer(50)
@given(stores)
def test_the_configuration_that_is_exported_changes_nothing(flags: dict[str, FeatureFlag]) -> None:
    for name, wanted in parse_document(document_of(flags, with_state=False)).items():
        assert configured(flags[name], wanted) == flags[name]


@fewer(50)
@given(ramped_flags, ramped_flags)
def test_the_difference_is_complete(one: FeatureFlag, other: FeatureFlag) -> None:
    before, after = _leaves_of(one), _leaves_of(other)
    made = {path: leaf.value for path, leaf in before.items()}
    for change in diff(one, other):
        made[change.path] = change.after
    assert {path: made.pop(path, leaf.default) for path, leaf in after.items()} == {
        path: leaf.value for path, leaf in after.items()
    }
    assert all(value is None or value == before[path].default for path, value in made.items())
    assert diff(one, one) == ()
