"""What becomes of time, and of requests' times, when the wall clock is set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.cluster_requests import arrived_s_of
from gateway.steady_clock import SLEW, STEP_S, SteadyClock
from tests.gateway.test_recorder import RECORD


class Time:
    """`passed_s`: as a monotonic clock has it; `set_s`: by how much the wall clock was set."""

    def __init__(self) -> None:
        self.passed_s, self.set_s = 0.0, 0.0
        self.clock = SteadyClock(lambda: 50.0 + self.passed_s, self.wall_s)

    def wall_s(self) -> float:
        return 1_000.0 + self.passed_s + self.set_s

    def after(self, seconds: float) -> float:
        self.passed_s += seconds
        return self.clock.now_s()


@pytest.fixture
def time() -> Time:
    return Time()


def test_where_nobody_sets_a_clock_it_is_the_wall_clock(time: Time) -> None:
    for seconds in (0.0, 0.1, 7.3, 1e6):
        assert time.after(seconds) == time.wall_s()
    records = [replace(RECORD, at_s=3.0)]
    assert time.clock.timed(records) is records


def test_what_a_time_service_corrects_is_followed(time: Time) -> None:
    for _ in range(100):
        time.set_s += 0.0005
        assert time.after(1.0) == time.wall_s()


@pytest.mark.parametrize("step_s", [-30.0, -0.5, 0.5, 30.0])
def test_a_small_step_is_worked_off(time: Time, step_s: float) -> None:
    time.set_s = step_s
    assert time.after(1.0) == pytest.approx(1_001.0 + (SLEW if step_s > 0 else -SLEW))
    for _ in range(400):
        time.after(1.0)
    assert time.clock.now_s() == time.wall_s()


@pytest.mark.parametrize("step_s", [-STEP_S - 1.0, STEP_S + 1.0])
def test_a_large_one_is_taken_over(time: Time, step_s: float) -> None:
    time.set_s = step_s
    assert time.after(1.0) == time.wall_s()


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(-STEP_S / 2, STEP_S / 2)), max_size=30))
def test_it_never_goes_back_by_what_is_worked_off(steps: list[tuple[float, float]]) -> None:
    time = Time()
    before_s = time.clock.now_s()
    for seconds, set_s in steps:
        time.set_s = set_s
        now_s = time.after(seconds)
        assert -0.001 <= now_s - before_s <= (1 + SLEW) * seconds + 0.001
        before_s = now_s


def test_requests_have_their_times_by_it(time: Time) -> None:
    before = replace(RECORD, at_s=time.wall_s(), duration_s=5.0)
    time.set_s = -40.0
    time.after(1.0)
    after = replace(RECORD, at_s=time.wall_s(), duration_s=5.0)
    first, second = time.clock.timed([before, after])
    assert arrived_s_of(first) == arrived_s_of(second) == pytest.approx(time.clock.now_s() - 5.0)
    late = replace(RECORD, at_s=time.wall_s() - 100.0, duration_s=5.0)
    assert time.clock.timed([late])[0].at_s == pytest.approx(time.clock.now_s() - 2.0)
