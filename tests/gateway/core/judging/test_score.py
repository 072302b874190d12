"""From verdicts in both orders to the candidate's win."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.judging.score import LOST, SAME, Judged, Miss, Result, judged
from gateway.core.judging.verdict import Winner

FIRST, SECOND, TIE = Winner
TURNED = {FIRST: SECOND, SECOND: FIRST, TIE: TIE}
OTHER_ARM = {Result.CANDIDATE: Result.BASELINE, Result.BASELINE: Result.CANDIDATE}


@pytest.mark.parametrize(
    ("candidate_first", "baseline_first", "expected"),
    [
        (FIRST, SECOND, Judged(Result.CANDIDATE, 1.0)),
        (SECOND, FIRST, Judged(Result.BASELINE, 0.0)),
        (TIE, TIE, Judged(Result.TIE, 0.5)),
        (FIRST, FIRST, Judged(Result.FIRST, 0.5)),
        (SECOND, SECOND, Judged(Result.SECOND, 0.5)),
        (FIRST, TIE, Judged(Result.HALF, 0.5)),
        (TIE, FIRST, Judged(Result.HALF, 0.5)),
        (SECOND, TIE, Judged(Result.HALF, 0.5)),
        (TIE, SECOND, Judged(Result.HALF, 0.5)),
    ],
)
def test_only_what_holds_in_both_orders_is_a_win(candidate_first: Winner, baseline_first: Winner, expected: Judged):
    assert judged(candidate_first, baseline_first) == expected


@pytest.mark.parametrize(("candidate_first", "baseline_first"), list(itertools.product(Winner, Winner)))
def test_swapping_the_arms_turns_the_win_round(candidate_first: Winner, baseline_first: Winner) -> None:
    """With the arms swapped, what was seen with the candidate first is what is seen with the baseline first."""
    ours = judged(candidate_first, baseline_first)
    theirs = judged(baseline_first, candidate_first)
    assert ours.w + theirs.w == 1.0
    assert theirs.result is OTHER_ARM.get(ours.result, ours.result)


@given(st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.sampled_from(Winner)))
def test_whatever_a_judge_thinks_it_favours_no_arm(opinions: dict[tuple[int, int], Winner]) -> None:
    """A judge sees two answers in an order, never an arm; so exchanged answers have exchanged scores."""
    for one, two in itertools.product(range(4), range(4)):
        there, back = opinions.get((one, two), TIE), opinions.get((two, one), TIE)
        ours, theirs = judged(there, back), judged(back, there)
        assert ours.w == 1.0 - theirs.w
        if one == two:
            assert ours.w == 0.5


@given(st.sampled_from(Winner), st.sampled_from(Winner))
def test_an_answer_that_is_preferred_never_loses(candidate_first: Winner, baseline_first: Winner) -> None:
    assert judged(FIRST, baseline_first).w >= judged(candidate_first, baseline_first).w
    assert judged(candidate_first, SECOND).w >= judged(candidate_first, baseline_first).w
    assert judged(TURNED[baseline_first], baseline_first).w in {0.0, 0.5, 1.0}


def test_equal_answers_are_even() -> None:
    assert (SAME.result, SAME.w) == (Result.SAME, 0.5)


def test_what_may_depend_on_the_answers_is_lost_and_what_is_decided_before_is_not() -> None:
    before = {
        *(Miss.UNKNOWN_JUDGE, Miss.WITHDRAWN, Miss.RESIDENCY, Miss.UNREADABLE, Miss.NO_REFERENCE),
        *(Miss.STALE, Miss.BUDGET, Miss.DRAINING),
    }
    assert set(Miss) - LOST == before
