import pytest

from gateway.core.call import Call, parse
from gateway.core.errors import ApiError
from gateway.core.routing import BYPASS, Principal, plan
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import EMPTY_SNAPSHOT, Arm, FeatureFlag, Kill, Reason, Snapshot

UPSTREAM_OF_MODEL = {"moe": "inhouse", "gpt": "partner"}


def principal(*, features: frozenset[str] | None = None, model_bypass: bool = False) -> Principal:
    return Principal("key_1", "name", "tenant", features, frozenset(), model_bypass)


def snapshot(share_millipct: int = 0, *, killed: bool = False) -> Snapshot:
    flags = {
        name: FeatureFlag(
            feature=name,
            candidate="inhouse",
            baseline="partner",
            revision=3,
            share_millipct=share_millipct,
            kill=Kill(on=killed),
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
