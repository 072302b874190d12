import os
import socket

import pytest

from loadtests.soak.samples import (
    Sample,
    Usage,
    children_of,
    gauges_of,
    second_half,
    series_of,
    slope,
    together,
    total,
    usage_of,
)

PAGE = """\
# HELP glidepath_requests_in_flight Relay requests under way.
glidepath_requests_in_flight 3.0
glidepath_upstream_connections{state="busy",upstream="a"} 2.0
glidepath_upstream_connections{state="busy",upstream="b"} 1.0
glidepath_upstream_connections{state="idle",upstream="b"} 4.0
glidepath_queue_waiting{priority="batch"} 1.0
glidepath_tasks 12.0
glidepath_snapshot_age_seconds +Inf
"""


def test_a_page_of_metrics() -> None:
    series = series_of(PAGE)
    assert total(series, "glidepath_upstream_connections", state="busy") == 3
    assert total(series, "glidepath_upstream_connections", state="busy", upstream="b") == 1
    assert total(series, "nothing") == 0
    found = gauges_of(series)
    assert found == {"in_flight": 3, "busy": 3, "waiting": 0, "idle": 4, "queue": 1, "places": 0, "tasks": 12}


def test_this_process_and_its_sockets() -> None:
    before = usage_of(os.getpid())
    with socket.socket():
        during = usage_of(os.getpid())
    assert during.sockets == before.sockets + 1
    assert before.rss_bytes > 1 << 20
    assert before.cpu_s > 0
    assert os.getpid() in children_of(os.getppid()) or os.getppid() == 1


def test_a_process_that_is_gone_uses_nothing() -> None:
    assert usage_of(2**22 + 1) == Usage(0, 0, 0.0)
    assert together([Usage(1, 2, 3.0), Usage(10, 20, 30.0)]) == Usage(11, 22, 33.0)


def test_the_slope_of_a_line() -> None:
    assert slope([(float(x), 5 + 3.0 * x) for x in range(10)]) == pytest.approx(3)
    assert slope([]) == slope([(1.0, 2.0)]) == slope([(1.0, 2.0), (1.0, 5.0)]) == 0


def test_the_second_half_is_by_time() -> None:
    samples = [Sample(at_s, Usage(0, 0, 0.0), Usage(0, 0, 0.0), {}) for at_s in (10.0, 11.0, 12.0, 30.0)]
    assert [each.at_s for each in second_half(samples)] == [30.0]
    assert second_half([]) == []
