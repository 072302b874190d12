import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.bucketing import bucket
from rollout.core.evaluate import compile_snapshot, decide, explain, in_shadow, unit_chain
from rollout.core.model import (
    BUCKETS,
    EMPTY_SNAPSHOT,
    Arm,
    CompiledFeature,
    Decision,
    Eligibility,
    FeatureFlag,
    Holdout,
    Kill,
    Needs,
    Prerequisite,
    Reason,
    Shadow,
    Snapshot,
    State,
    Subject,
    UnitKind,
)
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, Role
from rollout.core.unit_digest import digester

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
    assert inside == Decision("summarize", Arm.CANDIDATE, "inhouse", Reason.SPLIT, drawn, unit, 7, drawn + 1, 3)
    assert outside == Decision("summarize", Arm.BASELINE, "partner", Reason.SPLIT, drawn, unit, 7, drawn, 3)


def test_baseline_for_everybody_has_no_bucket() -> None:
    for flag in (with_(kill=Kill(on=True)), with_(state=State.DISABLED)):
        decision = told(flag)
        assert (decision.arm, decision.upstream, decision.bucket) == (Arm.BASELINE, "partner", -1)
        assert (decision.revision, decision.share_millipct, decision.unit_kind) == (7, 25_000, None)
        assert decision.hash_version == 3


def test_an_unknown_feature_is_told_from_a_missing_snapshot() -> None:
    unknown = decide(compile_snapshot({}, 3), "summarise", ANYBODY)
    assert (unknown.reason, unknown.feature, unknown.upstream) == (Reason.UNKNOWN_FEATURE, "summarise", "")
    assert (unknown.revision, unknown.hash_version) == (0, 0)
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


PRO = Eligibility(attributes={"==": [{"var": "plan"}, "pro"]})


def test_who_is_not_eligible_gets_the_baseline_undrawn() -> None:
    flag = with_(eligibility=PRO, share_millipct=BUCKETS)
    refused = told(flag)
    assert refused == Decision("summarize", Arm.BASELINE, "partner", Reason.INELIGIBLE, -1, None, 7, BUCKETS, 3)
    assert told(flag, ANYBODY._replace(attributes={"plan": "pro"})).arm is Arm.CANDIDATE


def test_a_value_no_rule_can_read_gives_the_baseline() -> None:
    odd: Any = {"plan": b"pro"}
    decision = told(with_(eligibility=PRO), ANYBODY._replace(attributes=odd))
    assert (decision.reason, decision.arm, decision.upstream) == (Reason.ERROR, Arm.BASELINE, "partner")
    assert list(found(with_(eligibility=PRO), ANYBODY._replace(attributes=odd)))[-1] == "fault"


def test_eligibility_is_asked_before_prerequisites_and_both_before_the_draw() -> None:
    needy = with_(eligibility=PRO, prerequisites=(Prerequisite("gone"),), holdout=Holdout(BUCKETS))
    pro = Subject(attributes={"plan": "pro"})
    assert told(needy, Subject()).reason is Reason.INELIGIBLE
    assert told(needy, pro).reason is Reason.PREREQUISITE
    assert told(replace(needy, prerequisites=()), pro).reason is Reason.NO_UNIT
    assert told(replace(needy, kill=Kill(on=True)), Subject()).reason is Reason.KILLED


SHADOWED = with_(shadow=Shadow(50_000, "", 10, 1))


def shadowed(flag: FeatureFlag, subject: Subject = ANYBODY) -> bool:
    snapshot = compile_snapshot({flag.feature: flag}, 1)
    return in_shadow(snapshot, decide(snapshot, flag.feature, subject), subject)


def test_the_shadow_sample_is_drawn_with_its_own_salt() -> None:
    for number in range(50):
        subject = Subject(f"c{number}")
        assert shadowed(SHADOWED, subject) == (bucket(3, "summarize:shadow", f"c{number}") < 50_000)
    assert shadowed(replace(SHADOWED, shadow=Shadow(BUCKETS, "", 1, 1)))
    assert not shadowed(FLAG)


def test_the_candidate_gets_no_shadow_of_those_who_may_not_have_it() -> None:
    everybody = with_(shadow=Shadow(BUCKETS, "", 10, 1))
    assert shadowed(replace(everybody, share_millipct=0))
    assert shadowed(replace(everybody, holdout=Holdout(BUCKETS)))
    for flag in (
        replace(everybody, kill=Kill(on=True)),
        replace(everybody, state=State.DISABLED),
        replace(everybody, eligibility=PRO),
        replace(everybody, prerequisites=(Prerequisite("gone"),)),
    ):
        assert not shadowed(flag)
    assert not shadowed(everybody, Subject())


def test_no_shadow_is_better_than_a_fault() -> None:
    snapshot = compile_snapshot({"summarize": SHADOWED}, 1)
    decision = decide(snapshot, "summarize", ANYBODY)
    assert not in_shadow(snapshot, decision, Subject("\ud800"))
    assert not in_shadow(EMPTY_SNAPSHOT, decision, ANYBODY)


def test_shadow_holdout_and_arm_are_independent_of_each_other() -> None:
    flag = with_(share_millipct=50_000, holdout=Holdout(20_000), shadow=Shadow(30_000, "", 1, 1))
    snapshot, plain = (compile_snapshot({"summarize": each}, 1) for each in (flag, replace(flag, holdout=Holdout())))
    count = 40_000
    everybody = [Subject(f"conversation-{number}") for number in range(count)]
    cells = Counter(
        (
            decide(plain, "summarize", one).arm,
            decide(snapshot, "summarize", one).reason,
            in_shadow(snapshot, decide(snapshot, "summarize", one), one),
        )
        for one in everybody
    )
    for arm in Arm:
        for reason, held in ((Reason.HOLDOUT, 0.2), (Reason.SPLIT, 0.8)):
            for sampled, size in ((True, 0.3), (False, 0.7)):
                wanted = 0.5 * held * size
                spread = 4.5 * math.sqrt(count * wanted * (1 - wanted))
                assert abs(cells[arm, reason, sampled] - count * wanted) < spread


def test_an_explanation_says_why_somebody_is_not_eligible_or_what_is_missing() -> None:
    steps = found(with_(eligibility=PRO))
    assert list(steps) == ["feature", "state", "kill", "fault", "eligibility"]
    assert steps["eligibility"] == "the rule does not hold for plan=None"
    needy = found(with_(prerequisites=(Prerequisite("gone"), Prerequisite("lost", Needs.ENABLED))))
    assert list(needy)[-1] == "prerequisites"
    assert needy["prerequisites"] == "not met: 'gone' candidate, 'lost' enabled"
    assert found(FLAG)["eligibility"] == "everybody"
    assert found(with_(eligibility=PRO), ANYBODY._replace(attributes={"plan": "pro"}))["eligibility"] == "eligible"


def test_prerequisites_that_are_met_leave_the_draw_to_the_flag() -> None:
    other = with_(feature="other", share_millipct=BUCKETS)
    needy = with_(prerequisites=(Prerequisite("other"), Prerequisite("third", Needs.ENABLED)))
    snapshot = compile_snapshot({"summarize": needy, "other": other, "third": with_(feature="third")}, 1)
    assert decide(snapshot, "summarize", ANYBODY) == told(FLAG)
    assert dict(step[:2] for step in explain(snapshot, "summarize", ANYBODY).steps)["prerequisites"] == (
        "'other' candidate, 'third' enabled"
    )


def test_prerequisites_in_a_circle_give_everybody_the_baseline() -> None:
    flags = {name: with_(feature=name, prerequisites=(Prerequisite(other),)) for name, other in ("ab", "ba")}
    snapshot = compile_snapshot(flags, 1)
    for name in "ab":
        assert decide(snapshot, name, ANYBODY).reason is Reason.ERROR


@pytest.mark.parametrize(
    ("flag", "reads"),
    [
        (with_(), False),
        (with_(eligibility=PRO), True),
        (with_(eligibility=Eligibility(attributes={"==": [{"var": "tenant"}, "acme"]})), False),
        (with_(eligibility=PRO, state=State.DISABLED), False),
        (with_(eligibility=PRO, kill=Kill(on=True)), False),
        (with_(prerequisites=(Prerequisite("ruled"), Prerequisite("gone"))), True),
        (with_(prerequisites=(Prerequisite("leaning"),)), True),
        (with_(prerequisites=(Prerequisite("plain"),)), False),
    ],
)
def test_whether_a_decision_needs_attributes(flag: FeatureFlag, *, reads: bool) -> None:
    others = {
        "ruled": with_(feature="ruled", eligibility=PRO),
        "leaning": with_(feature="leaning", prerequisites=(Prerequisite("ruled"),)),
        "plain": with_(feature="plain"),
    }
    snapshot = compile_snapshot(others | {"summarize": flag}, 1)
    assert snapshot.features["summarize"].reads_attributes is reads


def chained(shares: dict[str, int], needs: dict[str, str]) -> dict[str, FeatureFlag]:
    return {
        name: with_(
            feature=name, share_millipct=share, prerequisites=(Prerequisite(needs[name]),) if name in needs else ()
        )
        for name, share in shares.items()
    }


NAMES = ("a", "b", "c", "d")
DOCUMENTS = st.builds(
    lambda shares, needs: chained(shares, {name: other for name, other in needs.items() if name != other}),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from((0, BUCKETS)), min_size=1),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from(NAMES)),
)


@given(st.lists(DOCUMENTS, min_size=2, max_size=5))
def test_what_is_taken_from_the_snapshot_before_decides_as_what_is_made_anew(documents: list) -> None:
    """Prerequisites come and go, change, and go round in circles."""
    grown = compile_snapshot(documents[0], 0)
    for version, flags in enumerate(documents[1:], start=1):
        grown, fresh = compile_snapshot(flags, version, grown), compile_snapshot(flags, version)
        assert grown.features.keys() == fresh.features.keys()
        for name in NAMES:
            assert decide(grown, name, ANYBODY) == decide(fresh, name, ANYBODY)


def test_only_what_changed_and_what_leans_on_it_is_made_anew() -> None:
    flags = chained({"a": 1, "b": 2, "c": 3}, {"b": "a"})
    before = compile_snapshot(flags, 1)
    after = compile_snapshot(flags | chained({"a": 5}, {}), 2, before)
    kept = {name for name in flags if after.features[name] is before.features[name]}
    assert (kept, after.version) == ({"c"}, 2)


GATHERING = with_(
    gates=(Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.03),),
    progress=Progress(phase=Phase.RUNNING, attempt=1),
)


@given(subjects, shares.filter(lambda share: 0 < share < BUCKETS), holdouts)
def test_gathering_evidence_changes_no_decision_but_for_the_digest(subject: Subject, share, holdout) -> None:
    flag = replace(GATHERING, share_millipct=share, holdout=holdout)
    known, plain = told(flag, subject), told(replace(flag, gates=()), subject)
    assert replace(known, unit_digest=0) == plain
    if known.reason is Reason.SPLIT:
        assert known.unit_kind is not None
        unit = getattr(subject, known.unit_kind)
        assert known.unit_digest == digester(flag.split_salt)(known.unit_kind, unit) != 0
    else:
        assert known.unit_digest == 0


def test_where_no_evidence_is_gathered_units_are_not_known() -> None:
    assert told(GATHERING).unit_digest != 0
    for flag in (FLAG, replace(GATHERING, share_millipct=0), replace(GATHERING, progress=Progress())):
        assert told(flag).unit_digest == 0
