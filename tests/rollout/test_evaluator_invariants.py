"""Invariants 1-4, 16, 20 and 22 of the rollout engine, as far as document and evaluator go, for whole documents."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.codec import decode_flag, encode_flag, parse_document, render_document
from rollout.core.errors import InvalidDocument
from rollout.core.evaluate import compile_snapshot, decide, in_shadow
from rollout.core.model import (
    BUCKETS,
    Arm,
    Decision,
    Eligibility,
    FeatureFlag,
    Holdout,
    Kill,
    Needs,
    Prerequisite,
    Reason,
    Shadow,
    State,
    Subject,
    UnitKind,
)
from tests.rollout.core.strategies import flags, shares, subjects

Flags = Mapping[str, FeatureFlag]
NAMES = ("a", "b", "c")


def _document(some: list[FeatureFlag], needs: list[bool], by: UnitKind) -> dict[str, FeatureFlag]:
    """Three features; the first may need the second, the second the third."""
    named = [replace(flag, feature=name, salt="", bucket_by=by) for flag, name in zip(some, NAMES, strict=True)]
    return {
        flag.feature: replace(flag, prerequisites=(Prerequisite(NAMES[place + 1]),) if needed else ())
        for place, (flag, needed) in enumerate(zip(named, [*needs, False], strict=True))
    }


documents = st.builds(
    _document,
    st.lists(flags, min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=2, max_size=2),
    st.sampled_from(UnitKind),
)
features = st.sampled_from(NAMES)


def decisions(document: Flags, subject: Subject) -> dict[str, Decision]:
    snapshot = compile_snapshot(document, 1)
    return {feature: decide(snapshot, feature, subject) for feature in document}


def treated(document: Flags, subject: Subject) -> set[str]:
    return {feature for feature, told in decisions(document, subject).items() if told.arm is Arm.CANDIDATE}


@given(documents, features, shares, shares, subjects)
def test_01_the_treated_stay_treated_as_any_share_grows(
    document: dict[str, FeatureFlag], feature: str, one: int, other: int, subject: Subject
) -> None:
    small, large = (
        document | {feature: replace(document[feature], share_millipct=share)} for share in sorted((one, other))
    )
    assert treated(small, subject) <= treated(large, subject)


@given(documents, shares, subjects)
def test_01_the_held_out_are_never_treated(document: dict[str, FeatureFlag], share: int, subject: Subject) -> None:
    grown = {feature: replace(flag, share_millipct=share) for feature, flag in document.items()}
    before, after = decisions(document, subject), decisions(grown, subject)
    for feature in NAMES:
        if before[feature].reason is Reason.HOLDOUT:
            assert after[feature].arm is Arm.BASELINE
            assert after[feature].reason in {Reason.HOLDOUT, Reason.PREREQUISITE}


@given(documents, subjects, st.permutations(NAMES))
def test_02_a_decision_depends_on_document_and_context_alone(
    document: dict[str, FeatureFlag], subject: Subject, order: list[str]
) -> None:
    told = decisions(document, subject)
    parts = Subject(*subject[:4], attributes=dict(reversed(list(subject.attributes.items()))))
    stored = {feature: decode_flag(encode_flag(document[feature])) for feature in order}
    printed = parse_document(json.dumps(render_document(document)))
    assert decisions(stored, parts) == decisions(printed, subject) == told


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("salt", ["summarize", "s", "ü"])
def test_03_shares_and_samples_keep_their_size_and_are_independent(version: int, salt: str) -> None:
    pro = Eligibility(attributes={"==": [{"var": "plan"}, "pro"]})
    flag = FeatureFlag(
        feature="f", candidate="a", baseline="b", salt=salt, hash_version=version, share_millipct=30_000,
        eligibility=pro, holdout=Holdout(20_000), shadow=Shadow(40_000, "", 1, 1),
    )  # fmt: skip
    snapshot = compile_snapshot({"f": flag}, 1)
    count = 20_000
    everybody = [Subject(f"{salt}-{number}", attributes={"plan": "pro"}) for number in range(count)]
    told = [decide(snapshot, "f", subject) for subject in everybody]
    below = [decision.bucket < 30_000 for decision in told]
    held = [decision.reason is Reason.HOLDOUT for decision in told]
    sampled = [in_shadow(snapshot, *both) for both in zip(told, everybody, strict=True)]

    def near(observed: int, wanted: float) -> bool:
        return abs(observed - count * wanted) < 4.5 * math.sqrt(count * wanted * (1 - wanted))

    assert near(sum(below), 0.3)
    assert near(sum(held), 0.2)
    assert near(sum(sampled), 0.4)
    assert near(sum(map(min, below, held)), 0.3 * 0.2)
    assert near(sum(map(min, below, sampled)), 0.3 * 0.4)
    assert near(sum(map(min, held, sampled)), 0.2 * 0.4)
    assert near(sum(map(min, below, held, sampled)), 0.3 * 0.2 * 0.4)
    assert near(sum(decision.arm is Arm.CANDIDATE for decision in told), 0.3 * 0.8)


junk: Any = st.none() | st.integers() | st.floats() | st.binary() | st.text() | st.lists(st.integers(), max_size=2)


@given(documents, st.builds(Subject, junk, junk, junk, junk, junk | st.dictionaries(st.text(), junk)), junk)
def test_04_whatever_comes_in_it_is_an_arm_and_a_reason(
    document: dict[str, FeatureFlag], subject: Subject, feature: Any
) -> None:
    snapshot = compile_snapshot(document, 1)
    for asked in (*NAMES, feature):
        told = decide(snapshot, asked, subject)
        assert told.reason in Reason
        assert told.arm is Arm.BASELINE or told.reason is Reason.SPLIT
        assert in_shadow(snapshot, told, subject) in {True, False}


CUTS: list[Callable[[FeatureFlag, int], FeatureFlag]] = [
    lambda flag, share: replace(flag, share_millipct=min(share, flag.share_millipct)),
    lambda flag, _share: replace(flag, share_millipct=0),
    lambda flag, _share: replace(flag, kill=Kill(on=True)),
    lambda flag, _share: replace(flag, state=State.DISABLED),
]


@given(documents, features, st.sampled_from(CUTS), shares, subjects)
def test_16_a_rollback_exposes_nobody_new(
    document: dict[str, FeatureFlag],
    feature: str,
    cut: Callable[[FeatureFlag, int], FeatureFlag],
    share: int,
    subject: Subject,
) -> None:
    after = document | {feature: cut(document[feature], share)}
    was, now = decisions(document, subject), decisions(after, subject)
    for each in NAMES:
        if was[each].arm is Arm.BASELINE:
            assert (now[each].arm, now[each].upstream) == (Arm.BASELINE, was[each].upstream)


@given(documents, subjects)
def test_20_a_decision_carries_what_a_log_line_needs(document: dict[str, FeatureFlag], subject: Subject) -> None:
    for feature, told in decisions(document, subject).items():
        flag = document[feature]
        assert (told.feature, told.revision, told.hash_version) == (feature, flag.revision, flag.hash_version)
        assert told.share_millipct == flag.share_millipct
        if told.reason is Reason.SPLIT:
            assert (told.bucket < flag.share_millipct) == (told.arm is Arm.CANDIDATE)
        assert (told.bucket == -1) == (told.unit_kind is None)


@given(
    st.dictionaries(
        st.sampled_from("abcde"), st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(Needs), max_size=3)
    )
)
def test_22_what_validation_lets_through_never_meets_a_fault(wanted: dict[str, dict[str, Needs]]) -> None:
    arms = {"candidate": "x", "baseline": "y", "share_millipct": BUCKETS}
    entries = {
        name: arms | {"prerequisites": [{"feature": other, "needs": needs} for other, needs in others.items()]}
        for name, others in wanted.items()
    }
    try:
        document = parse_document({"x-rollouts": entries})
    except InvalidDocument:
        return
    for told in decisions(document, Subject("c")).values():
        assert (told.arm, told.reason) == (Arm.CANDIDATE, Reason.SPLIT)
