"""What an attempt says of its endpoint: once, whatever it came to; and when its time is up."""

import pytest

from gateway.attempt import Attempt
from gateway.core.breaker import BreakerState
from gateway.core.deadlines import Deadlines
from gateway.core.outcome import Failure, Phase
from gateway.settings import UpstreamSettings
from gateway.upstream import build_upstream

SETTINGS = {"kind": "vllm", "base_urls": ["http://127.0.0.1:9/v1"], "model": "m"}
HTML = {b"content-type": b"text/html; charset=utf-8"}
LATER_S = 1e9


class Asker:
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_answer(self, attempt: Attempt, data: bytes, *, complete: bool) -> None:
        self.heard.append((attempt.status, data, complete))

    def on_failure(self, attempt: Attempt, failure: Failure) -> None:
        self.heard.append(failure.kind)


@pytest.fixture
def upstream():
    """Its only endpoint is ejected by one failure, and admits a probe long after."""
    limits = {"consecutive_failures": 1, "ejected_s": 1, "ejected_max_s": 1}
    return build_upstream("a", UpstreamSettings.model_validate({**SETTINGS, "breaker": limits}), None)


@pytest.fixture
def attempt(upstream):
    """Make an attempt that has not been sent."""

    def make(deadlines: Deadlines | None = None) -> Attempt:
        (endpoint,) = upstream.endpoints
        return Attempt(Asker(), upstream, endpoint, deadlines or upstream.deadlines, b"", b"")

    return make


def state_after(attempt: Attempt) -> str:
    """Of its endpoint, to which the place must have come back."""
    assert attempt.endpoint.outstanding == 0
    return attempt.endpoint.breaker.state


@pytest.mark.parametrize("reads", [1, 2])
@pytest.mark.parametrize(
    ("status", "headers", "ejects"),
    [
        (200, {}, False),
        (400, {}, False),
        (404, {}, False),
        (429, {}, False),
        (307, {}, False),
        (500, {}, True),
        (503, {}, True),
        (200, HTML, True),
        (204, {}, True),
    ],
)
def test_a_whole_answer_is_judged_once(
    *, attempt, status: int, headers: dict[bytes, bytes], ejects: bool, reads: int
) -> None:
    asked = attempt()
    asked.status, asked.headers = status, headers
    for read in range(reads):
        asked.on_answer(asked, b"x", complete=read == reads - 1)
    assert state_after(asked) == (BreakerState.EJECTED if ejects else BreakerState.HEALTHY)
    assert asked._asker.heard == [(status, b"x", read == reads - 1) for read in range(reads)]
    asked.cancel()
    asked.reject()
    asked.on_failure(Failure(Phase.BODY, "reset", "late"))
    assert asked.endpoint.outstanding == 0


@pytest.mark.parametrize(
    ("status", "state"), [(200, "probing"), (429, "probing"), (307, "probing"), (503, "ejected"), (204, "ejected")]
)
@pytest.mark.parametrize("reads", [1, 2])
def test_a_probe_tells_the_same_however_its_answer_is_cut(
    *, attempt, upstream, monkeypatch: pytest.MonkeyPatch, status: int, state: str, reads: int
) -> None:
    (endpoint,) = upstream.endpoints
    endpoint.breaker.on_failure(0.0, endpoint.breaker.on_sent(0.0))
    monkeypatch.setattr("gateway.attempt.perf_counter", lambda: LATER_S)
    probe = attempt()
    probe.status = status
    for read in range(reads):
        probe.on_answer(probe, b"", complete=read == reads - 1)
    assert state_after(probe) == state
    # One that passed, or said nothing, makes room for the next; two that passed end it.
    if state == "probing":
        second = attempt()
        second.status = 200
        second.on_answer(second, b"", complete=True)
        assert state_after(second) == ("healthy" if status == 200 else "probing")


@pytest.mark.parametrize(
    ("kind", "ejects"), [("reset", True), ("idle_timeout", True), ("queue_full", False), ("closed", False)]
)
def test_a_break_counts_unless_it_is_the_gateways_own(attempt, kind: str, *, ejects: bool) -> None:
    asked = attempt()
    asked.on_failure(Failure(Phase.CONNECT, kind, ""))
    assert (state_after(asked) == BreakerState.EJECTED) is ejects
    assert asked._asker.heard == [kind]


def test_a_callers_own_deadline_says_nothing_of_the_endpoint(attempt) -> None:
    failure = Failure(Phase.FIRST_BYTE, "first_byte_timeout", "")
    hurried = attempt(Deadlines(0.1, 1.0, 1.0))
    hurried.expire(failure)
    assert state_after(hurried) == BreakerState.HEALTHY
    patient = attempt()
    patient.expire(failure)
    assert state_after(patient) == BreakerState.EJECTED


@pytest.mark.parametrize(("status", "ejects"), [(0, False), (200, False), (500, True)])
def test_a_cancelled_one_tells_only_a_server_error(attempt, status: int, *, ejects: bool) -> None:
    asked = attempt()
    asked.status = status
    asked.cancel()
    asked.cancel()
    assert (state_after(asked) == BreakerState.EJECTED) is ejects


def test_each_deadline_has_its_phase(attempt) -> None:
    asked = attempt(Deadlines(first_byte_s=5, idle_s=2, total_s=20))
    begun_s = asked.last_read_s
    assert asked.overdue(begun_s + 4, begun_s) is None
    assert asked.overdue(begun_s + 6, begun_s) == "first_byte_timeout"
    asked.status = 200
    assert asked.overdue(begun_s + 1, begun_s) is None
    assert asked.overdue(begun_s + 3, begun_s) == "idle_timeout"
    assert asked.overdue(begun_s + 1, begun_s - 20) == "total_timeout"
    asked.last_read_s = begun_s - 100
    asked.pause_reading()
    assert asked.overdue(begun_s + 1, begun_s) is None
    asked.last_read_s = begun_s - 100
    asked.resume_reading()
    assert asked.overdue(begun_s + 1, begun_s) is None
