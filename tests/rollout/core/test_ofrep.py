import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from rollout.core.codec import render_document
from rollout.core.evaluate import compile_snapshot, decide
from rollout.core.model import (
    EMPTY_SNAPSHOT,
    Arm,
    CompiledFeature,
    Eligibility,
    FeatureFlag,
    Holdout,
    Kill,
    Reason,
    Snapshot,
    State,
    Subject,
    UnitKind,
)
from rollout.core.ofrep import (
    BODY_MAX_BYTES,
    UNIT_MAX_CHARS,
    Answered,
    Asker,
    Context,
    Refused,
    encode,
    etag_of,
    evaluate,
    evaluate_all,
    failure,
    matches,
    read_context,
)

ANYBODY = Asker()
FLAG = FeatureFlag(feature="draft", candidate="inhouse", baseline="partner", revision=7, share_millipct=50_000)


def snapshot_of(*flags: FeatureFlag) -> Snapshot:
    return compile_snapshot({flag.feature: flag for flag in flags}, 3)


def context(key: str = "", **units: str) -> Context:
    return Context(key, {"conversation": "", "user": "", "tenant": ""} | units)


def read(tree: object, asker: Asker = ANYBODY) -> Context:
    return read_context(json.dumps(tree).encode(), asker)


def test_a_context_is_read() -> None:
    asked = {"targetingKey": "k", "user": "u", "plan": {"any": ["thing"]}, "conversation": None}
    assert read({"context": asked, "more": 1}) == context("k", user="u")
    assert read({}) == read({"context": {}}) == context()


def test_what_rules_can_read_are_attributes() -> None:
    asked = {"targetingKey": "k", "plan": "gold", "age": 3, "beta": True, "tags": ["a"], "odd": [1], "deep": {}}
    found = read({"context": asked})
    assert found.attributes == {"plan": "gold", "age": 3, "beta": True, "tags": ("a",)}
    rule = {"attributes": {"==": [{"var": "plan"}, "gold"]}}
    flag = replace(FLAG, share_millipct=100_000, eligibility=msgspec.convert(rule, Eligibility))
    told = [
        evaluate(snapshot_of(flag), "draft", read({"context": {"targetingKey": "k", "plan": plan}}), ANYBODY)
        for plan in ("gold", "tin")
    ]
    assert [each.tree["variant"] for each in told] == ["candidate", "baseline"]
    assert told[1].tree["reason"] == "DEFAULT"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "PARSE_ERROR"),
        (b"{", "PARSE_ERROR"),
        (b"\xff", "PARSE_ERROR"),
        (b"[" * BODY_MAX_BYTES, "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b"null", "PARSE_ERROR"),
        (b'{"context":[]}', "INVALID_CONTEXT"),
        (b'{"context":null}', "INVALID_CONTEXT"),
        (b'{"context":{"targetingKey":7}}', "INVALID_CONTEXT"),
        (b'{"context":{"user":{"id":1}}}', "INVALID_CONTEXT"),
        (b'{"context":{"conversation":"%b"}}' % (b"x" * (UNIT_MAX_CHARS + 1)), "INVALID_CONTEXT"),
    ],
)
def test_a_body_that_cannot_be_meant_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        read_context(body, ANYBODY)
    assert (refused.value.code, refused.value.status) == (code, 400)
    assert refused.value.details


def test_a_caller_asks_about_its_own_tenant_only() -> None:
    acme = Asker("acme")
    assert read({}, acme) == read({"context": {"tenant": "acme"}}, acme) == context(tenant="acme")
    with pytest.raises(Refused, match="not the caller's"):
        read({"context": {"tenant": "other"}}, acme)


@given(st.text(min_size=1, max_size=40), st.sampled_from(list(UnitKind)))
def test_the_targeting_key_is_the_unit_the_flag_buckets_by(key: str, kind: UnitKind) -> None:
    snapshot = snapshot_of(replace(FLAG, bucket_by=kind))
    decision = decide(snapshot, "draft", Subject(**{kind.value: key}))
    answer = evaluate(snapshot, "draft", context(key), ANYBODY)
    assert answer == Answered(
        200,
        {
            "key": "draft",
            "reason": "SPLIT",
            "variant": decision.arm.value,
            "value": decision.upstream,
            "metadata": {
                "decision": "SPLIT",
                "revision": 7,
                "shareMillipct": 50_000,
                "version": 3,
                "bucket": decision.bucket,
                "bucketBy": kind.value,
            },
        },
    )


def test_a_unit_by_its_name_goes_before_the_targeting_key() -> None:
    snapshot = snapshot_of(FLAG)
    named = evaluate(snapshot, "draft", context("user-1", conversation="c-9"), ANYBODY)
    assert named == evaluate(snapshot, "draft", context("c-9"), ANYBODY)
    fallen_back = evaluate(snapshot, "draft", context(user="u-1"), ANYBODY).tree["metadata"]
    assert fallen_back["bucketBy"] == "user"
    assert fallen_back["bucket"] == decide(snapshot, "draft", Subject(user="u-1")).bucket


@given(st.text(min_size=1, max_size=40))
def test_flagd_reads_the_same_decision_from_the_document(key: str) -> None:
    core = FlagdCore()
    core.set_flags(json.dumps(render_document({"draft": FLAG})))
    theirs = core.resolve_string_value("draft", "none", EvaluationContext(key))
    ours = evaluate(snapshot_of(FLAG), "draft", context(key), ANYBODY).tree
    assert (ours["value"], ours["variant"]) == (theirs.value, theirs.variant)


def faulty(_: Subject) -> Any:
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("flag", "reason", "decision"),
    [
        (FLAG, "SPLIT", Reason.SPLIT),
        (replace(FLAG, holdout=Holdout(millipct=100_000)), "SPLIT", Reason.HOLDOUT),
        (replace(FLAG, state=State.DISABLED), "DISABLED", Reason.DISABLED),
        (replace(FLAG, kill=Kill(on=True)), "DISABLED", Reason.KILLED),
    ],
)
def test_reasons_are_openfeatures(flag: FeatureFlag, reason: str, decision: Reason) -> None:
    tree = evaluate(snapshot_of(flag), "draft", context("k"), ANYBODY).tree
    assert (tree["reason"], tree["metadata"]["decision"]) == (reason, decision.value)
    assert decision is Reason.SPLIT or (tree["variant"], tree["value"]) == ("baseline", "partner")
    assert ("bucket" in tree["metadata"]) == (reason == "SPLIT")


def test_a_fault_is_the_baseline_with_its_reason() -> None:
    good = snapshot_of(FLAG).features["draft"]
    snapshot = Snapshot(3, {"draft": CompiledFeature(good.flag, faulty, good.fault)})
    status, tree = evaluate(snapshot, "draft", context("k"), ANYBODY)
    assert (status, tree["reason"], tree["variant"]) == (200, "ERROR", Arm.BASELINE.value)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_an_answer(reason: Reason) -> None:
    compiled = snapshot_of(FLAG).features["draft"]
    made = replace(compiled.fault, reason=reason)
    snapshot = Snapshot(3, {"draft": CompiledFeature(compiled.flag, lambda _: made, compiled.fault)})
    status, tree = evaluate(snapshot, "draft", context("k"), ANYBODY)
    assert ("errorCode" in tree) == (status != 200)


def test_what_cannot_be_decided_has_an_error_code() -> None:
    snapshot = snapshot_of(FLAG)
    absent = evaluate(snapshot, "draught", context("k"), ANYBODY)
    assert absent == Answered(
        404, {"key": "draught", "errorCode": "FLAG_NOT_FOUND", "errorDetails": "there is no flag 'draught'"}
    )
    missing = evaluate(snapshot, "draft", context(), ANYBODY)
    assert (missing.status, missing.tree["errorCode"], missing.tree["key"]) == (400, "TARGETING_KEY_MISSING", "draft")
    unloaded = evaluate(EMPTY_SNAPSHOT, "draft", context("k"), ANYBODY)
    assert (unloaded.status, unloaded.tree["errorCode"]) == (500, "GENERAL")
    assert evaluate_all(EMPTY_SNAPSHOT, context("k"), ANYBODY).tree["errorCode"] == "GENERAL"


def test_a_flag_that_the_caller_may_not_see_does_not_exist() -> None:
    snapshot = snapshot_of(FLAG, replace(FLAG, feature="summarize"))
    asker = Asker(features=frozenset({"summarize"}))
    hidden = evaluate(snapshot, "draft", context("k"), asker)
    assert hidden == evaluate(snapshot_of(), "draft", context("k"), ANYBODY)
    (only,) = evaluate_all(snapshot, context("k"), asker).tree["flags"]
    assert only["key"] == "summarize"


def test_all_flags_in_the_order_of_their_names_each_with_its_own_fault() -> None:
    users = replace(FLAG, feature="summarize", bucket_by=UnitKind.USER)
    tenants = replace(FLAG, feature="agree", bucket_by=UnitKind.TENANT)
    status, tree = evaluate_all(snapshot_of(FLAG, users, tenants), context(user="u"), ANYBODY)
    assert status == 200
    assert [(each["key"], each.get("errorCode")) for each in tree["flags"]] == [
        ("agree", "TARGETING_KEY_MISSING"),
        ("draft", None),
        ("summarize", None),
    ]
    assert evaluate_all(snapshot_of(), context("k"), ANYBODY).tree == {"flags": []}


def test_a_tag_changes_with_the_answer_and_only_then() -> None:
    def tag(flag: FeatureFlag, key: str = "k") -> str:
        return etag_of(encode(evaluate_all(snapshot_of(flag), context(key), ANYBODY).tree))

    assert tag(FLAG) == tag(FLAG)
    assert (
        len({tag(FLAG), tag(FLAG, "other"), tag(replace(FLAG, revision=8)), tag(replace(FLAG, kill=Kill(on=True)))})
        == 4
    )


@pytest.mark.parametrize(
    ("given", "same"),
    [
        (None, False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ('"b"', False),
        ("", False),
        ("a", False),
    ],
)
def test_tags_are_compared(given: str | None, *, same: bool) -> None:
    assert matches(given, '"a"') is same


def test_a_failure_shows_a_short_key() -> None:
    assert failure("GENERAL", "d").tree == {"errorCode": "GENERAL", "errorDetails": "d"}
    assert failure("GENERAL", "d", "k" * 1_000).tree["key"] == "k" * 100
