from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.checks.answer_checks import Checks
from gateway.core.checks.sampling import CheckedAnswer, CheckSample, checked, in_check_sample
from rollout.core.evaluate import compile_snapshot, decide
from rollout.core.model import BUCKETS, FeatureFlag, Subject


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
    before = {each for each in asked if each in sample}
    sample.thin()
    after = {each for each in asked if each in sample}
    assert (sample.millipct, after < before) == (5_000, True)
    for _ in range(30):
        sample.thin()
    assert sample.millipct == 1
    assert "req_1" not in CheckSample()


def test_verdicts_belong_to_the_assigned_arm() -> None:
    flag = FeatureFlag(feature="draft", candidate="inhouse", baseline="partner", revision=7, share_millipct=BUCKETS)
    decision = decide(compile_snapshot({"draft": flag}, 1), "draft", Subject(user="u"))
    found = checked("r-1", 5.0, decision, Checks(empty=True))
    unit = decision.unit_kind or ""
    assert found == CheckedAnswer("r-1", 5.0, "draft", 7, "candidate", unit, decision.bucket, Checks(empty=True))
