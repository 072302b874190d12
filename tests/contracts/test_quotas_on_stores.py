"""Workers that share limits through a real store keep what tests/gateway/core/admission/test_fleet.py promises."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

from gateway.core.admission.gate import Holder, Permit
from gateway.core.admission.limits import Limits
from gateway.quotas import Quotas
from rollout.adapters import open_store
from rollout.ports import Store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.contracts.conftest import RedisServer

pytestmark = pytest.mark.skipif(not hasattr(Store, "lease_quota"), reason="these stores lease nothing")

COST = 40_000
BUDGET = 12 * COST + 20_000


def leased(store: Store, limits: Limits) -> Quotas:
    made = Quotas(store)  # type: ignore[arg-type, unused-ignore]
    made.admission.replace([Holder("k", "t", limits)], lambda _: Limits())
    return made


def spend(made: Quotas) -> int:
    admission = made.admission
    answers = [admission.admit(admission.subjects["k"], 0, COST, made._clock()) for _ in range(50)]
    return sum(isinstance(answer, Permit) for answer in answers)


async def test_200_parallel_calls_on_a_nearly_spent_budget_overshoot_by_nothing(store: Store) -> None:
    fleet = [leased(store, Limits(budget_microusd_per_day=BUDGET)) for _ in range(4)]
    await asyncio.gather(*(each.prime() for each in fleet))
    spent = 0
    for _ in range(30):
        spent += sum(spend(each) for each in fleet)
        await asyncio.gather(*(each.round() for each in fleet))
        await asyncio.sleep(0.05)
    assert 9 <= spent <= 12


async def test_a_block_comes_within_a_round_trip_and_goes_back_at_the_end(
    store: Store, until: Callable[[Callable[[], object]], Awaitable[None]]
) -> None:
    made, other = leased(store, Limits(requests_per_minute=100)), leased(store, Limits(requests_per_minute=100))
    running = asyncio.create_task(made.run())
    (meter,) = made.admission.subjects["k"].meters
    assert isinstance(made.admission.admit(made.admission.subjects["k"], 0, 0, made._clock()), Permit)
    await until(lambda: meter.granted)
    running.cancel()
    await asyncio.wait([running], timeout=60)
    await made.close()
    (seen,) = other.admission.subjects["k"].meters
    assert isinstance(other.admission.admit(other.admission.subjects["k"], 0, 0, made._clock()), Permit)
    await other.round()
    assert seen.used - seen.granted in (0, meter.taken)


@pytest.mark.system
async def test_a_black_holed_redis_holds_up_no_request_and_is_taken_back(
    redis_server: RedisServer, until: Callable[[Callable[[], object]], Awaitable[None]]
) -> None:
    store = open_store(redis_server.url)
    made = leased(store, Limits(requests_per_minute=1_000))
    running = asyncio.create_task(made.run())
    admission = made.admission

    def admits() -> bool:
        return isinstance(admission.admit(admission.subjects["k"], 0, 0, made._clock()), Permit)

    assert admits()
    await until(lambda: made.rounds)
    redis_server.pause()
    await until(lambda: admits() and made.is_down)
    assert all(admits() for _ in range(100))
    redis_server.resume()
    await until(lambda: not made.is_down)
    running.cancel()
    await asyncio.wait([running], timeout=60)
    await store.close()


_WORKER = """
import asyncio, json, sys
from gateway.core.admission.gate import Holder, Permit
from gateway.core.admission.limits import Limits
from gateway.quotas import Quotas
from rollout.adapters import open_store

async def main(url, budget, cost):
    store = open_store(url)
    made = Quotas(store)
    made.admission.replace([Holder("k", "t", Limits(budget_microusd_per_day=budget))], lambda _: Limits())
    await made.prime()
    running = asyncio.create_task(made.run())
    spent = 0
    for _ in range(50):
        subject = made.admission.subjects["k"]
        spent += isinstance(made.admission.admit(subject, 0, cost, made._clock()), Permit)
        await asyncio.sleep(0.03)
    running.cancel()
    await asyncio.wait([running])
    await store.close()
    print(json.dumps(spent))

asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


@pytest.mark.system
async def test_four_processes_do_not_overspend(store: Store, store_url: str) -> None:
    await store.version()
    arguments = ("-c", _WORKER, store_url, str(BUDGET), str(COST))
    workers = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        for _ in range(4)
    ]
    outputs = await asyncio.gather(*(asyncio.wait_for(worker.communicate(), 60) for worker in workers))
    assert [worker.returncode for worker in workers] == [0] * 4
    assert 9 <= sum(json.loads(output) for output, _ in outputs) <= 12
