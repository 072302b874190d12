import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.traffic_rate import SHORTEST_S, WINDOW_S, TrafficRate


def test_nothing_is_known_at_first_nor_after_a_moment() -> None:
    rate = TrafficRate()
    assert rate.per_s("draft") is None
    rate.note(0.0, {"draft": 5.0})
    assert rate.per_s("draft") is None
    rate.note(SHORTEST_S - 0.1, {"draft": 50.0})
    assert rate.per_s("draft") is None


def test_a_rate_is_what_came_in_the_window() -> None:
    rate = TrafficRate()
    rate.note(0.0, {"draft": 1_000.0})
    rate.note(10.0, {"draft": 1_000.0, "late": 30.0})
    rate.note(10.0 + WINDOW_S, {"draft": 1_000.0 + WINDOW_S, "late": 30.0 + 2 * WINDOW_S})
    assert rate.per_s("draft") == pytest.approx(1.0)
    assert rate.per_s("late") == pytest.approx(2.0)
    assert rate.per_s("other") is None


def test_a_feature_that_came_later_began_at_nothing() -> None:
    rate = TrafficRate()
    rate.note(0.0, {})
    rate.note(10.0, {"late": 50.0})
    assert rate.per_s("late") == pytest.approx(5.0)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20))
def test_counters_that_begin_anew_give_no_negative_rate(totals: list[float]) -> None:
    rate = TrafficRate()
    for number, total in enumerate(totals):
        rate.note(10.0 * number, {"draft": total})
    assert rate.per_s("draft") >= 0.0
