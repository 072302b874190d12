"""Which answered requests get a shadow call: the rules one by one, and that none can be passed by."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, parse
from gateway.core.shadowing import (
    ANSWER_MAX_BYTES,
    PASSING,
    PROMPT_MAX_BYTES,
    Skip,
    Surroundings,
    barred,
    candidate_is_first,
    other_arm,
    shadow_fields,
    unfit,
    upstream_of,
)
from rollout.core.evaluate import compile_snapshot, decide
from rollout.core.model import BUCKETS, Arm, Decision, FeatureFlag, Kill, Shadow, Snapshot, State, UnitKind

SAMPLED = Shadow(BUCKETS, "", 10, 2)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    share_millipct=50_000,
    bucket_by=UnitKind.USER,
    shadow=SAMPLED,
)
FINE = Surroundings({"inhouse": True, "partner": True}, None, busy=False, delivered=True)


def call(operation: str = "chat", **more: object) -> Call:
    body = {"model": "copilot/draft", "user": "ann", "messages": [], **more}
    return parse(json.dumps(body).encode(), {}, "acme", "r1", operation)


def snapshot(**changes: object) -> Snapshot:
    values = {name: getattr(FLAG, name) for name in FLAG.__struct_fields__}
    return compile_snapshot({"draft": FeatureFlag(**{**values, **changes})}, 1)


def decided(arm: Arm) -> Decision:
    share = BUCKETS if arm is Arm.CANDIDATE else 0
    return decide(snapshot(share_millipct=share), "draft", call().subject)


def why(arm: Arm = Arm.BASELINE, now: Surroundings = FINE, **changes: object) -> Skip | None:
    return barred(decided(arm), call(), snapshot(**changes), now)


@pytest.mark.parametrize("arm", Arm)
def test_both_arms_are_shadowed_by_the_other(arm: Arm) -> None:
    assert why(arm) is None
    assert why(arm, share_millipct=0) is None
    assert upstream_of(FLAG, other_arm(arm)) == {"inhouse": "partner", "partner": "inhouse"}[upstream_of(FLAG, arm)]


@pytest.mark.parametrize("arm", Arm)
@pytest.mark.parametrize(
    "changes",
    [
        {"kill": Kill(on=True)},
        {"state": State.DISABLED},
        {"shadow": Shadow()},
        {"candidate": "newer", "baseline": "other"},
    ],
)
def test_a_kill_or_another_sample_or_arm_ends_it(arm: Arm, changes: dict[str, object]) -> None:
    assert why(arm, **changes) is Skip.WITHDRAWN
    assert barred(decided(arm), call(), compile_snapshot({}, 2), FINE) is Skip.WITHDRAWN


def test_an_arm_that_was_another_upstream_is_not_compared_but_the_other_may_have_changed() -> None:
    assert why(Arm.CANDIDATE, candidate="newer") is Skip.WITHDRAWN
    assert why(Arm.BASELINE, candidate="newer") is Skip.UNKNOWN_UPSTREAM


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"reach": frozenset({"partner"})}, Skip.RESIDENCY),
        ({"reach": frozenset({"partner", "inhouse"})}, None),
        ({"upstreams": {"partner": True}}, Skip.UNKNOWN_UPSTREAM),
        ({"upstreams": {"inhouse": False, "partner": True}}, Skip.UNHEALTHY),
        ({"busy": True}, Skip.BUSY),
        ({"delivered": False}, Skip.UNDELIVERED),
        ({"delivered": False, "reach": frozenset({"partner"})}, Skip.RESIDENCY),
    ],
)
def test_the_world_may_stand_in_the_way(changes: dict[str, object], expected: Skip | None) -> None:
    assert why(now=FINE._replace(**changes)) is expected


def test_what_passes_is_waited_for_and_what_a_rule_forbids_is_not() -> None:
    final = {Skip.WITHDRAWN, Skip.RESIDENCY, Skip.UNKNOWN_UPSTREAM, Skip.BUDGET}
    assert not final & PASSING
    assert {Skip.BUSY, Skip.UNHEALTHY, Skip.UNDELIVERED} < PASSING


@given(
    killed=st.booleans(),
    busy=st.booleans(),
    delivered=st.booleans(),
    healthy=st.booleans(),
    reach=st.none() | st.frozensets(st.sampled_from(["inhouse", "partner"])),
    arm=st.sampled_from(Arm),
    share=st.integers(0, BUCKETS),
)
def test_a_call_is_made_only_if_nothing_at_all_stands_in_its_way(killed, busy, delivered, healthy, reach, arm, share):
    now = Surroundings({"inhouse": healthy, "partner": healthy}, reach, busy, delivered)
    allowed = why(arm, now, kill=Kill(on=killed), share_millipct=share) is None
    other = upstream_of(FLAG, other_arm(arm))
    assert allowed == (not killed and not busy and delivered and healthy and (reach is None or other in reach))


def fit(which: Call, *, ok: bool = True, prompt: int = 10, answer: int = 10) -> Skip | None:
    return unfit(which, ok=ok, prompt_bytes=prompt, answer_bytes=answer)


def test_only_good_answers_of_moderate_size_are_repeated() -> None:
    assert fit(call()) is None
    assert fit(call(), ok=False) is Skip.FAILED
    assert fit(call(), prompt=PROMPT_MAX_BYTES) is None
    assert fit(call(), prompt=PROMPT_MAX_BYTES + 1) is Skip.TOO_LARGE
    assert fit(call(), answer=ANSWER_MAX_BYTES + 1) is Skip.TOO_LARGE


def test_what_continues_a_response_is_known_to_one_upstream_only() -> None:
    assert fit(call("responses", previous_response_id="resp_1")) is Skip.CONTINUED


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tools": [{"type": "function"}, {"type": "custom"}, {"name": "own"}]}, None),
        ({"tools": None}, None),
        ({"tools": []}, None),
        ({"tools": [{"type": "mcp", "server_url": "https://x"}]}, Skip.SIDE_EFFECTS),
        ({"tools": [{"type": "web_search_20250305"}]}, Skip.SIDE_EFFECTS),
        ({"tools": "nonsense"}, Skip.SIDE_EFFECTS),
        ({"mcp_servers": []}, Skip.SIDE_EFFECTS),
        ({"background": True}, Skip.SIDE_EFFECTS),
        ({"background": False}, None),
    ],
)
def test_where_the_provider_itself_would_act_it_is_not_asked_twice(fields, expected) -> None:
    assert fit(call("responses", **fields)) is expected


def test_a_shadow_stores_nothing() -> None:
    assert bytes(shadow_fields(call("responses"), "responses")["store"]) == b"false"
    assert bytes(shadow_fields(call(store=True), "chat")["store"]) == b"false"
    asked = call()
    assert shadow_fields(asked, "chat") == asked.fields
    assert shadow_fields(asked, "chat") is not asked.fields


def test_which_answer_is_shown_first_says_nothing_of_the_arm() -> None:
    drawn = [candidate_is_first(f"req_{number:x}") for number in range(2_000)]
    assert 850 < sum(drawn) < 1_150
    assert candidate_is_first("req_1") == candidate_is_first("req_1")
