from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.errors import InvalidDocument
from rollout.core.evaluate import compile_snapshot, decide
from rollout.core.model import (
    BUCKETS,
    Arm,
    FeatureFlag,
    Kill,
    Needs,
    Prerequisite,
    Reason,
    State,
    Subject,
    UnitKind,
)
from rollout.core.prerequisites import DECISIONS_MAX, check_prerequisites, compile_order, unmet

ANYBODY = Subject("c", "u", "t", "r")
CANDIDATE, ENABLED = Needs.CANDIDATE, Needs.ENABLED


def flag(name: str, *wanted: str, needs: Needs = CANDIDATE, share: int = BUCKETS) -> FeatureFlag:
    return FeatureFlag(
        feature=name,
        candidate="a",
        baseline="b",
        share_millipct=share,
        prerequisites=tuple(Prerequisite(each, needs) for each in wanted),
    )


def of(*some: FeatureFlag) -> dict[str, FeatureFlag]:
    return {each.feature: each for each in some}


def reason(flags: Mapping[str, FeatureFlag], feature: str = "a") -> Reason:
    return decide(compile_snapshot(flags, 1), feature, ANYBODY).reason


def test_the_candidate_of_another_feature() -> None:
    assert reason(of(flag("a", "b"), flag("b"))) is Reason.SPLIT
    assert reason(of(flag("a", "b"), flag("b", share=0))) is Reason.PREREQUISITE
    assert reason(of(flag("a", "b"), flag("b", "c"), flag("c", share=0))) is Reason.PREREQUISITE


def test_another_feature_in_operation() -> None:
    needy, other = flag("a", "b", needs=ENABLED), flag("b", share=0)
    assert reason(of(needy, other)) is Reason.SPLIT
    for off in (replace(other, state=State.DISABLED), replace(other, kill=Kill(on=True))):
        assert reason(of(needy, off)) is Reason.PREREQUISITE


def test_a_feature_that_is_not_there_is_no_candidate() -> None:
    assert reason(of(flag("a", "b"))) is Reason.PREREQUISITE
    assert reason(of(flag("a", "b", needs=ENABLED))) is Reason.PREREQUISITE


def test_the_order_puts_prerequisites_first_and_leaves_circles_out() -> None:
    flags = of(flag("a", "b", "c"), flag("b", "c"), flag("c"), flag("x", "y"), flag("y", "x"), flag("z", "x"))
    assert compile_order(flags) == ("c", "b", "a")
    for stuck in ("x", "y", "z"):
        assert reason(flags, stuck) is Reason.ERROR
    assert reason(flags) is Reason.SPLIT


def test_a_feature_in_a_circle_can_still_be_killed_and_disabled() -> None:
    killed = replace(flag("x", "x2"), kill=Kill(on=True))
    disabled = replace(flag("x2", "x"), state=State.DISABLED)
    assert reason(of(killed, disabled), "x") is Reason.KILLED
    assert reason(of(killed, disabled), "x2") is Reason.DISABLED


def refusal(*some: FeatureFlag) -> str:
    with pytest.raises(InvalidDocument) as refused:
        check_prerequisites(of(*some))
    return refused.value.cause


def test_what_does_not_fit_together_is_refused() -> None:
    assert refusal(flag("a", "summarise"), flag("summarize")) == (
        "'a' needs 'summarise', which is not there; did you mean 'summarize'?"
    )
    assert refusal(flag("a", "zzzzzz")) == "'a' needs 'zzzzzz', which is not there"
    assert refusal(flag("a", "b"), flag("b", "c"), flag("c", "b")).endswith("circle: b needs c needs b")
    check_prerequisites(of(flag("a", "b"), flag("b", "c", needs=ENABLED), flag("c")))


def test_a_coarser_unit_than_the_others_is_refused() -> None:
    by_user = replace(flag("a", "b"), bucket_by=UnitKind.USER)
    assert "one user would get both arms" in refusal(by_user, flag("b"))
    check_prerequisites(of(by_user, replace(flag("b"), bucket_by=UnitKind.TENANT)))
    check_prerequisites(of(replace(flag("a", "b", needs=ENABLED), bucket_by=UnitKind.USER), flag("b")))


def test_the_number_of_decisions_is_bounded() -> None:
    layers = [[flag(f"f{depth}{place}") for place in range(3)] for depth in range(4)]
    stacked = [
        replace(
            each, prerequisites=tuple(Prerequisite(below.feature) for below in (layers[depth - 1] if depth else ()))
        )
        for depth, layer in enumerate(layers)
        for place, each in enumerate(layer)
    ]
    assert f"needs more than {DECISIONS_MAX} decisions" in refusal(*stacked)
    assert reason(of(*stacked), "f30") is Reason.ERROR
    check_prerequisites(of(*stacked[:9]))


def test_people_are_told_what_is_not_met() -> None:
    flags = of(flag("a", "b", "c"), flag("b", share=0), flag("c"))
    snapshot = compile_snapshot(flags, 1)
    assert unmet(flags["a"], snapshot.features, ANYBODY) == ("'b' candidate",)


shares = st.integers(0, BUCKETS)
subjects = st.builds(Subject, *[st.none() | st.text("abc", max_size=3)] * 4)


@given(shares, shares, shares, subjects)
def test_growing_the_others_share_takes_nothing_away(own: int, one: int, other: int, subject: Subject) -> None:
    small, large = sorted((one, other))
    arms = [
        decide(compile_snapshot(of(flag("a", "b", share=own), flag("b", share=share)), 1), "a", subject).arm
        for share in (small, large)
    ]
    assert arms != [Arm.CANDIDATE, Arm.BASELINE]


@given(st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdefg"), max_size=4)))
def test_any_arrangement_compiles_and_decides(wanted: dict[str, set[str]]) -> None:
    flags = of(*(flag(name, *sorted(others - {name})) for name, others in wanted.items()))
    snapshot = compile_snapshot(flags, 1)
    order = compile_order(flags)
    for name in flags:
        decision = decide(snapshot, name, ANYBODY)
        assert (decision.reason is Reason.ERROR) == (name not in order)
        assert (decision.arm is Arm.CANDIDATE) == (decision.reason is Reason.SPLIT)
