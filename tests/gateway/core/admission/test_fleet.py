"""What several workers on one store may do together: the promises of the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission.gate import EXHAUSTED, UNCONFIRMED, Permit, Refusal
from gateway.core.admission.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

WORKERS = 3
LARGEST = 300
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "admit", "settle", "supply", "lose", "tick", "sleep"]),
        st.integers(0, WORKERS - 1),
        st.integers(0, LARGEST),
    ),
    min_size=1,
    max_size=150,
)


@given(_STEPS)
def test_no_budget_is_overspent_and_no_rate_by_more_than_the_debts(
    fleet: Callable[..., Any], steps: list[tuple[str, int, int]]
) -> None:
    group = fleet(WORKERS, Limits(40, 4_000, 6, 5_000))
    permits: list[tuple[int, Permit]] = []
    for what, worker, amount in steps:
        if what == "admit":
            permit = group.admit(worker, amount, amount)
            permits += [(worker, permit)] if isinstance(permit, Permit) else []
        elif what == "settle" and permits:
            owner, permit = permits.pop(amount % len(permits))
            group.settle(owner, permit, permit.tokens // (worker + 1), permit.microusd // (worker + 1))
        elif what == "supply":
            group.supply(worker)
        elif what == "lose":
            group.lose_answer(worker)
        else:
            group.now_s += 0.1 if what == "tick" else amount / 10
        group.check_books()
        assert group.taken("key:k:budget") <= 5_000
        for name, limit, debt in (("requests", 40, 1), ("tokens", 4_000, LARGEST)):
            assert group.taken(f"key:k:{name}") <= limit + WORKERS * max(debt, limit // WORKERS)


@pytest.mark.parametrize("workers", [1, 4])
def test_200_parallel_calls_on_a_nearly_spent_budget_spend_it_and_no_more(
    fleet: Callable[..., Any], workers: int
) -> None:
    """Each reserves 40 000 of the last 500 000 millionths: 12 fit."""
    group = fleet(workers, Limits(budget_microusd_per_day=20_000_000))
    day = group.newest("key:k:budget")[0].window
    group.windows.used["key:k:budget", day] = 19_500_000
    for meter in group.newest("key:k:budget"):
        meter.granted = meter.free = 0
    answers = []
    for number in range(200):
        answers.append(group.admit(number % workers, 0, 40_000))
        if number % 20 == 0:
            group.tick(0.02)
    for _ in range(10):
        group.tick()
    answers += [group.admit(number % workers, 0, 40_000) for number in range(200)]
    permits = [answer for answer in answers if isinstance(answer, Permit)]
    assert 12 - workers <= len(permits) <= 12
    assert group.taken("key:k:budget") == 40_000 * len(permits)
    assert {answer.cause for answer in answers if isinstance(answer, Refusal)} <= {UNCONFIRMED, EXHAUSTED}


@pytest.mark.parametrize("limits", [Limits(6_000), Limits(20), Limits(budget_microusd_per_day=60_000_000)])
def test_one_busy_worker_among_idle_ones_gets_nearly_the_whole_limit(fleet: Callable[..., Any], limits: Limits) -> None:
    group = fleet(8, limits)
    (meter,) = group.subject(0).meters
    group.now_s = meter.until_s + 1  # a whole window lies ahead
    group.tick()
    served = 0
    for _ in range(500):
        for _ in range(20):
            served += isinstance(group.admit(0, 0, 10_000), Permit)
        group.tick()
        assert group.now_s < meter.until_s
    whole = meter.limit // 10_000 if limits.budget_microusd_per_day else meter.limit
    assert 0.95 * whole <= served <= whole + max(1, whole // 32)


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_requests_of_the_day_may_come_all_at_once(fleet: Callable[..., Any], workers: int) -> None:
    """Nothing is leased yet, and nobody is over the limit."""
    group = fleet(workers, Limits(60, 60_000, 20))
    for number in range(20):
        assert isinstance(group.admit(number % workers, 500), Permit)


def test_a_place_given_back_is_free_before_the_store_says_so(fleet: Callable[..., Any]) -> None:
    group = fleet(1, Limits(concurrent_max=1))
    for _ in range(50):
        permit = group.admit(0)
        assert isinstance(permit, Permit)
        group.tick()
        group.settle(0, permit)
        group.now_s += 0.1
        leasing = group.workers[0].leasing
        sent = leasing.plan(group.now_s)
        between = group.admit(0)
        assert isinstance(between, Permit)
        leasing.take(sent, group.windows.lease([each.ask for each in sent]))
        group.settle(0, between)
        group.tick()


def test_workers_that_are_equally_busy_get_equal_shares(fleet: Callable[..., Any]) -> None:
    group = fleet(4, Limits(4_000))
    group.now_s = group.newest("key:k:requests")[0].until_s
    served = [0] * 4
    for _ in range(400):
        for worker in range(4):
            served[worker] += sum(isinstance(group.admit(worker), Permit) for _ in range(10))
        group.tick()
    assert 4_000 <= sum(served) <= 4_000 + 4 * 4_000 // 32
    assert max(served) < 1.25 * min(served)


def test_a_steady_caller_under_the_limit_is_never_refused(fleet: Callable[..., Any]) -> None:
    """Through several windows and on workers in turn, at 80 % of the limit."""
    group = fleet(4, Limits(600, 60_000, 20), Limits(600, 60_000))
    for turn in range(2_000):
        permit = group.admit(turn // 40 % 4, 100)
        assert isinstance(permit, Permit)
        group.tick(0.125)
        group.settle(turn // 40 % 4, permit, 80)
        group.supply()


def test_a_slot_given_back_on_one_worker_can_be_had_on_another(fleet: Callable[..., Any]) -> None:
    group = fleet(4, Limits(concurrent_max=2))
    first = [group.admit(0) for _ in range(1)]
    group.tick()
    first.append(group.admit(0))
    group.tick()
    assert all(isinstance(permit, Permit) for permit in first)
    for worker in (1, 2, 3):  # each may err once, before it has asked
        group.admit(worker)
    group.tick()
    assert all(isinstance(group.admit(worker), Refusal) for worker in (1, 2, 3))
    for permit in first:
        group.settle(0, permit)
    for _ in range(10):
        group.tick()
    assert isinstance(group.admit(1), Permit) or isinstance(group.admit(2), Permit)


def test_long_requests_keep_their_slots_from_window_to_window(fleet: Callable[..., Any]) -> None:
    group = fleet(3, Limits(concurrent_max=8))
    held = 0
    for _ in range(20):
        held += sum(isinstance(group.admit(worker), Permit) for worker in range(3))
        group.tick()
    assert 8 <= held <= 8 + 3
    for _ in range(400):
        group.tick()
        assert not any(isinstance(group.admit(worker), Permit) for worker in range(3))
    assert group.taken("key:k:concurrent") == held


def test_the_slots_of_a_worker_that_died_come_back(fleet: Callable[..., Any]) -> None:
    group = fleet(2, Limits(concurrent_max=4))
    for _ in range(4):
        group.admit(0)
        group.tick()
    group.admit(1)
    group.tick()
    assert isinstance(group.admit(1), Refusal)
    for _ in range(230):  # worker 0 is gone: nobody renews its slots
        group.now_s += 0.1
        group.supply(1)
    assert isinstance(group.admit(1), Permit)


def test_while_the_store_is_silent_rates_go_on_and_budgets_stop_at_their_block(fleet: Callable[..., Any]) -> None:
    group = fleet(4, Limits(400), Limits(budget_microusd_per_day=32_000))
    for worker in range(4):
        group.lose_answer(worker)
    group.now_s += 60
    served = sum(isinstance(group.admit(0, 0, 0), Permit) for _ in range(300))
    assert served == 100
    group.now_s += 60
    spent = sum(isinstance(group.admit(0, 0, 100), Permit) for _ in range(100))
    assert spent == 10
    assert group.admit(0, 0, 100).quantity == "budget"
    for _ in range(10):
        group.tick()
    assert sum(isinstance(group.admit(0, 0, 100), Permit) for _ in range(10)) == 10


def test_a_budget_has_its_block_before_the_day_begins(fleet: Callable[..., Any]) -> None:
    group = fleet(2, Limits(budget_microusd_per_day=32_000))
    (meter,) = group.subject(0).meters
    group.now_s = meter.until_s - 300
    group.tick()
    group.now_s = meter.until_s
    assert isinstance(group.admit(0, 0, 900), Permit)
    assert isinstance(group.admit(1, 0, 900), Permit)


def test_what_was_used_beyond_the_reservation_counts_against_the_budget(fleet: Callable[..., Any]) -> None:
    group = fleet(2, Limits(budget_microusd_per_day=32_000))
    permit = group.admit(0, 0, 900)
    group.settle(0, permit, 0, 30_000)
    group.tick()
    assert group.taken("key:k:budget") == 30_000
    for _ in range(100):
        group.tick()
    assert sum(isinstance(group.admit(worker, 0, 900), Permit) for worker in (0, 1)) <= 2
    group.check_books()
