import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import yardsticks as module
from gateway.core.units import End, Unit
from gateway.core.yardsticks import OLDEST_S, UNITS_MIN, Yardsticks
from rollout.core.evidence.quantile import counted, yardstick_s

AGE_S = 30.0
WANTED = {"draft": {"total_p50"}}


def unit(number: int, total_s: float = 1.0, arrived_s: float = 100.0, **changes: object) -> Unit:
    made = Unit(arrived_s, number + 1, "draft", 1, False, AGE_S, "r", 1.0, End.ANSWERED, total_s)
    return made._replace(**changes)


def units(count: int, total_s: float = 1.0, arrived_s: float = 100.0, **changes: object) -> list[Unit]:
    return [unit(number, total_s, arrived_s, **changes) for number in range(count)]


def test_it_is_the_quantile_of_the_baseline_and_in_force_from_the_next_second() -> None:
    yardsticks = Yardsticks()
    latencies = np.linspace(0.5, 5.0, 60)
    due = [unit(number, float(each)) for number, each in enumerate(latencies)]
    yardsticks.learn(131.5, due, {"draft": {"total_p50", "ttft_p95", "total_p99", "itl_p50"}})
    found = yardsticks.at("draft", 132.0)
    assert found == {
        "total_p50": yardstick_s(counted(latencies), 0.5, 1),
        "ttft_p95": yardstick_s(counted(latencies), 0.95, 1),  # not streamed: the whole answer
    }
    assert yardsticks.at("draft", 131.99) == yardsticks.at("ask", 132.0) == {}


def test_too_few_make_none_and_a_candidate_makes_nothing() -> None:
    yardsticks = Yardsticks()
    yardsticks.learn(131.0, units(UNITS_MIN - 1), WANTED)
    yardsticks.learn(132.0, units(UNITS_MIN, candidate=True), WANTED)
    yardsticks.learn(133.0, units(UNITS_MIN, feature="ask"), WANTED)
    assert yardsticks.at("draft", 200.0) == {}
    yardsticks.learn(134.0, units(1), WANTED)
    assert set(yardsticks.at("draft", 200.0)) == {"total_p50"}


def test_what_never_ended_is_infinite_and_who_left_early_says_nothing() -> None:
    yardsticks = Yardsticks()
    yardsticks.learn(131.0, units(30) + units(29, end=End.FAILED), WANTED)
    assert yardsticks.at("draft", 200.0)["total_p50"] == pytest.approx(1.0, rel=0.05)
    yardsticks.learn(132.0, units(9, 3.0, end=End.LEFT) + units(9, end=End.OUTSIDE), WANTED)
    assert "total_p50" in yardsticks.at("draft", 200.0)
    yardsticks.learn(133.0, units(2, AGE_S, end=End.OPEN), WANTED)
    assert yardsticks.at("draft", 133.5) != {}
    assert yardsticks.at("draft", 134.0) == {}


def test_the_window_is_bounded_by_number_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNITS_MAX", 60)
    yardsticks = Yardsticks()
    yardsticks.learn(131.0, units(60, 1.0), WANTED)
    yardsticks.learn(132.0, units(31, 4.0, 101.0), WANTED)
    assert yardsticks.at("draft", 132.0)["total_p50"] < 2
    assert yardsticks.at("draft", 133.0)["total_p50"] > 3
    yardsticks.learn(100.5 + OLDEST_S, [], WANTED)
    assert yardsticks.at("draft", 200.0)["total_p50"] > 3
    assert yardsticks.at("draft", 102.0 + OLDEST_S) == {}


def test_units_may_come_in_parts_of_which_the_last_makes_yardsticks() -> None:
    whole, parted = Yardsticks(), Yardsticks()
    due = [unit(number, 1.0 + number / 10) for number in range(60)]
    whole.learn(131.0, due, WANTED)
    parted.see(due[:40], WANTED)
    parted.see(due[40:], WANTED)
    assert parted.at("draft", 132.0) == {}
    parted.learn(131.0, (), WANTED)
    assert parted.at("draft", 132.0) == whole.at("draft", 132.0) != {}


def test_what_nobody_asks_for_is_forgotten() -> None:
    yardsticks = Yardsticks()
    yardsticks.learn(131.0, units(60), WANTED)
    yardsticks.learn(132.0, [], {})
    assert yardsticks.at("draft", 200.0) == {}


def test_a_clock_that_was_set_back_makes_them_anew() -> None:
    yardsticks = Yardsticks()
    yardsticks.learn(5_000.0, units(60, 1.0, 4_900.0), WANTED)
    yardsticks.learn(500.0, units(61, 4.0, 400.0), WANTED)
    assert yardsticks.at("draft", 500.5) == {}
    assert yardsticks.at("draft", 501.0)["total_p50"] > 3


def test_remembered_ones_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_MAX", 4)
    monkeypatch.setattr(module, "UNITS_MAX", 60)
    yardsticks = Yardsticks()
    for second in range(6):
        yardsticks.learn(131.0 + second, units(60, 2.0**second), WANTED)
    found = [yardsticks.at("draft", 132.0 + second).get("total_p50", 0.0) for second in range(6)]
    assert found[:2] == [0.0, 0.0]
    assert found[2:] == pytest.approx([4.0, 8.0, 16.0, 32.0], rel=0.05)


LATENCIES = st.lists(st.tuples(st.floats(0.01, 20), st.booleans()), min_size=0, max_size=70)


@given(LATENCIES, LATENCIES)
def test_none_depends_on_later_units_or_on_the_candidates(before, after) -> None:
    def due(rows, arrived_s: float) -> list[Unit]:
        return [unit(number, took, arrived_s, candidate=arm) for number, (took, arm) in enumerate(rows)]

    alone, followed = Yardsticks(), Yardsticks()
    for each in (alone, followed):
        each.learn(131.0, due(before, 100.0), WANTED)
    followed.learn(132.0, due(after, 101.0), WANTED)
    for arrived_s in (131.5, 132.0, 132.99):
        assert followed.at("draft", arrived_s) == alone.at("draft", arrived_s)
    mirrored = Yardsticks()
    mirrored.learn(131.0, [each for each in due(before, 100.0) if not each.candidate], WANTED)
    assert mirrored.at("draft", 132.0) == alone.at("draft", 132.0)
