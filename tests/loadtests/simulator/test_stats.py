import pytest

from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.stats import Ending, Stats


def test_every_request_is_in_exactly_one_column() -> None:
    stats = Stats()
    stats.begin("a", "1", None, 200).settle(Ending.COMPLETED)
    stats.begin("a", "2", Fault(FaultKind.RESET), 200).settle(Ending.BROKEN)
    stats.begin("b", "3", Fault(FaultKind.STALL), 200).abort(100.0, 2.5, 4)
    stats.begin("b", "4", None, 429)
    found = stats.snapshot()
    assert found["requests"] == {"started": 4, "completed": 1, "aborted": 1, "broken": 1, "in_flight": 1}
    assert found["models"]["b"] == {"started": 2, "completed": 0, "aborted": 1, "broken": 0, "in_flight": 1}
    assert found["statuses"] == {"200": 3, "429": 1}
    assert found["faults"] == {"reset": 1, "stall": 1}


def test_an_abort_keeps_its_time_and_how_much_was_sent() -> None:
    stats = Stats()
    stats.begin("b", "3", Fault(FaultKind.STALL), 200).abort(100.0, 2.5, 4)
    (abort,) = stats.snapshot()["aborts"]
    assert abort == {
        "at_s": 100.0,
        "after_s": 2.5,
        "events_sent": 4,
        "model": "b",
        "request_id": "3",
        "fault": "stall",
    }


def test_settling_twice_is_refused_and_counts_once() -> None:
    stats = Stats()
    exchange = stats.begin("a", "1", None, 200)
    exchange.settle(Ending.COMPLETED)
    with pytest.raises(RuntimeError, match="settled twice"):
        exchange.abort(0, 0, 0)
    assert stats.snapshot()["requests"] == {"started": 1, "completed": 1, "aborted": 0, "broken": 0, "in_flight": 0}


def test_only_the_last_aborts_are_kept() -> None:
    stats = Stats()
    for number in range(1500):
        stats.begin("a", str(number), None, 200).abort(number, 0, 0)
    assert len(stats.snapshot()["aborts"]) == 1000
    assert stats.snapshot()["requests"]["aborted"] == 1500
