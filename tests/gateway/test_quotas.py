"""The background leasing, against stores that answer, fail, hang and lie.

`Windows` grants by the rule that the contract suite holds every store to.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from gateway import quotas
from gateway.core.admission.gate import Holder, Permit
from gateway.core.admission.limits import Limits
from gateway.quotas import Quotas
from rollout.core.errors import StoreUnavailable
from rollout.core.quota import QuotaAsk, QuotaGrant, grant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Until = Callable[[Callable[[], object]], Awaitable[None]]

MINUTE_S = 1_000_000_020.0
"""When a minute began, so that none ends within a test."""
RATE, BUDGET = Limits(requests_per_minute=320), Limits(budget_microusd_per_day=32_000)


class Windows:
    """A store of quotas in memory, and ways to break it."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, int], int] = {}
        self.fault: Exception | None = None
        self.silent = False
        self.short = False
        self.calls = 0

    async def lease_quota(self, asks: Sequence[QuotaAsk]) -> list[QuotaGrant]:
        self.calls += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault
        return [self._lease(ask) for ask in asks][self.short :]

    def _lease(self, ask: QuotaAsk) -> QuotaGrant:
        answer = grant(self.used.get((ask.name, ask.window), 0), ask)
        self.used[ask.name, ask.window] = answer.used
        return answer


def leased(store: Windows, *keys: Limits, workers: int = 4) -> Quotas:
    began_s = time.monotonic()
    made = Quotas(store, workers=workers, clock=lambda: MINUTE_S + time.monotonic() - began_s)
    holders = [Holder(f"k{number}", "t", limits) for number, limits in enumerate(keys)]
    made.admission.replace(holders, lambda _: Limits())
    return made


def admits(made: Quotas, key: str = "k0", microusd: int = 0, *, now_s: float | None = None) -> bool:
    at_s = made._clock() if now_s is None else now_s
    return isinstance(made.admission.admit(made.admission.subjects[key], 0, microusd, at_s), Permit)


async def test_budgets_are_there_before_the_first_request() -> None:
    made = leased(Windows(), *[BUDGET] * 600)
    await made.prime()
    assert made.rounds == 5
    assert all(admits(made, f"k{number}", 500) for number in range(600))


async def test_priming_ends_when_there_is_nothing_to_lease_or_nobody_to_ask() -> None:
    idle = leased(Windows())
    await idle.prime()
    assert idle.rounds == 0
    store = Windows()
    store.fault = StoreUnavailable("down")
    down = leased(store, *[BUDGET] * 600)
    await down.prime()
    assert (store.calls, down.is_down) == (1, True)


async def test_priming_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "PRIME_ROUNDS_MAX", 1)
    made = leased(Windows(), *[BUDGET] * 600)
    await made.prime()
    assert made.rounds == 1


async def test_a_request_calls_for_its_block(until: Until) -> None:
    store = Windows()
    made = leased(store, RATE)
    task = asyncio.create_task(made.run())
    assert admits(made)
    (meter,) = made.admission.subjects["k0"].meters
    await until(lambda: meter.free > 0)
    assert store.used[meter.name, meter.window] == meter.granted > 1
    await stop(task)


async def test_without_traffic_the_store_is_left_alone() -> None:
    store = Windows()
    made = leased(store, RATE)
    await made.round()
    assert store.calls == 0


@pytest.mark.parametrize("fault", [StoreUnavailable("down", "hint"), ValueError("bug"), OSError()])
async def test_a_store_that_fails_is_noted_once_and_taken_back(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    store = Windows()
    made = leased(store, RATE)
    store.fault = fault
    for _ in range(3):
        admits(made)
        await made.round()
    assert (made.is_down, made.failures) == (True, 3)
    assert sum("can't be leased" in line for line in caplog.messages) == 1
    store.fault = None
    admits(made)
    await made.round()
    assert not made.is_down
    assert caplog.messages[-1] == "quotas are leased again"


async def test_while_the_store_is_down_rates_have_a_share_and_budgets_their_block() -> None:
    store = Windows()
    made = leased(store, RATE, BUDGET)
    await made.prime()
    store.fault = StoreUnavailable("down")
    admits(made)
    await made.round()
    now_s = made._clock() + 3_600
    assert sum(admits(made, now_s=now_s) for _ in range(200)) == 320 // 4
    assert sum(admits(made, "k1", 100) for _ in range(200)) == 32_000 // 32 // 100
    store.fault = None
    await made.round()
    assert admits(made, "k1", 100)


async def test_a_silent_store_holds_up_nobody_and_is_taken_back(monkeypatch: pytest.MonkeyPatch, until: Until) -> None:
    for name in ("ANSWER_MAX_S", "RETRY_S"):
        monkeypatch.setattr(quotas, name, 0.02)
    store = Windows()
    store.silent = True
    made = leased(store, RATE)
    task = asyncio.create_task(made.run())
    assert admits(made)
    await until(lambda: made.is_down)
    assert admits(made)
    store.silent = False
    await until(lambda: not made.is_down)
    await stop(task)


async def test_an_answer_that_does_not_fit_is_no_answer() -> None:
    store = Windows()
    store.short = True
    made = leased(store, RATE)
    admits(made)
    await made.round()
    assert (made.is_down, made.rounds, made.failures) == (True, 0, 1)


async def test_more_than_one_round_can_hold_is_called_for_again() -> None:
    made = leased(Windows(), *[BUDGET] * 200)
    await made.round()
    assert made._called.is_set()
    await made.round()
    assert not made._called.is_set()


async def test_at_the_end_all_is_given_back() -> None:
    store = Windows()
    made = leased(store, RATE, BUDGET)
    await made.prime()
    admits(made)
    await made.round()
    await made.close()
    used = {name.rsplit(":", 1)[-1]: amount for (name, _), amount in store.used.items()}
    assert used == {"requests": 1, "budget": 0}
    await made.close()


async def test_the_end_comes_whatever_the_store_does() -> None:
    store = Windows()
    made = leased(store, BUDGET)
    await made.prime()
    store.fault = RuntimeError("closed")
    await made.close()
    assert made.failures == 1


async def test_the_age_of_the_last_answer() -> None:
    times = iter([100.0, 100.0, 103.0, 110.0, 90.0])
    made = Quotas(Windows(), clock=lambda: next(times))
    made.admission.replace([Holder("k", "t", BUDGET)], lambda _: Limits())
    await made.round()
    assert made.age_s() == 7.0
    assert made.age_s() == 0.0


async def test_several_workers_never_overspend_together() -> None:
    store = Windows()
    fleet = [leased(store, Limits(budget_microusd_per_day=10_000)) for _ in range(4)]
    tasks = [asyncio.create_task(each.run()) for each in fleet]
    spent = 0
    for turn in range(400):
        spent += 100 * sum(admits(each, "k0", 100) for each in fleet)
        await asyncio.sleep(0.002 if turn % 10 == 0 else 0)
    for task in tasks:
        await stop(task)
    assert 0 < spent <= 10_000


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    assert await asyncio.wait([task], timeout=60) == ({task}, set())
    assert task.cancelled()
