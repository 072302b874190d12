"""Ejecting and probing, against the table in the module's header."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.breaker import Breaker, BreakerLimits, BreakerState, NotAdmittedError
from tests.examples import fewer

LIMITS = BreakerLimits(consecutive_failures=3, requests_min=10, window_s=10, ejected_s=1, ejected_max_s=8)
HEALTHY, EJECTED, PROBING = BreakerState
EVENTS = ("sent", "success", "failure", "released")


def fail(breaker: Breaker, now_s: float, times: int = 3) -> None:
    for ticket in [breaker.on_sent(now_s) for _ in range(times)]:
        breaker.on_failure(now_s, ticket)


def succeed(breaker: Breaker, now_s: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.on_success(now_s, breaker.on_sent(now_s))


def ejected(now_s: float = 0.0) -> Breaker:
    breaker = Breaker(LIMITS)
    fail(breaker, now_s)
    assert breaker.state is EJECTED
    return breaker


# name -> a breaker in that situation at t = 1, and the ticket of the request that matters there
def situations() -> dict[str, tuple[Breaker, int]]:
    fresh, failing, early, due, probing, free, nearly = Breaker(LIMITS), Breaker(LIMITS), *(ejected() for _ in range(5))
    early = ejected(0.5)
    old = Breaker(LIMITS)
    kept = old.on_sent(0.0)
    fail(old, 0.0)
    fail(failing, 0.0, 2)
    first = free.on_sent(1.0)
    free.on_released(1.0, first)
    succeed(nearly, 1.0)
    return {
        "healthy": (fresh, fresh.on_sent(0.0)),
        "failing": (failing, failing.on_sent(0.0)),
        "ejected, too early": (early, 0),
        "ejected, due": (due, 0),
        "ejected, old request": (old, kept),
        "probe out": (probing, probing.on_sent(1.0)),
        "probe released": (free, first),
        "one probe passed, second out": (nearly, nearly.on_sent(1.0)),
    }


NEXT = {
    "healthy": (HEALTHY, HEALTHY, HEALTHY, HEALTHY),
    "failing": (HEALTHY, HEALTHY, EJECTED, HEALTHY),
    "ejected, too early": (NotAdmittedError, EJECTED, EJECTED, EJECTED),
    "ejected, due": (PROBING, EJECTED, EJECTED, EJECTED),
    "ejected, old request": (PROBING, EJECTED, EJECTED, EJECTED),
    "probe out": (NotAdmittedError, PROBING, EJECTED, PROBING),
    "probe released": (PROBING, PROBING, PROBING, PROBING),
    "one probe passed, second out": (NotAdmittedError, HEALTHY, EJECTED, PROBING),
}


@pytest.mark.parametrize(("name", "event"), [*product(NEXT, EVENTS)])
def test_all_pairs(name: str, event: str) -> None:
    breaker, ticket = situations()[name]
    expected = NEXT[name][EVENTS.index(event)]
    before = breaker.state, breaker.retry_at_s
    if expected is NotAdmittedError:
        assert not breaker.admits(1.0)
        with pytest.raises(NotAdmittedError):
            breaker.on_sent(1.0)
        assert (breaker.state, breaker.retry_at_s) == before
        return
    if event == "sent":
        assert breaker.admits(1.0)
        breaker.on_sent(1.0)
    else:
        getattr(breaker, f"on_{event}")(1.0, ticket)
    assert breaker.state is expected


def test_successes_between_failures_keep_it_healthy() -> None:
    breaker = Breaker(LIMITS)
    for now_s in range(3):
        fail(breaker, now_s, 2)
        succeed(breaker, now_s)
    assert breaker.state is HEALTHY


def test_a_large_part_of_enough_requests_ejects() -> None:
    breaker = Breaker(LIMITS._replace(consecutive_failures=1000))
    succeed(breaker, 0.0, 5)
    fail(breaker, 0.0, 4)
    assert breaker.state is HEALTHY
    fail(breaker, 0.0, 1)
    assert breaker.state is EJECTED


def test_the_part_is_counted_over_two_halves_of_the_window() -> None:
    breaker = Breaker(LIMITS._replace(consecutive_failures=1000))
    fail(breaker, 0.0, 9)
    fail(breaker, 6.0, 1)
    assert breaker.state is EJECTED


@pytest.mark.parametrize("later_s", [10.0, 11.0, 1000.0])
def test_what_happened_before_the_window_is_forgotten(later_s: float) -> None:
    breaker = Breaker(LIMITS._replace(consecutive_failures=1000))
    fail(breaker, 0.0, 9)
    fail(breaker, later_s, 9)
    assert breaker.state is HEALTHY


def test_ejections_double_up_to_the_limit_and_start_over_after_lasting_health() -> None:
    breaker, now_s, lasted = ejected(), 0.0, []
    for _ in range(5):
        lasted.append(breaker.retry_at_s - now_s)
        now_s = breaker.retry_at_s
        fail(breaker, now_s, 1)
    assert lasted == [1, 2, 4, 8, 8]
    now_s = breaker.retry_at_s
    succeed(breaker, now_s, 2)
    fail(breaker, now_s + 7.9)
    assert breaker.retry_at_s - now_s == pytest.approx(7.9 + 8)
    now_s = breaker.retry_at_s
    succeed(breaker, now_s, 2)
    fail(breaker, now_s + 8)
    assert breaker.retry_at_s - now_s == 9


def test_two_probes_one_at_a_time_make_it_healthy_again_with_a_clean_record() -> None:
    breaker = ejected()
    assert not breaker.admits(0.999)
    succeed(breaker, 1.0, 2)
    assert breaker.state is HEALTHY
    fail(breaker, 1.0, 2)
    assert breaker.state is HEALTHY


def test_requests_sent_before_an_ejection_say_nothing_after_it() -> None:
    breaker = Breaker(LIMITS)
    old = [breaker.on_sent(0.0) for _ in range(20)]
    fail(breaker, 0.0)
    probe = breaker.on_sent(1.0)
    for ticket in old[:10]:
        breaker.on_failure(1.0, ticket)
        breaker.on_success(1.0, ticket)
        breaker.on_released(1.0, ticket)
    assert breaker.state is PROBING
    assert not breaker.admits(1.0)
    breaker.on_success(1.0, probe)
    succeed(breaker, 1.0)
    for ticket in old[10:]:
        breaker.on_failure(1.0, ticket)
    assert breaker.state is HEALTHY


def test_an_end_told_twice_counts_once() -> None:
    breaker = ejected()
    probe = breaker.on_sent(1.0)
    breaker.on_success(1.0, probe)
    breaker.on_success(1.0, probe)
    assert breaker.state is PROBING


@given(st.integers(0, 10_000))
def test_endless_ejections_stay_bounded(times: int) -> None:
    breaker = ejected()
    breaker._ejections = times
    fail(breaker, breaker.retry_at_s, 1)
    assert 1 <= breaker.retry_at_s - 1 <= 8


class AnyInterleaving(RuleBasedStateMachine):
    """Requests begin and end in any order while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(LIMITS)
        self.now_s = 0.0
        self.out: list[tuple[int, BreakerState]] = []

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 5.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.breaker.admits(self.now_s))
    @rule()
    def send(self) -> None:
        ticket = self.breaker.on_sent(self.now_s)
        self.out.append((ticket, self.breaker.state))

    @precondition(lambda self: self.out)
    @rule(data=st.data(), end=st.sampled_from(["success", "failure", "failure", "failure", "released"]))
    def end(self, data: st.DataObject, end: str) -> None:
        ticket, _ = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        getattr(self.breaker, f"on_{end}")(self.now_s, ticket)

    @invariant()
    def one_probe_at_a_time(self) -> None:
        current = [ticket for ticket, state in self.out if state is PROBING and ticket == self.breaker._epoch]
        assert len(current) <= 1
        if self.breaker.state is PROBING:
            assert self.breaker.admits(self.now_s) == (not current)

    @invariant()
    def counts_are_counts(self) -> None:
        breaker = self.breaker
        assert 0 <= breaker._failures <= breaker._requests
        assert 0 <= breaker._failures_before <= breaker._requests_before
        if breaker.state is HEALTHY:
            assert 0 <= breaker._row < LIMITS.consecutive_failures

    @invariant()
    def an_ejected_endpoint_is_always_probed_again(self) -> None:
        if self.breaker.state is EJECTED:
            assert self.breaker.admits(self.now_s + LIMITS.ejected_max_s)

    def teardown(self) -> None:
        for ticket, _ in self.out:
            self.breaker.on_released(self.now_s, ticket)
        later_s = self.now_s + 100
        while self.breaker.state is not HEALTHY:
            succeed(self.breaker, later_s)
        assert self.breaker.admits(later_s)


TestAnyInterleaving = AnyInterleaving.TestCase
TestAnyInterleaving.settings = fewer(50)
