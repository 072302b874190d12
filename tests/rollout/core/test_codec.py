import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import Reason as FlagdReason

from rollout.core.codec import (
    decode_flag,
    decode_stored,
    encode_flag,
    is_portable,
    parse_document,
    render_document,
)
from rollout.core.errors import InvalidDocument
from rollout.core.evaluate import compile_snapshot, decide
from rollout.core.model import BUCKETS, Arm, FeatureFlag, Holdout, Kill, State, Subject, UnitKind

FLAG = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner", revision=3, share_millipct=25_000)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")
shares = st.integers(0, BUCKETS)
flags = st.builds(
    FeatureFlag,
    feature=names,
    candidate=names,
    baseline=names,
    revision=st.integers(0, 10**6),
    owner=texts,
    state=st.sampled_from(State),
    hash_version=st.sampled_from([2, 3]),
    salt=texts,
    bucket_by=st.sampled_from(UnitKind),
    share_millipct=shares,
    holdout=st.builds(Holdout, shares, texts.map("held-".__add__)),
    kill=st.builds(Kill, st.booleans(), texts, st.floats(0, 1e10), texts),
)


def document(**changes: Any) -> dict[str, Any]:
    return {"x-rollouts": {"summarize": {"candidate": "inhouse", "baseline": "partner"} | changes}}


@given(st.lists(flags, max_size=4, unique_by=lambda flag: flag.feature))
def test_a_document_survives_rendering_and_parsing(some: list[FeatureFlag]) -> None:
    wanted = {flag.feature: flag for flag in some}
    rendered = render_document(wanted)
    assert parse_document(rendered) == wanted
    assert parse_document(json.dumps(rendered)) == wanted
    assert parse_document(msgspec.json.encode(rendered)) == wanted


@given(flags)
def test_a_flag_survives_a_store(flag: FeatureFlag) -> None:
    assert decode_flag(encode_flag(flag)) == flag


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b'{"feature":1}', '{"feature":"f"}'])
def test_a_damaged_record_is_refused(raw: bytes | str) -> None:
    with pytest.raises(InvalidDocument, match="a stored FeatureFlag is damaged"):
        decode_stored(raw, FeatureFlag)


@pytest.mark.parametrize("kill", [Kill(actor="x" * 501), Kill(reason="\ud800")])
def test_what_could_not_be_read_back_is_not_encoded(kill: Kill) -> None:
    with pytest.raises(InvalidDocument, match="can't be stored"):
        encode_flag(replace(FLAG, kill=kill))


def test_an_entry_needs_only_its_two_upstreams() -> None:
    flag = parse_document(document())["summarize"]
    assert flag == FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner")
    assert parse_document({}) == {}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{", "not JSON"),
        ("[]", "the document must be an object"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe{", "not JSON"),
        ('{"flags": NaN}', "NaN is not a JSON number"),
        ('{"x-rollouts": {"a": {}, "a": {}}}', "the key 'a' appears twice"),
        ('{"x-rollouts": []}', "x-rollouts must be an object"),
        ('{"x-rollouts": {"a": 1}}', "x-rollouts.a must be an object"),
        ('{"x-rollout": {}}', "unknown key 'x-rollout'; did you mean 'x-rollouts'?"),
        ('{"zzzzzz": {}}', "unknown key 'zzzzzz'; known: "),
    ],
)
def test_a_malformed_document_is_refused_with_its_place(text: str | bytes, cause: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        parse_document(text)
    assert cause in refused.value.cause
    assert refused.value.hint


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"share_millipct": 100_001}, "share_millipct"),
        ({"share_millipct": -1}, "share_millipct"),
        ({"share_millipct": 2.5}, "share_millipct"),
        ({"share_millipct": "25"}, "share_millipct"),
        ({"share_millipct": True}, "share_millipct"),
        ({"share_milipct": 1}, "did you mean 'share_millipct'?"),
        ({"share": 1}, "did you mean 'share_millipct'?"),
        ({"feature": "summarize"}, "unknown key 'feature'"),
        ({"hashVersion": 1}, "hashVersion"),
        ({"schemaVersion": 2}, "schemaVersion"),
        ({"bucketBy": "session"}, "bucketBy"),
        ({"state": "ON"}, "state"),
        ({"revision": -1}, "revision"),
        ({"candidate": ""}, "candidate"),
        ({"candidate": "a b"}, "candidate"),
        ({"holdout": {"percent": 1}}, "x-rollouts.summarize.holdout has an unknown key"),
        ({"holdout": {"salt": "summarize"}}, "must differ"),
        ({"kill": {"at": "now"}}, "kill.at"),
        ({"kill": []}, "x-rollouts.summarize.kill must be an object"),
        ({"owner": "\ud800"}, "surrogates"),
    ],
)
def test_a_bad_entry_is_refused_with_its_place(changes: dict[str, Any], cause: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        parse_document(document(**changes))
    assert cause in refused.value.cause


@pytest.mark.parametrize("name", ["", "a/b", "-x", "x" * 65, "ü"])
def test_a_bad_feature_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidDocument, match="feature"):
        parse_document({"x-rollouts": {name: {"candidate": "a", "baseline": "b"}}})


def test_an_edited_rendering_is_refused_not_ignored() -> None:
    edited = render_document({"summarize": FLAG})
    edited["flags"]["summarize"]["state"] = "DISABLED"
    with pytest.raises(InvalidDocument, match=r"flags\.summarize contradicts"):
        parse_document(edited)
    with pytest.raises(InvalidDocument, match=r"flags\.other has no entry"):
        parse_document({"flags": {"other": {}}})


def test_the_flagd_half_is_plain_flagd() -> None:
    rendered = render_document({"summarize": FLAG})["flags"]["summarize"]
    assert rendered == {
        "state": "ENABLED",
        "variants": {"candidate": "inhouse", "baseline": "partner"},
        "defaultVariant": "baseline",
        "metadata": {"revision": 3, "hashVersion": 3, "bucketBy": "conversation", "portable": True},
        "targeting": {"fractional": [["candidate", 25_000], ["baseline", 75_000]]},
    }


def flagd(flag: FeatureFlag, unit: str | None) -> Any:
    core = FlagdCore()
    core.set_flags(json.dumps(render_document({flag.feature: flag})))
    return core.resolve_string_value(flag.feature, "code default", EvaluationContext(unit))


@given(flags, st.none() | texts)
def test_flagd_core_decides_the_same_where_it_can(flag: FeatureFlag, unit: str | None) -> None:
    plain = replace(flag, hash_version=3, salt="", holdout=Holdout(), state=State.ENABLED)
    assert is_portable(plain)
    ours = decide(compile_snapshot({plain.feature: plain}, 1), plain.feature, Subject(unit, unit, unit, unit))
    assert flagd(plain, unit).value == ours.upstream


@pytest.mark.parametrize("share", [0, 1, 3_963, 3_964, 50_000, BUCKETS])
def test_flagd_core_splits_at_the_same_bucket(share: int) -> None:
    flag = replace(FLAG, feature="copilot-inhouse", share_millipct=share)
    snapshot = compile_snapshot({flag.feature: flag}, 1)
    for unit in ("user-1", *map(str, range(300))):
        assert flagd(flag, unit).value == decide(snapshot, flag.feature, Subject(unit)).upstream


def test_a_disabled_flag_is_disabled_for_flagd() -> None:
    told = flagd(replace(FLAG, state=State.DISABLED), "u")
    assert (told.reason, told.value) == (FlagdReason.DISABLED, "code default")


@pytest.mark.parametrize(
    "flag",
    [replace(FLAG, salt="another", share_millipct=BUCKETS), replace(FLAG, holdout=Holdout(1), share_millipct=BUCKETS)],
)
def test_what_flagd_would_draw_differently_is_left_out_and_said(flag: FeatureFlag) -> None:
    assert not is_portable(flag)
    told = flagd(flag, "u")
    assert (told.value, told.flag_metadata["portable"]) == ("partner", False)


def test_version_2_is_rendered_as_joined_text_for_flagd_of_that_time() -> None:
    flag = replace(FLAG, hash_version=2, salt="s")
    unit = {"var": "targetingKey"}
    arms = [["candidate", 25_000], ["baseline", 75_000]]
    split = {"fractional": [{"cat": ["s", unit]}, *arms]}
    rendered = render_document({"summarize": flag})["flags"]["summarize"]["targeting"]
    assert rendered == {"if": [{"!!": [unit]}, split, "baseline"]}
    assert flagd(flag, None).value == "partner"


def test_a_decision_for_everybody_is_always_portable() -> None:
    odd = replace(FLAG, salt="another", holdout=Holdout(5))
    for flag in (replace(odd, kill=Kill(on=True)), replace(odd, share_millipct=0), replace(odd, state=State.DISABLED)):
        assert is_portable(flag)
    assert flagd(replace(odd, kill=Kill(on=True)), "u").value == "partner"
    assert decide(compile_snapshot({"summarize": FLAG}, 1), "summarize", Subject()).arm is Arm.BASELINE
