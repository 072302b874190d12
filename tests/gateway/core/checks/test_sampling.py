from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.checks.answer_checks import Checks
from gateway.core.checks.sampling import CheckedAnswer, CheckSample, checked, features_checked, in_check_sample
from rollout.core.evaluate import compile_snapshot, decide
from rollout.core.model import BUCKETS, EMPTY_SNAPSHOT, FeatureFlag, Subject
from rollout.core.ramp_model import Gate, GateKind, Phase, Progress


@given(st.text(st.characters(codec="utf-8")))
def test_none_all_and_more_with_each_step(request_id: str) -> None:
    assert not in_check_sample(request_id, 0)
    assert in_check_sample(request_id, BUCKETS)
    taken = [in_check_sample(request_id, millipct) for millipct in range(0, BUCKETS + 1, 5_000)]
    assert taken == sorted(taken)


def test_the_share_is_what_was_asked_for() -> None:
    taken = sum(in_check_sample(f"req_{number}", 10_000) for number in range(20_000))
    assert 1_800 < taken < 2_200


def test_a_sample_is_thinned_by_half_and_never_to_nothing() -> None:
    sample = CheckSample(10_000)
    asked = [f"req_{number}" for number in range(5_000)]
    before = {each for each in asked if sample.takes(each, 100.0)}
    sample.thin(100.5, 100.0)
    after = {each for each in asked if sample.takes(each, 101.0)}
    assert (sample.millipct, after < before) == (5_000, True)
    assert before == {each for each in asked if sample.takes(each, 100.0)}
    for second in range(102, 132):
        sample.thin(float(second), float(second))
    assert sample.millipct == 1
    assert not CheckSample().takes("req_1", 0.0)


def test_a_sample_grows_back_in_quiet_minutes() -> None:
    sample = CheckSample(10_000)
    for second in range(4):
        sample.thin(float(second), float(second))
    assert sample.millipct == 625
    for second in range(4, 600):
        sample.rest(float(second), quiet=True)
    assert sample.millipct == 10_000


def test_verdicts_belong_to_the_assigned_arm() -> None:
    flag = FeatureFlag(feature="draft", candidate="inhouse", baseline="partner", revision=7, share_millipct=BUCKETS)
    decision = decide(compile_snapshot({"draft": flag}, 1), "draft", Subject(user="u"))
    found = checked("r-1", 5.0, decision, Checks(empty=True), "acme")
    unit = decision.unit_kind or ""
    assert found == CheckedAnswer(
        "r-1", 5.0, "draft", 7, "candidate", unit, decision.bucket, Checks(empty=True), 0, "acme"
    )


FORM = Gate(name="form", role="required", source="evidence", kind=GateKind.NONINFERIORITY, metric="form", margin=0.02)
UNDER_WAY = Progress(Phase.RUNNING, attempt=1)


@pytest.mark.parametrize(
    ("gates", "progress", "asked"),
    [
        ((FORM,), UNDER_WAY, ("draft",)),
        ((FORM,), Progress(Phase.PAUSED, attempt=1), ("draft",)),
        ((FORM,), Progress(), ()),
        ((FORM,), Progress(Phase.RUNNING), ()),
        ((FORM,), Progress(Phase.COMPLETED, attempt=1), ()),
        ((replace(FORM, metric="errors"),), UNDER_WAY, ()),
        ((), UNDER_WAY, ()),
    ],
)
def test_who_is_checked_is_who_asks_for_it(gates: tuple[Gate, ...], progress: Progress, asked: tuple[str, ...]) -> None:
    arms = {"feature": "draft", "candidate": "inhouse", "baseline": "partner"}
    flag = FeatureFlag(**arms, share_millipct=BUCKETS, gates=gates, progress=progress)
    snapshot = compile_snapshot({"draft": flag}, 1)
    assert features_checked(snapshot, every_feature=False) == asked
    assert features_checked(snapshot, every_feature=True) == ("draft",)
    assert features_checked(EMPTY_SNAPSHOT, every_feature=True) == ()
