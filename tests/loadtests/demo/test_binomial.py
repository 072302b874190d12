from math import comb, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.demo.binomial import acceptance, wilson

TRIALS = st.integers(min_value=1, max_value=400)
CHANCE = st.floats(min_value=0.001, max_value=0.999)


def exact_tail(counts: range, trials: int, probability: float) -> float:
    return sum(comb(trials, k) * probability**k * (1 - probability) ** (trials - k) for k in counts)


@given(TRIALS, CHANCE, st.sampled_from([1e-4, 1e-2, 0.05]))
def test_each_tail_beyond_has_at_most_half_of_alpha_and_one_more_would_be_too_much(
    trials: int, probability: float, alpha: float
) -> None:
    low, high = acceptance(trials, probability, alpha)
    slack = 1 + 1e-6
    assert 0 <= low <= high <= trials
    assert exact_tail(range(low), trials, probability) <= alpha / 2 * slack
    assert exact_tail(range(high + 1, trials + 1), trials, probability) <= alpha / 2 * slack
    assert exact_tail(range(low + 1), trials, probability) * slack >= alpha / 2
    assert exact_tail(range(high, trials + 1), trials, probability) * slack >= alpha / 2


@pytest.mark.parametrize(("trials", "probability", "only"), [(7, 0.0, 0), (7, 1.0, 7), (0, 0.5, 0)])
def test_a_sure_event_leaves_one_count(trials: int, probability: float, only: int) -> None:
    assert acceptance(trials, probability, 1e-4) == (only, only)


def test_large_numbers_neither_overflow_nor_vanish() -> None:
    low, high = acceptance(20_000, 0.25, 1e-4)
    # Four standard deviations and a little: 61 each.
    assert 4_700 < low < 4_780
    assert 5_220 < high < 5_300


def test_wilson_is_the_textbook_interval() -> None:
    found = wilson(10, 100)
    assert found is not None
    assert isclose(found[0], 0.0552, abs_tol=1e-4)
    assert isclose(found[1], 0.1744, abs_tol=1e-4)


@given(TRIALS, st.floats(min_value=0, max_value=1))
def test_wilson_holds_the_share_and_stays_a_share(trials: int, ratio: float) -> None:
    successes = round(trials * ratio)
    found = wilson(successes, trials)
    assert found is not None
    assert 0 <= found[0] <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= found[1] <= 1


def test_nothing_measured_has_no_interval() -> None:
    assert wilson(0, 0) is None
