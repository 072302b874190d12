import msgspec
import pytest

from gateway.core.call import Call, parse
from gateway.core.errors import ApiError
from gateway.core.response_ids import ELSEWHERE, Place
from gateway.core.routing import BYPASS, PINNED, RESIDENCY, Principal, plan
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import EMPTY_SNAPSHOT, Arm, FeatureFlag, Kill, Reason, Snapshot, State

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
