import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.evidence.eprocess import LAMBDAS, log_sums, log_value
from rollout.core.evidence.pairwise import EVEN, MARGIN_MAX, for_harm, for_noninferiority, harm_fall, scores_of
from rollout.core.evidence.score import for_harm as harm_of_scores
from rollout.core.evidence.score import for_noninferiority as proof_of_scores


@given(st.floats(0, 1), st.floats(0, 0.5))
def test_what_is_bet_on_stays_within_one(won: float, margin: float) -> None:
    x = for_noninferiority(np.array([won]), margin)
    assert -1.0 <= x[0] <= 1.0
    assert for_harm(np.array([won]), margin)[0] == -x[0]


@given(st.floats(0, 1), st.floats(-MARGIN_MAX, MARGIN_MAX))
def test_harm_never_falls_further_than_is_known_before(won: float, margin: float) -> None:
    assert harm_fall(margin) > 0.0
    assert for_harm(np.array([won]), margin)[0] / harm_fall(margin) >= -1.0 - 1e-9


def test_they_are_scores_whose_effect_is_the_win_rate_less_one_half() -> None:
    wins = np.array([0.0, 0.5, 1.0])
    assert scores_of(wins).contrast.tolist() == [-0.5, 0.0, 0.5]
    assert scores_of(wins).overlap.tolist() == [1.0, 1.0, 1.0]
    assert np.allclose(proof_of_scores(scores_of(wins), 0.1), for_noninferiority(wins, 0.1))
    assert np.allclose(harm_of_scores(scores_of(wins), 0.1), for_harm(wins, 0.1))


def test_a_judge_that_always_prefers_what_it_reads_first_decides_nothing() -> None:
    wins = np.full(10_000, EVEN)
    assert log_value(log_sums(for_harm(wins, 0.05))) < 0.0
    assert log_value(log_sums(for_noninferiority(wins, 0.0))) < 0.001


def test_no_wealth_is_expected_at_the_margin() -> None:
    # Exactly: a win rate of 40 % with ties, against a margin of ten points, in both directions.
    chances = {1.0: Fraction(3, 10), 0.5: Fraction(2, 10), 0.0: Fraction(5, 10)}
    for bet_on in (for_noninferiority, for_harm):
        for bet in LAMBDAS:
            fall = harm_fall(0.1) if bet_on is for_harm else 1.0
            x = {won: Fraction(bet_on(np.array([won]), 0.1)[0] / fall) for won in chances}
            expected = sum(chance * (1 + Fraction(bet) * x[won]) for won, chance in chances.items())
            assert math.isclose(expected, 1.0, abs_tol=1e-15)
