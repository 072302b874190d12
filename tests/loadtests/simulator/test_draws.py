import math
from statistics import median, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.simulator.draws import Latency, key_of, lognormal, schedule, uniform, word

KEYS = st.integers(min_value=0, max_value=(1 << 128) - 1)


@given(KEYS, st.integers(min_value=0, max_value=1 << 20))
def test_a_draw_is_a_pure_number_strictly_between_0_and_1(key: int, stream: int) -> None:
    assert 0 < uniform(key, stream) < 1
    assert uniform(key, stream) == uniform(key, stream)
    assert 0 <= word(key, stream) < 1 << 64


def test_seed_text_and_repetition_each_change_the_key() -> None:
    assert len({key_of(1, "a"), key_of(2, "a"), key_of(1, "b"), key_of(1, "a", 1)}) == 4


def test_a_lone_surrogate_has_a_key_too() -> None:
    assert key_of(0, "\ud800") != key_of(0, "?")


def test_draws_are_spread_evenly() -> None:
    draws = [uniform(key_of(7, f"prompt {n}"), 3) for n in range(4000)]
    tenths = [sum(index / 10 <= draw < (index + 1) / 10 for draw in draws) for index in range(10)]
    # Chi-square with 9 degrees of freedom; 27.9 is the 99.9 % point, and the draws are fixed.
    assert sum((count - 400) ** 2 / 400 for count in tenths) < 27.9


def test_lognormal_has_the_median_and_the_sigma_of_its_logarithm() -> None:
    values = [lognormal(0.2, 0.5, key_of(1, str(n)), 0) for n in range(4000)]
    assert median(values) == pytest.approx(0.2, rel=0.05)
    assert pstdev(math.log(value) for value in values) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(("median_s", "sigma"), [(0.3, 0.0), (0.0, 0.5)])
def test_no_spread_or_no_median_is_exact(median_s: float, sigma: float) -> None:
    assert lognormal(median_s, sigma, 1, 1) == median_s


@given(KEYS, st.integers(min_value=0, max_value=200))
def test_a_schedule_never_goes_back_in_time(key: int, tokens: int) -> None:
    times = schedule(Latency(), key, tokens)
    assert len(times.tokens_s) == max(tokens, 1)
    assert list(times.tokens_s) == sorted(times.tokens_s)
    assert times.ttft_s == times.tokens_s[0] > 0
    assert times.total_s == times.tokens_s[-1]


@given(KEYS, st.integers(min_value=1, max_value=100))
def test_the_first_tokens_do_not_depend_on_how_many_follow(key: int, tokens: int) -> None:
    assert schedule(Latency(), key, tokens).tokens_s == schedule(Latency(), key, tokens + 5).tokens_s[:tokens]


def test_without_gaps_all_tokens_are_due_with_the_first() -> None:
    assert schedule(Latency(0.5, 0, 0), 1, 3).tokens_s == (0.5, 0.5, 0.5)
