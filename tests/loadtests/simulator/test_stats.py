import pytest

from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.ledger import Seen
from loadtests.simulator.request import Request
from loadtests.simulator.stats import Ending, Stats


def seen(path: str = "/chat", identifier: str = "mine") -> Seen:
    return Seen(Request("POST", path), identifier, 0.0)


def test_every_request_is_in_exactly_one_column() -> None:
    stats = Stats()
    stats.begin("a", "1", None, 200, seen()).settle(Ending.COMPLETED)
    stats.begin("a", "2", Fault(FaultKind.RESET), 200, seen()).settle(Ending.BROKEN)
    stats.begin("b", "3", Fault(FaultKind.STALL), 200, seen()).abort(100.0, 2.5, 4)
    stats.begin("b", "4", None, 429, seen())
    found = stats.snapshot()
    assert found["requests"] == {"started": 4, "completed": 1, "aborted": 1, "broken": 1, "in_flight": 1}
    assert found["models"]["b"] == {"started": 2, "completed": 0, "aborted": 1, "broken": 0, "in_flight": 1}
    assert found["statuses"] == {"200": 3, "429": 1}
    assert found["faults"] == {"reset": 1, "stall": 1}


def test_an_abort_keeps_its_time_and_how_much_was_sent() -> None:
    stats = Stats()
    stats.begin("b", "3", Fault(FaultKind.STALL), 200, seen()).abort(100.0, 2.5, 4)
    (abort,) = stats.snapshot()["aborts"]
    assert abort == {
        "at_s": 100.0,
        "after_s": 2.5,
        "events_sent": 4,
        "model": "b",
        "request_id": "3",
        "fault": "stall",
        "path": "/chat",
        "caller_id": "mine",
    }


def test_settling_twice_is_refused_and_counts_once() -> None:
    stats = Stats()
    exchange = stats.begin("a", "1", None, 200, seen())
    exchange.settle(Ending.COMPLETED)
    with pytest.raises(RuntimeError, match="settled twice"):
        exchange.abort(0, 0, 0)
    assert stats.snapshot()["requests"] == {"started": 1, "completed": 1, "aborted": 0, "broken": 0, "in_flight": 0}


def test_only_the_last_aborts_are_kept() -> None:
    stats = Stats()
    for number in range(1500):
        stats.begin("a", str(number), None, 200, seen()).abort(number, 0, 0)
    assert len(stats.snapshot()["aborts"]) == 1000
    assert stats.snapshot()["requests"]["aborted"] == 1500


def test_endpoints_are_counted_apart_and_open_streams_now() -> None:
    stats = Stats()
    first = stats.begin("a", "1", None, 200, seen("/chat"), stream=True)
    stats.begin("a", "2", None, 200, seen("/messages"), stream=True)
    stats.begin("b", "3", None, 200, seen("/messages"))
    assert stats.snapshot()["streams_open"] == 2
    first.settle(Ending.COMPLETED, 0.5)
    found = stats.snapshot()
    assert found["streams_open"] == 1
    assert found["endpoints"]["/chat"] == {"started": 1, "completed": 1, "aborted": 0, "broken": 0, "in_flight": 0}
    assert found["endpoints"]["/messages"]["in_flight"] == 2
    assert stats.started == 3


def test_each_request_id_is_counted_with_its_ending() -> None:
    stats = Stats(ids_kept=10, requests_kept=1)
    stats.begin("a", "1", Fault(FaultKind.STALL), 200, seen()).abort(100.0, 2.5, 4)
    stats.begin("a", "2", None, 200, seen()).settle(Ending.COMPLETED, 0.5)
    assert stats.ledger.tallies("mine") == {"arrived": 2, "completed": 1, "aborted": 1, "broken": 0}
    (last,) = stats.ledger.last(10)
    assert (last["ending"], last["after_s"], last["status"], last["fault"]) == ("completed", 0.5, 200, None)
