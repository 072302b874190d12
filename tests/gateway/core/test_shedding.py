from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Raw

from gateway.core.shedding import Decision, Offer, Priority, Shedding, overloaded, priority_of

INTERACTIVE, BATCH = Priority.INTERACTIVE, Priority.BATCH
START, QUEUED, REFUSED = Decision.START, Decision.QUEUED, Decision.REFUSED


def full(*, queue_max: int = 3, wait_s: float = 2.0) -> Shedding[str]:
    """One place, taken."""
    shedding: Shedding[str] = Shedding(requests_max=1, queue_max=queue_max, queue_wait_s=wait_s)
    assert shedding.offer("first", BATCH, 0.0) == Offer(START)
    return shedding


def test_while_there_are_places_nobody_waits() -> None:
    shedding: Shedding[int] = Shedding(requests_max=2, queue_max=1, queue_wait_s=1)
    assert [shedding.offer(number, BATCH, 0.0).decision for number in range(4)] == [START, START, QUEUED, REFUSED]
    assert (shedding.under_way, shedding.full, shedding.waiting) == (2, True, {INTERACTIVE: 0, BATCH: 1})
    assert shedding.release(0.0) == 2
    assert shedding.release(0.0) is None
    assert (shedding.under_way, shedding.full) == (1, False)


def test_interactive_comes_before_batch_and_each_in_its_order() -> None:
    shedding = full(queue_max=4)
    for entry in ("b1", "i1", "b2", "i2"):
        assert shedding.offer(entry, BATCH if entry[0] == "b" else INTERACTIVE, 0.0).decision is QUEUED
    assert [shedding.release(0.5) for _ in range(4)] == ["i1", "i2", "b1", "b2"]


def test_aged_batch_counts_as_interactive() -> None:
    shedding = full(queue_max=4)
    shedding.offer("b", BATCH, 0.0)
    shedding.offer("i", INTERACTIVE, 0.1)
    shedding.offer("late", INTERACTIVE, 0.2)
    assert [shedding.release(0.9), shedding.release(1.0), shedding.release(1.0)] == ["i", "b", "late"]


def test_aged_batch_does_not_overtake() -> None:
    shedding = full(queue_max=4)
    shedding.offer("i", INTERACTIVE, 0.0)
    shedding.offer("b", BATCH, 0.1)
    assert [shedding.release(1.9), shedding.release(1.9)] == ["i", "b"]


def test_in_a_full_queue_interactive_takes_the_place_of_the_last_batch() -> None:
    shedding = full()
    for number in range(3):
        shedding.offer(f"b{number}", BATCH, 0.0)
    assert shedding.offer("more", BATCH, 0.1) == Offer(REFUSED)
    assert shedding.offer("i", INTERACTIVE, 0.1) == Offer(QUEUED, "b2")
    assert shedding.waiting == {INTERACTIVE: 1, BATCH: 2}


def test_aged_batch_keeps_its_place() -> None:
    shedding = full(queue_max=1)
    shedding.offer("b", BATCH, 0.0)
    assert shedding.offer("i", INTERACTIVE, 1.0) == Offer(REFUSED)


def test_a_queue_full_of_interactive_refuses() -> None:
    shedding = full(queue_max=1)
    shedding.offer("i", INTERACTIVE, 0.0)
    assert shedding.offer("j", INTERACTIVE, 0.0) == Offer(REFUSED)
    assert full(queue_max=0).offer("k", INTERACTIVE, 0.0) == Offer(REFUSED)


def test_nobody_waits_longer_than_allowed() -> None:
    shedding = full()
    shedding.offer("b", BATCH, 0.0)
    shedding.offer("i", INTERACTIVE, 0.5)
    shedding.offer("j", INTERACTIVE, 1.0)
    assert shedding.expire(1.9) == []
    assert shedding.expire(2.5) == ["i", "b"]
    assert (shedding.release(2.6), shedding.release(2.6)) == ("j", None)


def test_whoever_leaves_gets_no_turn() -> None:
    shedding = full()
    shedding.offer("i", INTERACTIVE, 0.0)
    shedding.offer("b", BATCH, 0.0)
    assert [shedding.leave(entry) for entry in ("i", "b", "b", "first")] == [True, True, False, False]
    assert shedding.release(0.0) is None


def test_what_makes_no_sense_raises_and_changes_nothing() -> None:
    shedding = full()
    shedding.offer("i", INTERACTIVE, 0.0)
    for priority in Priority:
        with pytest.raises(ValueError, match="waits already"):
            shedding.offer("i", priority, 0.0)
    shedding.offer("b", BATCH, 0.0)
    with pytest.raises(ValueError, match="waits already"):
        shedding.offer("b", INTERACTIVE, 0.0)
    assert (shedding.under_way, shedding.waiting) == (1, {INTERACTIVE: 1, BATCH: 1})
    empty: Shedding[str] = Shedding(requests_max=1, queue_max=1, queue_wait_s=1)
    with pytest.raises(ValueError, match="nothing is under way"):
        empty.release(0.0)
    assert empty.under_way == 0


@pytest.mark.parametrize(("wait_s", "retry_s"), [(0.1, 1), (2.0, 2), (2.5, 3)])
def test_coming_back_is_worth_it_when_the_queue_has_turned_over(wait_s: float, retry_s: int) -> None:
    assert full(wait_s=wait_s).retry_after_s == retry_s


def test_an_overloaded_gateway_says_when_to_come_back() -> None:
    error = overloaded(2)
    assert (error.status, error.code, error.retry_after_s) == (429, "overloaded", 2)


@pytest.mark.parametrize(
    ("allowed", "header", "tier", "priority"),
    [
        ((), None, None, INTERACTIVE),
        (("interactive", None), None, None, INTERACTIVE),
        (("interactive", "batch"), None, None, BATCH),
        (("batch", "interactive"), b"interactive", None, BATCH),
        ((None, "interactive"), b" Batch ", None, BATCH),
        (("interactive",), b"urgent", None, INTERACTIVE),
        ((), None, b'"flex"', BATCH),
        ((), None, b'"priority"', INTERACTIVE),
        (("batch",), b"interactive", b'"priority"', BATCH),
    ],
)
def test_a_caller_may_lower_its_class_only(
    allowed: tuple[str | None, ...], header: bytes | None, tier: bytes | None, priority: Priority
) -> None:
    assert priority_of(*allowed, header=header, service_tier=None if tier is None else Raw(tier)) is priority


PLACES, QUEUE, WAIT_S = 3, 4, 2.0


class Compared(RuleBasedStateMachine):
    """The real thing beside a list that is searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.real: Shedding[int] = Shedding(requests_max=PLACES, queue_max=QUEUE, queue_wait_s=WAIT_S)
        self.line: list[tuple[int, Priority, float]] = []
        self.under_way = 0
        self.now_s = 0.0
        self.number = 0

    def _class(self, waiting: tuple[int, Priority, float]) -> Priority:
        return INTERACTIVE if self.now_s - waiting[2] >= WAIT_S / 2 else waiting[1]

    @rule(seconds=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @rule(priority=st.sampled_from(list(Priority)))
    def offer(self, priority: Priority) -> None:
        self.number += 1
        entry = (self.number, priority, self.now_s)
        expected: Offer[int] = Offer(QUEUED)
        if self.under_way < PLACES:
            self.under_way += 1
            expected = Offer(START)
        elif len(self.line) < QUEUE:
            self.line.append(entry)
        else:
            batch = [each for each in self.line if self._class(each) is BATCH]
            if batch and priority is INTERACTIVE:
                self.line.remove(batch[-1])
                self.line.append(entry)
                expected = Offer(QUEUED, batch[-1][0])
            else:
                expected = Offer(REFUSED)
        assert self.real.offer(self.number, priority, self.now_s) == expected

    @precondition(lambda self: self.under_way > 0)
    @rule()
    def release(self) -> None:
        turn = min(self.line, key=lambda each: (self._class(each) is BATCH, self._order(each)), default=None)
        if turn is None:
            self.under_way -= 1
        else:
            self.line.remove(turn)
        assert self.real.release(self.now_s) == (None if turn is None else turn[0])

    def _order(self, waiting: tuple[int, Priority, float]) -> tuple[float, bool, int]:
        # Of two that came at the same time the one that was interactive from the start is first.
        return waiting[2], waiting[1] is BATCH, waiting[0]

    @rule()
    def expire(self) -> None:
        expected = [each for each in self.line if self.now_s - each[2] >= WAIT_S]
        self.line = [each for each in self.line if each not in expected]
        assert sorted(self.real.expire(self.now_s)) == sorted(each[0] for each in expected)

    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        entry = self.line[which % len(self.line)] if self.line else None
        if entry is not None:
            self.line.remove(entry)
        assert self.real.leave(entry[0] if entry else -1) is (entry is not None)

    @invariant()
    def same(self) -> None:
        waiting = [each[1] for each in self.line]
        assert self.real.under_way == self.under_way
        assert self.real.waiting == {each: waiting.count(each) for each in Priority}
        assert self.real.full is (self.under_way == PLACES)
        assert not self.line or self.real.full, "nobody waits while there is a place"


TestCompared = Compared.TestCase
TestCompared.settings = settings(stateful_step_count=60)
