import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.codec import (
    decode_flag,
    decode_flags,
    decode_stored,
    encode_flag,
    parse_document,
    read_tree,
    render_document,
)
from rollout.core.errors import DamagedFlags, InvalidDocument
from rollout.core.model import Audience, Eligibility, FeatureFlag, Kill
from tests.examples import fewer
from tests.rollout.core.strategies import flags

FLAG = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner", revision=3, share_millipct=25_000)


def document(**changes: Any) -> dict[str, Any]:
    return {"x-rollouts": {"summarize": {"candidate": "inhouse", "baseline": "partner"} | changes}}


@fewer(50)
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
        ({"kill": None}, "x-rollouts.summarize.kill must be an object"),
        ({"eligibility": {"tenant": ["acme"]}}, "eligibility has an unknown key 'tenant'; did you mean 'tenants'?"),
        ({"eligibility": {"tenants": ["acme"]}}, 'while audience is "everyone"'),
        ({"eligibility": {"audience": "all"}}, "audience"),
        ({"eligibility": {"audience": "listed", "tenants": ["a", "a"]}}, "a tenant is listed twice"),
        ({"eligibility": {"early_access": [{"tenant": "a"}, {"tenant": "a"}]}}, "two entries for the same"),
        (
            {"eligibility": {"early_access": [{"tenant": "a"}, {"name": "b"}]}},
            "eligibility.early_access[1] has an unknown",
        ),
        ({"eligibility": {"early_access": [{"tenant": ""}]}}, "early_access[0].tenant"),
        ({"eligibility": {"early_access": ["acme"]}}, "early_access[0] must be an object"),
        ({"eligibility": {"early_access": "acme"}}, "early_access"),
        ({"eligibility": {"attributes": {"eq": [1, 1]}}}, "there is no operator 'eq'"),
        ({"eligibility": {"attributes": True}}, "attributes"),
        ({"shadow": {"millipct": 5}}, "needs daily_budget and max_concurrent"),
        ({"shadow": {"budget": 5}}, "shadow has an unknown key 'budget'"),
        ({"shadow": {"salt": "summarize"}}, "shadow.salt must differ"),
        ({"shadow": {"judge": "a b"}}, "shadow.judge"),
        ({"prerequisites": [{"feature": "summarize"}]}, "its own prerequisite"),
        ({"prerequisites": [{"feature": "draft"}, {"feature": "draft"}]}, "name a feature twice"),
        ({"prerequisites": [{"feature": "draft", "arm": "candidate"}]}, "prerequisites[0] has an unknown key 'arm'"),
        ({"prerequisites": [{"feature": "draft", "needs": "baseline"}]}, "needs"),
        ({"prerequisites": [{"feature": "draft"}]}, "'summarize' needs 'draft', which is not there"),
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


def test_what_was_in_force_is_read_even_if_its_parts_would_be_refused_now() -> None:
    old = document(prerequisites=[{"feature": "gone"}]) | {
        "flags": {"summarize": {"state": "rendered by an older release"}}
    }
    with pytest.raises(InvalidDocument):
        parse_document(old)
    assert parse_document(old, trusted=True)["summarize"].prerequisites[0].feature == "gone"


def test_a_rule_may_be_left_out_or_null() -> None:
    eligibility = {"audience": "listed", "tenants": ["acme"], "attributes": None}
    flag = parse_document(document(eligibility=eligibility))["summarize"]
    assert flag.eligibility == Eligibility(Audience.LISTED, ("acme",))


def test_the_same_text_is_decoded_once() -> None:
    raw = encode_flag(FLAG)
    assert decode_flag(raw) is decode_flag(bytes(bytearray(raw)))


def test_of_some_features_prerequisites_may_lie_elsewhere_but_the_rendering_still_counts() -> None:
    needy = document(prerequisites=[{"feature": "draft"}])
    assert parse_document(needy, whole=False)["summarize"].prerequisites[0].feature == "draft"
    with pytest.raises(InvalidDocument, match="which is not there"):
        parse_document(needy)
    with pytest.raises(InvalidDocument, match=r"flags\.summarize contradicts"):
        parse_document(needy | {"flags": {"summarize": {}}}, whole=False)


def test_a_tree_is_read_strictly() -> None:
    assert read_tree(b'{"x-rollouts": {}}') == {"x-rollouts": {}}
    with pytest.raises(InvalidDocument, match="appears twice"):
        read_tree('{"a": {"b": 1, "b": 2}}')
    assert read_tree('{"limit": 1.5e2}') == {"limit": 150.0}
    with pytest.raises(InvalidDocument, match="1e400 is too large a number"):
        read_tree('{"limit": 1e400}')


def test_flags_that_can_be_read_are_given_with_the_fault_of_the_others() -> None:
    other = replace(FLAG, feature="draft")
    assert decode_flags([encode_flag(FLAG), encode_flag(other)]) == {"summarize": FLAG, "draft": other}
    with pytest.raises(DamagedFlags, match="damaged") as caught:
        decode_flags([b"{", encode_flag(other), b"[]"])
    assert caught.value.readable == {"draft": other}


PROOF = {"name": "fine", "role": "soft", "source": "evidence", "kind": "noninferiority", "metric": "errors"} | {
    "margin": 0.05,
    "alpha": 0.05,
}


@pytest.mark.parametrize("said", [{"direction": "lower"}, {"window": "0s"}, {"max_age": "2m"}, {"failure": None}])
def test_a_field_that_means_nothing_to_its_gate_is_refused_whatever_it_says(said: dict[str, Any]) -> None:
    """Also a default: whoever wrote it believes that something depends on it."""
    assert len(parse_document(document(gates=[PROOF]))["summarize"].gates) == 1
    with pytest.raises(InvalidDocument, match=r"x-rollouts.summarize: gate 'fine' has a ") as refused:
        parse_document(document(gates=[PROOF, PROOF | said]))
    assert refused.value.cause.count("gate 'fine'") == 1


def test_all_of_them_are_named_and_what_was_in_force_stays() -> None:
    odd = document(gates=[PROOF | {"failure": {"count": 3}, "limit": 0.1}])
    with pytest.raises(InvalidDocument, match=r"has a limit.*; .*noninferiority never fails|never fails.*; .*limit"):
        parse_document(odd)
    assert parse_document(odd, trusted=True)["summarize"].gates[0].limit == 0.1
