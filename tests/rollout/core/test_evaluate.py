import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.bucketing import bucket
from rollout.core.evaluate import compile_snapshot, decide, explain, unit_chain
from rollout.core.model import (
    BUCKETS,
    EMPTY_SNAPSHOT,
    Arm,
    CompiledFeature,
    Decision,
    FeatureFlag,
    Holdout,
    Kill,
    Reason,
    Snapshot,
    State,
    Subject,
    UnitKind,
)

FLAG = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner", revision=7, share_millipct=25_000)
ANYBODY = Subject("conversation-1", "user-1", "tenant-1")

units = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
subjects = st.builds(Subject, *[st.none() | units] * 4)
shares = st.integers(0, BUCKETS)
holdouts = st.builds(Holdout, shares, st.just("held"))


def told(flag: FeatureFlag, subject: Subject = ANYBODY) -> Decision:
    return decide(compile_snapshot({flag.feature: flag}, 1), flag.feature, subject)


def with_(**changes: Any) -> FeatureFlag:
    return replace(FLAG, **changes)


def test_the_order_of_reasons() -> None:
    everything = with_(state=State.DISABLED, kill=Kill(on=True), holdout=Holdout(BUCKETS), share_millipct=BUCKETS)
    assert told(everything).reason is Reason.DISABLED
    enabled = replace(everything, state=State.ENABLED)
    assert told(enabled).reason is Reason.KILLED
    alive = replace(enabled, kill=Kill())
    assert told(alive, Subject()).reason is Reason.NO_UNIT
    assert told(alive).reason is Reason.HOLDOUT
    assert told(replace(alive, holdout=Holdout())).reason is Reason.SPLIT


def test_a_decision_says_all_a_log_line_needs() -> None:
    drawn = bucket(3, "summarize", "conversation-1")
    inside, outside = told(with_(share_millipct=drawn + 1)), told(with_(share_millipct=drawn))
    unit = UnitKind.CONVERSATION
    assert inside == Decision("summarize", Arm.CANDIDATE, "inhouse", Reason.SPLIT, drawn, unit, 7, drawn + 1)
    assert outside == Decision("summarize", Arm.BASELINE, "partner", Reason.SPLIT, drawn, unit, 7, drawn)


def test_baseline_for_everybody_has_no_bucket() -> None:
    for flag in (with_(kill=Kill(on=True)), with_(state=State.DISABLED)):
        decision = told(flag)
        assert (decision.arm, decision.upstream, decision.bucket) == (Arm.BASELINE, "partner", -1)
        assert (decision.revision, decision.share_millipct, decision.unit_kind) == (7, 25_000, None)


def test_an_unknown_feature_is_told_from_a_missing_snapshot() -> None:
    unknown = decide(compile_snapshot({}, 3), "summarise", ANYBODY)
    assert (unknown.reason, unknown.feature, unknown.upstream) == (Reason.UNKNOWN_FEATURE, "summarise", "")
    assert decide(EMPTY_SNAPSHOT, "summarize", ANYBODY).reason is Reason.NO_SNAPSHOT


@pytest.mark.parametrize(
    ("bucket_by", "subject", "kind"),
    [
        (UnitKind.CONVERSATION, Subject("c", "u", "t"), UnitKind.CONVERSATION),
        (UnitKind.CONVERSATION, Subject(None, "u", "t"), UnitKind.USER),
        (UnitKind.CONVERSATION, Subject("", "", "t", "r"), UnitKind.REQUEST),
        (UnitKind.CONVERSATION, Subject(None, None, "t", None), None),
        (UnitKind.USER, Subject("c", "u", "t"), UnitKind.USER),
        (UnitKind.USER, Subject("c", None, "t"), UnitKind.TENANT),
        (UnitKind.USER, Subject("c", None, None, "r"), None),
        (UnitKind.TENANT, Subject("c", "u", None, "r"), None),
        (UnitKind.REQUEST, Subject("c", "u", "t", "r"), UnitKind.REQUEST),
    ],
)
def test_the_unit_and_its_fallback(bucket_by: UnitKind, subject: Subject, kind: UnitKind | None) -> None:
    decision = told(with_(bucket_by=bucket_by, share_millipct=BUCKETS), subject)
    assert decision.unit_kind is kind
    assert (decision.arm, decision.reason) == (
        (Arm.BASELINE, Reason.NO_UNIT) if kind is None else (Arm.CANDIDATE, Reason.SPLIT)
    )
    if kind is not None:
        assert decision.bucket == bucket(3, "summarize", getattr(subject, kind))


def test_the_chain_begins_at_the_flags_unit() -> None:
    assert unit_chain(UnitKind.USER) == ((1, UnitKind.USER), (2, UnitKind.TENANT))


@given(subjects, shares, shares, holdouts)
def test_growing_a_share_moves_nobody_back(subject: Subject, one: int, other: int, holdout: Holdout) -> None:
    small, large = sorted((one, other))
    before = told(with_(share_millipct=small, holdout=holdout), subject)
    after = told(with_(share_millipct=large, holdout=holdout), subject)
    assert not (before.arm is Arm.CANDIDATE and after.arm is Arm.BASELINE)
    assert before.bucket == after.bucket


@given(subjects, shares, holdouts)
def test_the_held_out_are_never_treated(subject: Subject, share: int, holdout: Holdout) -> None:
    flag = with_(share_millipct=share, holdout=holdout)
    decision = told(flag, subject)
    unit = subject.conversation or subject.user or subject.request
    held = bool(unit) and bucket(3, "held", unit) < holdout.millipct
    assert held == (decision.reason is Reason.HOLDOUT)
    assert not (held and decision.arm is Arm.CANDIDATE)
    assert told(replace(flag, share_millipct=BUCKETS), subject).reason is decision.reason


@given(subjects, shares, holdouts, st.sampled_from([2, 3]))
def test_a_decision_is_a_pure_function(subject: Subject, share: int, holdout: Holdout, version: int) -> None:
    flag = with_(share_millipct=share, holdout=holdout, hash_version=version)
    assert told(flag, subject) == told(replace(flag), Subject(*subject))


@pytest.mark.parametrize("share", [1_000, 5_000, 25_000, 50_000, 99_000])
@pytest.mark.parametrize("salt", ["", "another"])
def test_the_measured_share_is_within_binomial_bounds(share: int, salt: str) -> None:
    snapshot = compile_snapshot({"summarize": with_(share_millipct=share, salt=salt)}, 1)
    count = 40_000
    treated = sum(
        decide(snapshot, "summarize", Subject(f"conversation-{number}")).arm is Arm.CANDIDATE for number in range(count)
    )
    wanted = share / BUCKETS
    assert abs(treated - count * wanted) < 4.5 * math.sqrt(count * wanted * (1 - wanted))


def test_the_holdout_is_independent_of_the_arm() -> None:
    half = with_(share_millipct=50_000)
    open_, held = (compile_snapshot({"summarize": replace(half, holdout=Holdout(size))}, 1) for size in (0, 20_000))
    count = 40_000
    everybody = (Subject(f"conversation-{number}") for number in range(count))
    pairs = Counter((decide(open_, "summarize", one).arm, decide(held, "summarize", one).reason) for one in everybody)
    expected, spread = count * 0.1, 4.5 * math.sqrt(count * 0.1 * 0.9)
    for arm in Arm:
        assert abs(pairs[arm, Reason.HOLDOUT] - expected) < spread


junk = st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.lists(st.integers()) | st.text()


@given(junk, st.lists(junk, max_size=4) | junk, junk)
def test_no_junk_ever_raises(feature: Any, subject: Any, features: Any) -> None:
    snapshot = compile_snapshot({"summarize": FLAG}, 1)
    for decision in (
        decide(snapshot, feature, ANYBODY),
        decide(snapshot, "summarize", subject),
        decide(snapshot, "summarize", Subject(subject, feature, features)),
        decide(features, feature, subject),
        decide(Snapshot(1, features), feature, subject),
    ):
        assert decision.arm in Arm
        assert decision.reason in Reason
        if decision.reason is not Reason.SPLIT:
            assert decision.arm is Arm.BASELINE


def test_a_fault_gives_the_features_baseline() -> None:
    decision = told(FLAG, Subject("\ud800"))
    assert (decision.reason, decision.arm, decision.upstream) == (Reason.ERROR, Arm.BASELINE, "partner")


def found(flag: FeatureFlag, subject: Subject = ANYBODY) -> dict[str, str]:
    snapshot = compile_snapshot({flag.feature: flag}, 1)
    explanation = explain(snapshot, flag.feature, subject)
    assert explanation.decision == decide(snapshot, flag.feature, subject)
    assert [step.settled for step in explanation.steps] == [False] * (len(explanation.steps) - 1) + [True]
    return {step.check: step.found for step in explanation.steps}


def test_an_explanation_ends_where_the_decision_was_settled() -> None:
    assert list(found(with_(state=State.DISABLED))) == ["feature", "state"]
    killed = found(with_(kill=Kill(on=True, actor="ann", reason="errors")))
    assert list(killed) == ["feature", "state", "kill"]
    assert killed["kill"] == "on, by ann: errors"
    assert list(found(FLAG, Subject("\ud800")))[-1] == "fault"
    assert list(found(FLAG, Subject()))[-1] == "unit"
    held = found(with_(holdout=Holdout(BUCKETS)))
    assert list(held)[-1] == "holdout"
    assert "held out below 100000" in held["holdout"]


def test_an_explanation_of_a_split_shows_bucket_salt_and_limit() -> None:
    steps = found(FLAG, Subject(None, "user-1"))
    drawn = bucket(3, "summarize", "user-1")
    assert steps["unit"] == "bucketBy conversation: user 'user-1' (conversation is absent)"
    assert steps["holdout"] == "none"
    assert f"bucket {drawn} of 100000 with salt 'summarize'" in steps["split"]
    assert "candidate below 25000" in steps["split"]


def test_an_explanation_of_an_unknown_feature_names_the_known() -> None:
    explanation = explain(compile_snapshot({"summarize": FLAG}, 1), "draft", ANYBODY)
    assert explanation.decision.reason is Reason.UNKNOWN_FEATURE
    assert "known: summarize" in explanation.steps[0].found
    assert "known: none" in explain(EMPTY_SNAPSHOT, "draft", ANYBODY).steps[0].found


def test_compiled_features_keep_their_flag() -> None:
    compiled = compile_snapshot({"summarize": FLAG}, 9)
    assert compiled.version == 9
    assert isinstance(compiled.features["summarize"], CompiledFeature)
    assert compiled.features["summarize"].flag is FLAG
