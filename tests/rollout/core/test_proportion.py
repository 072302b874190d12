from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.proportion import wilson


@pytest.mark.parametrize(
    ("hits", "count", "lower", "upper"),
    [(10, 100, 0.0552, 0.1744), (5, 100, 0.0215, 0.1118), (8, 10, 0.4902, 0.9433), (0, 100, 0.0, 0.0370)],
)
def test_wilson_is_the_textbook_interval(hits: int, count: int, lower: float, upper: float) -> None:
    assert wilson(hits, count) == pytest.approx((lower, upper), abs=1e-4)


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.5, 0.95, 0.999]))
def test_it_holds_the_share_and_stays_in_its_range(count: int, ratio: float, confidence: float) -> None:
    hits = round(count * ratio)
    found = wilson(hits, count, confidence)
    assert 0 <= found.lower <= hits / count <= found.upper <= 1


@pytest.mark.parametrize("count", [1, 3, 70, 600, 1_000])
def test_where_all_or_none_hit_its_ends_are_exact(count: int) -> None:
    assert wilson(0, count).lower == 0.0
    assert wilson(count, count).upper == 1.0


@given(st.integers(1, 400), st.integers(0, 400))
def test_misses_have_the_mirrored_interval(count: int, more: int) -> None:
    one, other = wilson(count, count + more), wilson(more, count + more)
    assert isclose(one.lower, 1 - other.upper, abs_tol=1e-12)
    assert isclose(one.upper, 1 - other.lower, abs_tol=1e-12)
