"""Properties of whole documents and of who gets what by them: invariants 1-4, 16, 20 and 22.

They ask `evaluate` by its module, so that a defect put into it is met here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout import last_good
from rollout.adapters import open_store
from rollout.core import evaluate
from rollout.core.codec import decode_flag, encode_flag, parse_document, render_document
from rollout.core.errors import InvalidDocument
from rollout.core.flagd import flagd_context, is_portable, render_flag
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
    Snapshot,
    State,
    Subject,
    UnitKind,
)
from rollout.core.position import Position
from rollout.follower import Follower
from tests.examples import fewer
from tests.rollout.core.strategies import flagd_variant, flags, open_flags, shares, subjects, unit_of
from tests.rollout.invariants import places

Flags = Mapping[str, FeatureFlag]
NAMES = ("a", "b", "c")


class Standing(NamedTuple):
    """A clock that stands."""

    at_s: float

    def now_s(self) -> float:
        return self.at_s


ROUND = st.sampled_from([0, 1_000, 25_000, 50_000, 75_000, BUCKETS])
SHARES = st.one_of(ROUND, ROUND, ROUND, shares)


def _in_operation(flag: FeatureFlag, share: int, held: int) -> FeatureFlag:
    """The flag with nothing in the way of its split: of flags at random hardly one in a hundred draws one."""
    return replace(
        flag,
        state=State.ENABLED,
        kill=Kill(),
        share_millipct=share,
        holdout=replace(flag.holdout, millipct=held),
    )


in_operation = st.builds(_in_operation, open_flags, SHARES, st.sampled_from([0, 0, 20_000]))
any_flags = st.one_of(in_operation, in_operation, in_operation, flags)


def _document(some: list[FeatureFlag], needs: list[bool], by: UnitKind) -> dict[str, FeatureFlag]:
    """Three features; the first may need the second, the second the third."""
    named = [replace(flag, feature=name, salt="", bucket_by=by) for flag, name in zip(some, NAMES, strict=True)]
    return {
        flag.feature: replace(flag, prerequisites=(Prerequisite(NAMES[place + 1]),) if needed else ())
        for place, (flag, needed) in enumerate(zip(named, [*needs, False], strict=True))
    }


documents = st.builds(
    _document,
    st.lists(any_flags, min_size=3, max_size=3),
    st.lists(st.sampled_from([False, False, True]), min_size=2, max_size=2),
    st.sampled_from(UnitKind),
)
features = st.sampled_from(NAMES)


def told(snapshot: Snapshot, subject: Subject) -> dict[str, Decision]:
    return {feature: evaluate.decide(snapshot, feature, subject) for feature in snapshot.features}


def decisions(document: Flags, subject: Subject) -> dict[str, Decision]:
    return told(evaluate.compile_snapshot(document, 1), subject)


def treated(decided: Mapping[str, Decision]) -> set[str]:
    return {feature for feature, decision in decided.items() if decision.arm is Arm.CANDIDATE}


def crowd(subject: Subject) -> list[Subject]:
    """The subject, and others that differ in what is drawn by."""
    others = (subject._replace(conversation=f"c{n}", user=f"u{n}", tenant=f"t{n}", request=f"r{n}") for n in range(20))
    return [subject, *others]


@fewer(50)
@given(documents, features, SHARES, SHARES, subjects)
def treated_stay_treated(
    document: dict[str, FeatureFlag], feature: str, one: int, other: int, subject: Subject
) -> None:
    small, large = (
        evaluate.compile_snapshot(document | {feature: replace(document[feature], share_millipct=share)}, 1)
        for share in sorted((one, other))
    )
    for each in crowd(subject):
        before, after = told(small, each), told(large, each)
        assert treated(before) <= treated(after)
        for name in NAMES:
            if before[name].reason is Reason.HOLDOUT:
                assert after[name].arm is Arm.BASELINE
                assert after[name].reason in {Reason.HOLDOUT, Reason.PREREQUISITE}


@fewer(50)
@given(documents, subjects, st.permutations(NAMES))
def a_decision_depends_on_document_and_context_alone(
    document: dict[str, FeatureFlag], subject: Subject, order: list[str]
) -> None:
    """Whatever way the document came: as stored, as printed, from the last good snapshot of a replica that restarts."""
    here = decisions(document, subject)
    parts = Subject(*subject[:4], attributes=dict(reversed(list(subject.attributes.items()))))
    stored = {feature: decode_flag(encode_flag(document[feature])) for feature in order}
    printed = parse_document(json.dumps(render_document(document)))
    assert decisions(stored, parts) == decisions(printed, subject) == here
    with places.folder() as folder:
        path = Path(folder) / "last-good.json"
        last_good.write(path, last_good.LastGood(Position(1, 7), 0.0, document))
        replicas = [Follower(open_store(f"sqlite:///{folder}/none"), Standing(0.0), last_good=path) for _ in range(2)]
        for replica in replicas:
            assert told(replica.snapshot, subject) == here


@fewer(50)
@given(in_operation, subjects)
def flagd_core_decides_the_same(some: FeatureFlag, subject: Subject) -> None:
    """The split; its rules are held against flagd-core's in `core/test_flagd.py`."""
    flag = replace(some, salt="", hash_version=3, holdout=Holdout())
    assert is_portable(flag)
    for each in crowd(subject)[:3]:
        rendered = render_flag(flag) | {"name": flag.feature}
        theirs = flagd_variant(rendered, flagd_context(flag, each), unit_of(flag, each), flag.baseline)
        assert theirs == decisions({flag.feature: flag}, each)[flag.feature].upstream


def near(observed: int, count: int, wanted: float) -> bool:
    return abs(observed - count * wanted) < 4.5 * math.sqrt(count * wanted * (1 - wanted))


def shares_and_samples_are_independent(version: int, salt: str, count: int = 20_000) -> None:
    """How many of `count` subjects get what: within binomial bounds, in all combinations."""
    pro = Eligibility(attributes={"==": [{"var": "plan"}, "pro"]})
    flag = FeatureFlag(
        feature="f", candidate="a", baseline="b", salt=salt, hash_version=version, share_millipct=30_000,
        eligibility=pro, holdout=Holdout(20_000), shadow=Shadow(40_000, "", 1, 1),
    )  # fmt: skip
    snapshot = evaluate.compile_snapshot({"f": flag}, 1)
    everybody = [Subject(f"{salt}-{number}", attributes={"plan": "pro"}) for number in range(count)]
    decided = [evaluate.decide(snapshot, "f", subject) for subject in everybody]
    below = [decision.bucket < 30_000 for decision in decided]
    held = [decision.reason is Reason.HOLDOUT for decision in decided]
    sampled = [evaluate.in_shadow(snapshot, *both) for both in zip(decided, everybody, strict=True)]
    assert near(sum(below), count, 0.3)
    assert near(sum(held), count, 0.2)
    assert near(sum(sampled), count, 0.4)
    assert near(sum(map(min, below, held)), count, 0.3 * 0.2)
    assert near(sum(map(min, below, sampled)), count, 0.3 * 0.4)
    assert near(sum(map(min, held, sampled)), count, 0.2 * 0.4)
    assert near(sum(map(min, below, held, sampled)), count, 0.3 * 0.2 * 0.4)
    assert near(sum(decision.arm is Arm.CANDIDATE for decision in decided), count, 0.3 * 0.8)


junk: Any = st.none() | st.integers() | st.floats() | st.binary() | st.text() | st.lists(st.integers(), max_size=2)


@fewer(50)
@given(documents, st.builds(Subject, junk, junk, junk, junk, junk | st.dictionaries(st.text(), junk)), junk)
def whatever_comes_in_it_is_an_arm_and_a_reason(
    document: dict[str, FeatureFlag], subject: Subject, feature: Any
) -> None:
    """The reason is what the gateway counts decisions by: a closed set."""
    snapshot = evaluate.compile_snapshot(document, 1)
    for asked in (*NAMES, feature):
        decided = evaluate.decide(snapshot, asked, subject)
        assert decided.reason in Reason
        assert decided.arm is Arm.BASELINE or decided.reason is Reason.SPLIT
        assert evaluate.in_shadow(snapshot, decided, subject) in {True, False}


CUTS: list[Callable[[FeatureFlag, int], FeatureFlag]] = [
    lambda flag, share: replace(flag, share_millipct=min(share, flag.share_millipct)),
    lambda flag, _share: replace(flag, share_millipct=0),
    lambda flag, _share: replace(flag, kill=Kill(on=True)),
    lambda flag, _share: replace(flag, state=State.DISABLED),
]


@fewer(50)
@given(documents, SHARES, subjects)
def a_cut_exposes_nobody_new(document: dict[str, FeatureFlag], share: int, subject: Subject) -> None:
    everybody = crowd(subject)
    snapshot = evaluate.compile_snapshot(document, 1)
    before = [told(snapshot, each) for each in everybody]
    for feature, cut in product(NAMES, CUTS):
        after = evaluate.compile_snapshot(document | {feature: cut(document[feature], share)}, 1)
        for each, was in zip(everybody, before, strict=True):
            now = told(after, each)
            for name in NAMES:
                if was[name].arm is Arm.BASELINE:
                    assert (now[name].arm, now[name].upstream) == (Arm.BASELINE, was[name].upstream)


@fewer(50)
@given(documents, subjects)
def a_decision_carries_what_a_log_line_needs(document: dict[str, FeatureFlag], subject: Subject) -> None:
    for feature, decided in decisions(document, subject).items():
        flag = document[feature]
        assert (decided.feature, decided.revision, decided.hash_version) == (feature, flag.revision, flag.hash_version)
        assert decided.share_millipct == flag.share_millipct
        if decided.reason is Reason.SPLIT:
            assert (decided.bucket < flag.share_millipct) == (decided.arm is Arm.CANDIDATE)
        assert (decided.bucket == -1) == (decided.unit_kind is None)


@given(
    st.dictionaries(
        st.sampled_from("abcde"), st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(Needs), max_size=3)
    )
)
def what_is_let_through_never_meets_a_fault(wanted: dict[str, dict[str, Needs]]) -> None:
    arms = {"candidate": "x", "baseline": "y", "share_millipct": BUCKETS}
    entries = {
        name: arms | {"prerequisites": [{"feature": other, "needs": needs} for other, needs in others.items()]}
        for name, others in wanted.items()
    }
    try:
        document = parse_document({"x-rollouts": entries})
    except InvalidDocument:
        return
    for decided in decisions(document, Subject("c")).values():
        assert (decided.arm, decided.reason) == (Arm.CANDIDATE, Reason.SPLIT)
