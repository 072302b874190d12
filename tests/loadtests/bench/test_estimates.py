import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench.estimates import Estimate, differences, estimate, quantile, within_turns

FINITE = st.floats(-1e9, 1e9)


@pytest.mark.parametrize(
    ("count", "low", "high", "coverage"),
    [
        (1, 0, 0, 0.0),
        (2, 0, 1, 0.5),
        (3, 0, 2, 0.75),
        (5, 0, 4, 0.9375),
        (6, 0, 5, 0.96875),
        (7, 0, 6, 0.984375),
        (8, 0, 7, 0.9921875),
        (9, 1, 7, 0.9609375),
        (15, 3, 11, 0.96484375),
    ],
)
def test_the_interval_is_the_narrowest_pair_of_order_statistics_with_95_percent(
    count: int, low: int, high: int, coverage: float
) -> None:
    found = estimate([float(value) for value in reversed(range(count))])
    assert found == Estimate((count - 1) / 2, low, high, coverage, count)


def test_no_values_have_no_median() -> None:
    with pytest.raises(ValueError, match="no values"):
        estimate([])


@given(st.lists(FINITE, min_size=1, max_size=40))
def test_the_interval_holds_the_median_and_only_measured_values(values: list[float]) -> None:
    found = estimate(values)
    assert found.low <= found.value <= found.high
    assert {found.low, found.high} <= set(values)
    assert found.turns == len(values)


def test_ratios_are_taken_within_turns() -> None:
    found = within_turns({0: 10.0, 1: 60.0, 2: 50.0, 7: 1.0}, {0: 20.0, 1: 40.0, 2: 40.0, 3: 5.0})
    assert found == Estimate(1.25, 0.5, 1.5, 0.75, 3)


def test_without_a_shared_turn_there_is_no_ratio_and_no_difference() -> None:
    assert within_turns({0: 1.0, 2: 1.0}, {1: 1.0, 2: 0.0}) is None
    assert differences({0: 1.0}, {1: 1.0}) is None


def test_differences_are_taken_within_turns_too() -> None:
    assert differences({0: 3.0, 1: 10.0}, {0: 1.0, 1: 9.0}) == Estimate(1.5, 1.0, 2.0, 0.5, 2)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 5), (0.51, 6), (0.99, 10), (1.0, 10)])
def test_a_quantile_is_a_value_by_nearest_rank(share: float, value: int) -> None:
    assert quantile(range(1, 11), share) == value
