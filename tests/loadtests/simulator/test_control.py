"""Paths that operate and read the simulator, without sockets."""

import json

import pytest

from loadtests.simulator.answers import NO_REFERENCES
from loadtests.simulator.config import SimulatorConfig
from loadtests.simulator.control import Desk
from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.partner import Partner
from loadtests.simulator.request import Request
from loadtests.simulator.stats import Ending

CHAT = "/v1/chat/completions"
QUESTION = {"model": "simulated-partner", "messages": [{"role": "user", "content": "q"}]}


class Shut:
    """A port that only notes that it was shut."""

    def __init__(self) -> None:
        self.open_count = 2
        self.total = 9
        self.commands: list[tuple[float, bool]] = []

    def refuse(self, seconds: float, *, drop: bool) -> None:
        self.commands.append((seconds, drop))


def desk(*faults: Fault, listener: Shut | None = None, **config: object) -> Desk:
    partner = Partner(SimulatorConfig(faults=faults, **config), NO_REFERENCES, 1_000.5)
    return Desk(partner, listener or Shut())


def ask(found: Desk, method: str, path: str, body: object = None, **more: object) -> tuple[int, dict]:
    data = b"" if body is None else json.dumps(body).encode()
    path, _, query = path.partition("?")
    script, _ = found.respond(Request(method, path, data, query=query, **more), 5.0)
    head, _, answer = b"".join(write.data for write in script.writes).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(answer)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/healthz", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/simulated-partner", 200),
        ("GET", "/v1/models/none", 404),
        ("GET", "/simulator/stats", 200),
        ("GET", "/simulator/faults", 200),
        ("GET", "/simulator/requests", 200),
        ("GET", "/simulator/requests?last=x", 400),
        ("POST", "/simulator/reset", 200),
        ("GET", CHAT, 405),
        ("POST", "/healthz", 405),
        ("GET", "/nowhere", 404),
    ],
)
def test_paths(method: str, path: str, status: int) -> None:
    assert ask(desk(), method, path)[0] == status


def test_a_completion_goes_to_the_partner() -> None:
    script, exchange = desk().respond(Request("POST", CHAT, json.dumps(QUESTION).encode()), 5.0)
    assert script.status == 200
    assert exchange is not None
    exchange.settle(Ending.COMPLETED)


def test_models_in_either_vendors_shape() -> None:
    found = desk(models=("a", "b"))
    assert [model["id"] for model in ask(found, "GET", "/v1/models")[1]["data"]] == ["a", "b"]
    headers = ((b"anthropic-version", b"2023-06-01"),)
    listed = ask(found, "GET", "/v1/models", headers=headers)[1]
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("a", "b", False)
    assert listed["data"][0]["created_at"] == "1970-01-01T00:16:40Z"
    assert ask(found, "GET", "/v1/models/b", headers=headers)[1]["display_name"] == "b"


def test_faults_are_switched_at_run_time_and_read_back() -> None:
    found = desk()
    status, shown = ask(found, "POST", "/simulator/faults", {"faults": [{"kind": "reset", "rate": 0.5}]})
    assert (status, shown["faults"][0]["rate"]) == (200, 0.5)
    assert ask(found, "GET", "/simulator/faults")[1] == shown


@pytest.mark.parametrize("body", [b"{", b'{"faults": [{"kind": "rest"}]}', b'{"fault": []}', b"[]"])
def test_bad_faults_are_refused_and_the_old_ones_stay(body: bytes) -> None:
    found = desk(Fault(FaultKind.RESET))
    script, _ = found.respond(Request("POST", "/simulator/faults", body), 5.0)
    assert script.status == 400
    assert [fault["kind"] for fault in ask(found, "GET", "/simulator/faults")[1]["faults"]] == ["reset"]


def test_requests_are_read_back_by_id_with_their_counts_and_forgotten() -> None:
    found = desk()
    for identifier in (b"a", b"b", b"a"):
        _, exchange = found.respond(
            Request("POST", CHAT, json.dumps(QUESTION).encode(), ((b"x-request-id", identifier),)), 5.0
        )
        assert exchange is not None
        exchange.settle(Ending.COMPLETED)
    _, one = ask(found, "GET", "/simulator/requests?id=a&last=1")
    assert (len(one["requests"]), one["tallies"]["completed"]) == (1, 2)
    assert json.loads(one["requests"][0]["body"]) == QUESTION
    _, every = ask(found, "GET", "/simulator/requests")
    assert ([each["identifier"] for each in every["requests"]], every["tallies"]) == (["a", "b", "a"], None)
    stats = ask(found, "GET", "/simulator/stats")[1]
    assert stats["connections"] == {"open": 2, "total": 9}
    assert stats["ids"]["duplicates"] == 1
    assert ask(found, "POST", "/simulator/reset")[1]["requests"]["started"] == 0
    assert ask(found, "GET", "/simulator/requests")[1]["requests"] == []


def test_the_port_is_closed_on_command() -> None:
    listener = Shut()
    found = desk(listener=listener)
    assert ask(found, "POST", "/simulator/listener", {"refuse_s": 2})[0] == 200
    assert ask(found, "POST", "/simulator/listener", {"refuse_s": 0.5, "drop": True})[0] == 200
    assert ask(found, "POST", "/simulator/listener", {"refuse": 2})[0] == 400
    assert listener.commands == [(2.0, False), (0.5, True)]


def test_counts_of_many_ids_at_once() -> None:
    found = desk()
    for _ in range(2):
        _, exchange = found.respond(
            Request("POST", CHAT, json.dumps(QUESTION).encode(), headers=((b"x-request-id", b"a"),)), 5.0
        )
    exchange.settle(Ending.COMPLETED)
    status, shown = ask(found, "POST", "/simulator/tallies", {"ids": ["b", "a"]})
    assert (status, shown) == (200, {"tallies": [[0, 0, 0, 0], [2, 1, 0, 0]]})
    assert ask(found, "POST", "/simulator/tallies", {"ids": ["a"] * 10_001})[0] == 400
