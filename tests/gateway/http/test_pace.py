"""Which connections are too slow, looked at now and then."""

import pytest

from gateway.http.limits import CallerLimits
from gateway.http.pace import Pace, Phase

LIMITS = CallerLimits(head_timeout_s=10, body_idle_s=30, body_rate_min_bytes_s=500)
IDLE_S = 75


def _looks(*looks: tuple[float, Phase, object, int]) -> list[bool]:
    pace = Pace()
    return [
        pace.late(phase, message, received, at_s, limits=LIMITS, idle_s=IDLE_S)
        for at_s, phase, message, received in looks
    ]


@pytest.mark.parametrize(("phase", "limit_s"), [(Phase.IDLE, 75), (Phase.HEAD, 10), (Phase.BODY, 30)])
def test_time_counts_from_the_first_look_at_a_phase(phase: Phase, limit_s: float) -> None:
    looks = _looks((100, phase, "a", 0), (99 + limit_s, phase, "a", 0), (100 + limit_s, phase, "a", 0))
    assert looks == [False, False, True]


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.HEAD, Phase.BODY])
def test_another_message_or_phase_starts_anew(phase: Phase) -> None:
    assert _looks((100, phase, "a", 0), (200, phase, "b", 0)) == [False, False]
    assert _looks((100, phase, "a", 0), (105, Phase.BUSY, "a", 0), (200, phase, "a", 0)) == [False, False, False]


def test_busy_is_never_late() -> None:
    assert _looks((0, Phase.BUSY, "a", 0), (1e9, Phase.BUSY, "a", 0)) == [False, False]


def test_a_body_that_trickles_is_late_by_its_rate() -> None:
    looks = _looks(*[(at_s, Phase.BODY, "a", 10 * at_s) for at_s in range(0, 60, 10)])
    assert looks == [False, False, False, False, True, True]


def test_a_body_that_flows_may_take_its_time() -> None:
    looks = _looks(*[(at_s, Phase.BODY, "a", 600 * at_s) for at_s in range(0, 600, 10)])
    assert not any(looks)


def test_a_body_that_stops_is_late_however_much_came_before() -> None:
    looks = _looks((0, Phase.BODY, "a", 0), (1, Phase.BODY, "a", 10**9), (30, Phase.BODY, "a", 10**9))
    assert looks == [False, False, False]
    assert _looks((0, Phase.BODY, "a", 0), (1, Phase.BODY, "a", 10**9), (31, Phase.BODY, "a", 10**9))[-1]


def test_idle_connections_close_at_once_when_told_so() -> None:
    assert Pace().late(Phase.IDLE, "a", 0, 5.0, limits=LIMITS, idle_s=0)


@pytest.mark.parametrize(
    ("unsent", "stalled"),
    [
        ([0, 0, 0], [False, False, False]),
        ([9, 9, 9], [False, False, True]),
        ([9, 12, 12], [False, False, True]),
        ([9, 8, 8], [False, False, False]),
        ([9, 0, 9], [False, False, False]),
        ([9, 9, 8], [False, False, False]),
    ],
)
def test_what_nobody_takes_stalls(unsent: list[int], stalled: list[bool]) -> None:
    pace = Pace()
    assert [pace.stalled(size, 30.0 * turn, 60) for turn, size in enumerate(unsent)] == stalled
