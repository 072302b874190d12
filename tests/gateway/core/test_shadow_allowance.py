"""Budget and places of shadow calls, spent by several workers from one store: never too many, whatever happens.

Invariant 15 of the rollout: shadow calls respect budget and concurrency.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission.leasing import Leasing
from gateway.core.admission.meter import DAY_S, RENEWAL_S
from gateway.core.shadow_allowance import RENEWED_S, Allowance
from gateway.core.shadowing import Skip
from rollout.core.quota import QuotaAsk, QuotaGrant, grant
from tests.examples import fewer

if TYPE_CHECKING:
    from collections.abc import Sequence

# A day's first second, to which no window of places is bound.
DAY = 20_000
NOW_S = DAY * DAY_S


class Store:
    """Windows that all workers share."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, int], int] = {}

    def lease(self, asks: Sequence[QuotaAsk]) -> list[QuotaGrant]:
        grants = []
        for ask in asks:
            answer = grant(self.used.get((ask.name, ask.window), 0), ask)
            self.used[ask.name, ask.window] = answer.used
            grants.append(answer)
        return grants


class Worker:
    """One worker's allowances of one feature: that in force, and those that were."""

    def __init__(self, store: Store, budget: int, concurrent: int) -> None:
        self.store = store
        self.leasing = Leasing(lambda: None)
        self.calls: list[Allowance] = []
        self.allowance = Allowance("draft", budget, concurrent, self.leasing)

    def begin(self, now_s: float) -> Skip | None:
        why = self.allowance.take(now_s)
        if why is None:
            self.calls.append(self.allowance)
        return why

    def end(self, now_s: float) -> None:
        if self.calls:
            self.calls.pop(0).give_back(now_s)

    def sweep(self, now_s: float) -> None:
        """What the shell does ten times a second: cut what has lapsed."""
        for allowance in set(self.calls):
            for _ in range(allowance.lapsed(now_s)):
                self.calls.remove(allowance)
                allowance.give_back(now_s)

    def round(self, now_s: float, outcome: str = "answered") -> None:
        """One round of leasing; the store may be down, or its answer lost."""
        sent = self.leasing.plan(now_s)
        if outcome == "down":
            self.leasing.lose()
            return
        grants = self.store.lease([each.ask for each in sent])
        if outcome == "lost":
            self.leasing.lose()
        else:
            self.leasing.take(sent, grants)

    def replace(self, budget: int, concurrent: int) -> None:
        self.allowance.retire()
        self.allowance = Allowance("draft", budget, concurrent, self.leasing)


def supplied(worker: Worker, now_s: float) -> float:
    """A moment later, when the store has granted what was asked for."""
    for _ in range(8):
        worker.round(now_s)
        now_s += 0.02
    return now_s


def test_without_a_block_there_is_no_call_and_with_one_there_is() -> None:
    worker = Worker(Store(), 100, 4)
    assert worker.begin(NOW_S) is Skip.UNCONFIRMED
    now_s = supplied(worker, NOW_S)
    assert worker.begin(now_s) is None
    assert worker.allowance.under_way == 1
    worker.end(now_s)
    assert worker.allowance.under_way == 0


def test_a_store_that_never_answers_gives_none() -> None:
    worker = Worker(Store(), 100, 4)
    for tick in range(200):
        assert worker.begin(NOW_S + tick * 0.1) is Skip.UNCONFIRMED
        worker.round(NOW_S + tick * 0.1, "down")


def test_a_call_that_was_not_made_costs_nothing() -> None:
    worker = Worker(Store(), 1, 1)
    worker.begin(NOW_S)
    now_s = supplied(worker, NOW_S)
    for _ in range(3):
        assert worker.begin(now_s) is None
        worker.calls.pop().withdraw(now_s)
    assert worker.begin(now_s) is None


def until_refused(worker: Worker, now_s: float, why: Skip) -> float:
    for _ in range(400):
        if worker.begin(now_s) is why:
            return now_s
        worker.round(now_s)
        now_s += 0.02
    pytest.fail(f"never {why}")


def test_each_limit_says_so_when_it_is_used_up() -> None:
    worker = Worker(Store(), 1_000, 2)
    until_refused(worker, NOW_S, Skip.CONCURRENCY)
    assert worker.allowance.under_way == 2
    worker = Worker(Store(), 2, 1_000)
    now_s = until_refused(worker, NOW_S, Skip.BUDGET)
    assert worker.allowance.spent(now_s)
    assert not worker.allowance.spent(now_s + DAY_S)
    worker.begin(now_s + DAY_S)
    assert worker.begin(supplied(worker, now_s + DAY_S)) is None


def test_nothing_begins_shortly_before_a_lease_ends_unless_it_is_renewed() -> None:
    worker = Worker(Store(), 100, 4)
    worker.begin(NOW_S)
    now_s = supplied(worker, NOW_S)
    assert worker.begin(now_s) is None
    places = worker.allowance._places
    late_s = places.until_s - RENEWED_S / 2
    places.free = 1
    assert worker.begin(late_s) is Skip.UNCONFIRMED
    assert places.free == 1
    places.free = 0
    assert worker.allowance.lapsed(late_s) == 1
    worker.round(places.until_s - 2.0)
    assert worker.allowance.lapsed(late_s) == 0
    places.next_granted = 9
    places.free = 1
    places.granted = 2
    assert worker.begin(late_s) is None


def test_a_call_under_way_goes_on_over_the_ends_of_windows_while_the_store_answers() -> None:
    worker = Worker(Store(), 100, 1)
    worker.begin(NOW_S)
    now_s = supplied(worker, NOW_S)
    assert worker.begin(now_s) is None
    for _ in range(40 * int(RENEWAL_S)):
        worker.round(now_s)
        worker.sweep(now_s)
        now_s += 0.1
    assert len(worker.calls) == 1


def test_when_its_lease_is_over_it_is_cut() -> None:
    worker = Worker(Store(), 100, 1)
    worker.begin(NOW_S)
    now_s = supplied(worker, NOW_S)
    assert worker.begin(now_s) is None
    assert worker.allowance.lapsed(now_s + 2 * RENEWAL_S) == 1


def test_who_lost_the_store_has_cut_before_another_whose_clock_is_ahead_gets_the_place() -> None:
    store = Store()
    cut_off, other = Worker(store, 100, 1), Worker(store, 100, 1)
    cut_off.begin(NOW_S)
    now_s = supplied(cut_off, NOW_S)
    assert cut_off.begin(now_s) is None
    end_s = cut_off.allowance._places.until_s
    for tick in range(int((end_s - now_s) / 0.05) + 40):
        at_s = now_s + tick * 0.05
        cut_off.round(at_s, "down")
        if tick % 2 == 0:
            cut_off.sweep(at_s)
        other.begin(at_s + 0.3)
        other.round(at_s + 0.3)
        assert len(cut_off.calls) + len(other.calls) <= 1
    assert (len(cut_off.calls), len(other.calls)) == (0, 1)


def test_limits_that_are_others_now_give_back_what_was_held() -> None:
    store = Store()
    worker = Worker(store, 100, 4)
    worker.begin(NOW_S)
    now_s = supplied(worker, NOW_S)
    held = store.used["shadow:draft:budget", DAY]
    assert held > 0
    worker.replace(1, 1)
    supplied(worker, now_s + 1.0)
    assert store.used["shadow:draft:budget", DAY] == 0


class Fleet:
    """Three workers before one store, clocks up to 0.2 s apart, and a random history of what befalls them."""

    def __init__(self, budget: int, concurrent: int, seed: int) -> None:
        self.draw = random.Random(seed)
        self.budget, self.concurrent = budget, concurrent
        store = Store()
        self.workers = [Worker(store, budget, concurrent) for _ in range(3)]
        self.outcomes = ["answered"] * 3
        self.offsets = [self.draw.uniform(-0.1, 0.1) for _ in range(3)]
        self.now_s = NOW_S + DAY_S - self.draw.uniform(0.0, 60.0)
        self.begun: dict[int, int] = {}

    def step(self) -> None:
        which = self.draw.randrange(3)
        worker, now_s = self.workers[which], self.now_s + self.offsets[which]
        (what,) = self.draw.choices(["begin", "end", "round", "turn", "wait"], [8, 1, 6, 0.5, 6])
        if what == "begin" and worker.begin(now_s) is None:
            day = int(now_s // DAY_S)
            self.begun[day] = self.begun.get(day, 0) + 1
        elif what == "end":
            worker.end(now_s)
        elif what == "round":
            worker.round(now_s, self.outcomes[which])
        elif what == "turn":
            self.outcomes[which] = self.draw.choice(["answered", "answered", "down", "lost"])
        elif what == "wait":
            self.now_s += self.draw.uniform(0.01, 0.25)
            for each, offset_s in zip(self.workers, self.offsets, strict=True):
                each.sweep(self.now_s + offset_s)

    def check(self) -> None:
        assert sum(len(each.calls) for each in self.workers) <= self.concurrent
        assert all(count <= self.budget for count in self.begun.values())


SEEDS = st.integers(0, 2**32)


@fewer(50)
@given(budget=st.integers(1, 60), concurrent=st.integers(1, 6), seed=SEEDS)
def test_no_history_exceeds_the_budget_of_a_day_or_the_calls_under_way(budget, concurrent, seed):
    fleet = Fleet(budget, concurrent, seed)
    for _ in range(800):
        fleet.step()
        fleet.check()


def test_histories_get_somewhere() -> None:
    fleets = [Fleet(1_000, 4, seed) for seed in range(20)]
    for fleet in fleets:
        for _ in range(800):
            fleet.step()
    assert sum(sum(fleet.begun.values()) for fleet in fleets) > 200
    assert any(len(fleet.begun) > 1 for fleet in fleets)


@fewer(50)
@given(limits=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 5)), min_size=1, max_size=4), seed=SEEDS)
def test_limits_lowered_in_between_hold_for_what_begins_afterwards(limits, seed):
    draw, worker, now_s = random.Random(seed), Worker(Store(), 20, 5), NOW_S
    budget, concurrent, begun = 20, 5, 0
    for number in range(400):
        if number % 100 == 50:
            budget, concurrent = limits[number // 100 % len(limits)]
            worker.replace(budget, concurrent)
        if worker.begin(now_s) is None:
            begun += 1
            assert begun <= budget
            assert len(worker.calls) <= concurrent
        if draw.random() < 0.2:
            worker.end(now_s)
        worker.round(now_s, draw.choice(["answered", "answered", "lost", "down"]))
        now_s += draw.uniform(0.01, 0.4)
        worker.sweep(now_s)
