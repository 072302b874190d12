import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, parse
from gateway.core.errors import ApiError
from gateway.core.response_ids import ELSEWHERE, Place
from gateway.core.routing import ASSIGNED_HEADER, BYPASS, PINNED, RESIDENCY, Principal, plan
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import (
    EMPTY_SNAPSHOT,
    Arm,
    Eligibility,
    FeatureFlag,
    Kill,
    Prerequisite,
    Reason,
    Snapshot,
    State,
)
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress, Role

UPSTREAM_OF_MODEL = {"moe": "inhouse", "gpt": "partner"}


def principal(*, features: frozenset[str] | None = None, model_bypass: bool = False) -> Principal:
    return Principal("key_1", "name", "tenant", features, frozenset(), model_bypass)


def snapshot(share_millipct: int = 0, *, killed: bool = False, state: State = State.ENABLED) -> Snapshot:
    flags = {
        name: FeatureFlag(
            feature=name,
            candidate="inhouse",
            baseline="partner",
            revision=3,
            share_millipct=share_millipct,
            kill=Kill(on=killed),
            state=state,
        )
        for name in ("summarize", "draft")
    }
    return compile_snapshot(flags, 5)


def call(model: str, user: str = "u") -> Call:
    return parse(b'{"model":"%b","user":"%b"}' % (model.encode(), user.encode()), {}, "tenant")


def test_the_candidate_may_be_replaced_by_the_baseline() -> None:
    chosen = plan(call("copilot/summarize"), principal(), snapshot(100_000), UPSTREAM_OF_MODEL)
    assert (chosen.feature, chosen.assigned, chosen.reason) == ("summarize", Arm.CANDIDATE, Reason.SPLIT)
    assert (chosen.upstream, chosen.fallback) == ("inhouse", "partner")
    assert chosen.decision is not None
    assert chosen.decision.revision == 3


@pytest.mark.parametrize("known", [snapshot(0), snapshot(100_000, killed=True)])
def test_the_baseline_is_never_replaced_by_the_candidate(known: Snapshot) -> None:
    chosen = plan(call("copilot/summarize"), principal(), known, UPSTREAM_OF_MODEL)
    assert chosen.assigned == Arm.BASELINE
    assert (chosen.upstream, chosen.fallback) == ("partner", "")


@pytest.mark.parametrize("share", [0, 1_000, 50_000, 100_000])
def test_only_who_is_assigned_to_the_candidate_ever_has_it_in_the_plan(share: int) -> None:
    known = snapshot(share)
    plans = [plan(call("copilot/draft", f"user-{n}"), principal(), known, UPSTREAM_OF_MODEL) for n in range(200)]
    assert all(("inhouse" in (p.upstream, p.fallback)) == (p.assigned == Arm.CANDIDATE) for p in plans)


def test_a_key_calls_its_features_only() -> None:
    own = principal(features=frozenset({"draft"}))
    assert plan(call("copilot/draft"), own, snapshot(), UPSTREAM_OF_MODEL).feature == "draft"
    with pytest.raises(ApiError) as caught:
        plan(call("copilot/summarize"), own, snapshot(), UPSTREAM_OF_MODEL)
    assert caught.value.status == 404
    assert "copilot/summarize`?" not in caught.value.message


def test_an_unknown_feature_is_a_404_with_the_nearest_names() -> None:
    with pytest.raises(ApiError) as caught:
        plan(call("copilot/sumarize"), principal(), snapshot(), UPSTREAM_OF_MODEL)
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
    assert "`copilot/summarize`" in caught.value.message


def test_before_the_first_document_the_answer_is_503_come_back() -> None:
    with pytest.raises(ApiError) as caught:
        plan(call("copilot/summarize"), principal(), EMPTY_SNAPSHOT, UPSTREAM_OF_MODEL)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (503, "not_ready", 1)


def test_a_real_model_with_the_right_bypasses_the_rollout() -> None:
    chosen = plan(call("moe"), principal(model_bypass=True), snapshot(), UPSTREAM_OF_MODEL)
    assert (chosen.feature, chosen.assigned, chosen.reason, chosen.decision) == ("", BYPASS, BYPASS, None)
    assert (chosen.upstream, chosen.fallback) == ("inhouse", "")


def test_a_real_model_without_the_right_is_a_403() -> None:
    with pytest.raises(ApiError) as caught:
        plan(call("moe"), principal(), snapshot(), UPSTREAM_OF_MODEL)
    assert (caught.value.status, caught.value.code) == (403, "model_bypass_forbidden")


def test_model_names_are_only_proposed_to_who_may_call_them() -> None:
    messages = []
    for right in (True, False):
        with pytest.raises(ApiError) as caught:
            plan(call("mo"), principal(model_bypass=right), snapshot(), UPSTREAM_OF_MODEL)
        assert caught.value.status == 404
        messages.append(caught.value.message)
    assert "`moe`" in messages[0]
    assert "`moe`" not in messages[1]


def test_features_are_only_proposed_to_who_may_call_them() -> None:
    with pytest.raises(ApiError) as caught:
        plan(call("summarize"), principal(features=frozenset({"draft"})), snapshot(), UPSTREAM_OF_MODEL)
    assert "copilot/summarize" not in caught.value.message


@pytest.mark.parametrize("share", [0, 50_000, 100_000])
@pytest.mark.parametrize(
    ("reach", "arm", "upstream"),
    [({"partner"}, Arm.BASELINE, "partner"), ({"inhouse", "elsewhere"}, Arm.CANDIDATE, "inhouse")],
)
def test_who_may_reach_one_arm_only_gets_it_before_any_bucket(
    share: int, reach: set[str], arm: Arm, upstream: str
) -> None:
    for number in range(20):
        sent = call("copilot/draft", f"user-{number}")
        chosen = plan(sent, principal(), snapshot(share), UPSTREAM_OF_MODEL, frozenset(reach))
        assert (chosen.assigned, chosen.upstream, chosen.fallback) == (arm, upstream, "")
        assert (chosen.feature, chosen.reason) == ("draft", RESIDENCY)
        decision = chosen.decision
        assert decision is not None
        assert (decision.bucket, decision.unit_kind, decision.revision) == (-1, None, 3)


def test_who_may_reach_both_arms_is_drawn_like_everybody() -> None:
    known = snapshot(50_000)
    for number in range(50):
        sent = call("copilot/draft", f"user-{number}")
        free = plan(sent, principal(), known, UPSTREAM_OF_MODEL)
        assert plan(sent, principal(), known, UPSTREAM_OF_MODEL, frozenset({"partner", "inhouse", "x"})) == free


@pytest.mark.parametrize(
    ("reach", "known"),
    [
        (set(), snapshot(100_000)),
        ({"elsewhere"}, snapshot(0)),
        ({"inhouse"}, snapshot(100_000, killed=True)),
        ({"inhouse"}, snapshot(100_000, state=State.DISABLED)),
    ],
)
def test_who_may_reach_nobody_is_refused(reach: set[str], known: Snapshot) -> None:
    with pytest.raises(ApiError) as caught:
        plan(call("copilot/draft"), principal(), known, UPSTREAM_OF_MODEL, frozenset(reach))
    assert (caught.value.status, caught.value.code) == (403, "residency")


def test_a_killed_candidate_does_not_matter_to_who_may_reach_the_baseline() -> None:
    chosen = plan(call("copilot/draft"), principal(), snapshot(killed=True), UPSTREAM_OF_MODEL, frozenset({"partner"}))
    assert (chosen.upstream, chosen.reason) == ("partner", RESIDENCY)


def test_residency_comes_after_the_right_to_the_feature_and_its_existence() -> None:
    for sent, features, known, status in (
        ("copilot/draft", frozenset({"summarize"}), snapshot(), 404),
        ("copilot/drift", None, snapshot(), 404),
        ("copilot/draft", None, EMPTY_SNAPSHOT, 503),
    ):
        with pytest.raises(ApiError) as caught:
            plan(call(sent), principal(features=features), known, UPSTREAM_OF_MODEL, frozenset())
        assert caught.value.status == status


def test_a_real_model_out_of_reach_is_refused() -> None:
    own = principal(model_bypass=True)
    assert plan(call("moe"), own, snapshot(), UPSTREAM_OF_MODEL, frozenset({"inhouse"})).upstream == "inhouse"
    with pytest.raises(ApiError) as caught:
        plan(call("gpt"), own, snapshot(), UPSTREAM_OF_MODEL, frozenset({"inhouse"}))
    assert (caught.value.status, caught.value.code) == (403, "residency")


def continuing(place: Place, model: str = "copilot/draft") -> Call:
    return msgspec.structs.replace(call(model), place=place)


@pytest.mark.parametrize("share", [1, 50_000, 100_000])
@pytest.mark.parametrize(
    ("place", "arm", "upstream"),
    [
        (ELSEWHERE, Arm.BASELINE, "partner"),
        (Place("partner", "0a0b0c"), Arm.BASELINE, "partner"),
        (Place("inhouse", "0a0b0c"), Arm.CANDIDATE, "inhouse"),
    ],
)
def test_a_response_is_continued_where_it_is_stored_whatever_the_draw(
    place: Place, share: int, arm: Arm, upstream: str
) -> None:
    chosen = plan(continuing(place), principal(), snapshot(share), UPSTREAM_OF_MODEL)
    assert (chosen.assigned, chosen.upstream, chosen.fallback, chosen.reason) == (arm, upstream, "", PINNED)
    assert chosen.mark == place.mark
    assert chosen.decision is not None
    assert chosen.decision.bucket == -1


@pytest.mark.parametrize(
    ("place", "known"),
    [
        (Place("inhouse", "0a0b0c"), snapshot(0)),
        (Place("inhouse", "0a0b0c"), snapshot(100_000, killed=True)),
        (Place("inhouse", "0a0b0c"), snapshot(100_000, state=State.DISABLED)),
        (Place("another", "0a0b0c"), snapshot(100_000)),
    ],
)
def test_a_response_of_a_model_that_may_get_nothing_is_lost(place: Place, known: Snapshot) -> None:
    with pytest.raises(ApiError) as caught:
        plan(continuing(place), principal(), known, UPSTREAM_OF_MODEL)
    assert (caught.value.status, caught.value.code) == (400, "previous_response_not_found")


def test_residency_holds_for_what_is_continued_too() -> None:
    with pytest.raises(ApiError) as caught:
        plan(continuing(ELSEWHERE), principal(), snapshot(50_000), UPSTREAM_OF_MODEL, frozenset({"inhouse"}))
    assert (caught.value.status, caught.value.code) == (403, "residency")
    only = frozenset({"inhouse"})
    chosen = plan(continuing(Place("inhouse", "0a0b0c")), principal(), snapshot(0), UPSTREAM_OF_MODEL, only)
    assert chosen.assigned == Arm.CANDIDATE
    chosen = plan(continuing(ELSEWHERE), principal(), snapshot(0), UPSTREAM_OF_MODEL, frozenset({"partner"}))
    assert chosen.assigned == Arm.BASELINE


PRO = Eligibility(attributes={"==": [{"var": "plan"}, "pro"]})
OWN = Eligibility(attributes={"==": [{"var": "tenant"}, "tenant"]})


def draft(**options: object) -> FeatureFlag:
    return FeatureFlag(feature="draft", candidate="inhouse", baseline="partner", share_millipct=100_000, **options)


def said(metadata: bytes) -> Call:
    return parse(b'{"model":"copilot/draft","user":"u","metadata":%b}' % metadata, {}, "tenant")


def planned(asked: Call, *flags: FeatureFlag, headers: dict[bytes, bytes] | None = None) -> tuple[str, str]:
    known = compile_snapshot({flag.feature: flag for flag in flags}, 1)
    chosen = plan(asked, principal(), known, UPSTREAM_OF_MODEL, headers=headers or {})
    return chosen.assigned, chosen.reason


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (b'{"plan":"pro"}', (Arm.CANDIDATE, Reason.SPLIT)),
        (b'{"plan":"free"}', (Arm.BASELINE, Reason.INELIGIBLE)),
        (b"{}", (Arm.BASELINE, Reason.INELIGIBLE)),
        (b"null", (Arm.BASELINE, Reason.INELIGIBLE)),
        (b'{"plan":["pro"]}', (Arm.BASELINE, Reason.ERROR)),
        (b'"pro"', (Arm.BASELINE, Reason.ERROR)),
    ],
)
def test_a_rule_reads_the_callers_metadata(metadata: bytes, expected: tuple[str, str]) -> None:
    assert planned(said(metadata), draft(eligibility=PRO)) == expected
    needed = msgspec.structs.replace(draft(eligibility=PRO), feature="base")
    through = {Reason.INELIGIBLE: Reason.PREREQUISITE}.get(expected[1], expected[1])
    leaning = draft(prerequisites=(Prerequisite("base"),))
    assert planned(said(metadata), leaning, needed) == (expected[0], through)


def test_without_metadata_a_rule_finds_nothing() -> None:
    assert planned(call("copilot/draft"), draft(eligibility=PRO)) == (Arm.BASELINE, Reason.INELIGIBLE)


@pytest.mark.parametrize("flag", [draft(), draft(eligibility=OWN), draft(eligibility=PRO, kill=Kill(on=True))])
def test_metadata_that_no_rule_asks_for_is_not_read(flag: FeatureFlag) -> None:
    assert planned(said(b'["no object"]'), flag)[1] != Reason.ERROR


def test_metadata_is_not_believed_about_the_tenant() -> None:
    both = Eligibility(attributes={"and": [{"==": [{"var": "tenant"}, "acme"]}, {"==": [{"var": "plan"}, "pro"]}]})
    assert planned(said(b'{"plan":"pro","tenant":"acme"}'), draft(eligibility=both))[1] == Reason.INELIGIBLE


BEGAN_ON_BASELINE = {ASSIGNED_HEADER: b"baseline"}


def test_a_conversation_stays_on_the_baseline_if_its_caller_says_so() -> None:
    asked = call("copilot/draft")
    assert planned(asked, draft(sticky=True), headers=BEGAN_ON_BASELINE) == (Arm.BASELINE, PINNED)
    assert planned(asked, draft(), headers=BEGAN_ON_BASELINE) == (Arm.CANDIDATE, Reason.SPLIT)
    for words in (b"candidate", b"Baseline", b""):
        assert planned(asked, draft(sticky=True), headers={ASSIGNED_HEADER: words}) == (Arm.CANDIDATE, Reason.SPLIT)
    known = compile_snapshot({"draft": draft(sticky=True)}, 1)
    pinned = plan(asked, principal(), known, UPSTREAM_OF_MODEL, headers=BEGAN_ON_BASELINE)
    assert (pinned.upstream, pinned.fallback, pinned.mark) == ("partner", "", "")
    assert pinned.decision is not None
    assert (pinned.decision.bucket, pinned.decision.unit_kind) == (-1, None), "counted apart from who was drawn"


def test_who_was_drawn_for_the_baseline_is_counted_as_ever() -> None:
    lower = msgspec.structs.replace(draft(sticky=True), share_millipct=0)
    assert planned(call("copilot/draft"), lower, headers=BEGAN_ON_BASELINE) == (Arm.BASELINE, Reason.SPLIT)


shares = st.lists(st.integers(0, 100_000), min_size=1, max_size=8)


@given(shares, st.integers(0, 50), st.booleans(), st.integers(0, 7))
def test_a_conversation_stays_on_its_arm_for_its_life(some: list[int], number: int, kill: bool, begins: int) -> None:  # noqa: FBT001
    """Invariant 19: while the share grows nobody moves; what is pinned is told apart; a kill alone moves people."""
    asked = call("copilot/draft", f"user-{number}")
    steps = sorted(some)[begins % len(some) :]
    began = ""
    for share in steps:
        flag = msgspec.structs.replace(draft(sticky=True), share_millipct=share)
        arm, reason = planned(asked, flag, headers={ASSIGNED_HEADER: began.encode()} if began else {})
        began = began or arm
        drawn, _ = planned(asked, flag)
        assert arm == began
        assert (reason == PINNED) == (drawn != began)
    killed = msgspec.structs.replace(draft(sticky=True), kill=Kill(on=kill))
    if kill:
        assert planned(asked, killed, headers={ASSIGNED_HEADER: began.encode()}) == (Arm.BASELINE, Reason.KILLED)


@given(st.binary(max_size=20), st.integers(0, 100_000), st.integers(0, 50))
def test_no_header_gives_anybody_the_candidate(words: bytes, share: int, number: int) -> None:
    asked, flag = call("copilot/draft", f"user-{number}"), draft(sticky=True)
    flag = msgspec.structs.replace(flag, share_millipct=share)
    with_header, _ = planned(asked, flag, headers={ASSIGNED_HEADER: words})
    without, _ = planned(asked, flag)
    assert with_header in {without, Arm.BASELINE}


GATHERING = {
    "gates": (Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.03),),
    "progress": Progress(phase=Phase.RUNNING, attempt=1),
}


@given(st.text("abcdef", min_size=1), st.sampled_from([b"baseline", b"candidate", None]), st.booleans())
def test_who_began_on_the_baseline_is_no_unit_whichever_arm_the_bucket_gives(user: str, told, sticky) -> None:
    flag = msgspec.structs.replace(draft(sticky=sticky, **GATHERING), share_millipct=50_000)
    headers = {} if told is None else {ASSIGNED_HEADER: told}
    known = compile_snapshot({"draft": flag}, 1)
    chosen = plan(call("copilot/draft", user), principal(), known, UPSTREAM_OF_MODEL, headers=headers)
    assert chosen.decision is not None
    assert (chosen.decision.unit_digest == 0) == (sticky and told == b"baseline")


def test_a_baseline_that_was_told_back_is_left_out_of_the_evidence_as_a_pinned_one_is() -> None:
    flag = msgspec.structs.replace(draft(sticky=True, **GATHERING), share_millipct=1)
    known, asked = compile_snapshot({"draft": flag}, 1), call("copilot/draft")
    fresh = plan(asked, principal(), known, UPSTREAM_OF_MODEL)
    told = plan(asked, principal(), known, UPSTREAM_OF_MODEL, headers=BEGAN_ON_BASELINE)
    assert (fresh.assigned, told.assigned, told.reason) == (Arm.BASELINE, Arm.BASELINE, Reason.SPLIT)
    assert fresh.decision is not None
    assert told.decision is not None
    assert fresh.decision.unit_digest
    assert not told.decision.unit_digest
