"""What every store must do with leased quotas. One suite, run against SQLite and a real Redis."""

import asyncio
import itertools
import random
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollout.adapters import open_store
from rollout.core.quota import grant
from rollout.ports import QuotaAsk, QuotaGrant, Store

LATER_S = time.time() + 3_600
NUMBERS = itertools.count()


def ask(amount: int, limit: int = 10, *, name: str = "tenant:acme:requests", window: int = 7) -> QuotaAsk:
    return QuotaAsk(name, window, amount, limit, LATER_S)


async def lease_one(store: Store, wanted: QuotaAsk) -> tuple[int, int]:
    (granted,) = await store.lease_quota([wanted])
    return granted


@pytest.fixture
def windows(store_url: str, request: pytest.FixtureRequest) -> Callable[[], int]:
    """How many windows the store holds."""

    def in_sqlite() -> int:
        with closing(sqlite3.connect(Path(store_url.removeprefix("sqlite:///")))) as db:
            return int(db.execute("SELECT count(*) FROM quotas").fetchone()[0])

    def in_redis() -> int:
        return int(request.getfixturevalue("shared_redis").command("DBSIZE")[1:])

    return in_sqlite if store_url.startswith("sqlite") else in_redis


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows go at their end at once, not after the time that covers for late clocks."""
    for module in ("rollout.adapters.sqlite_keys", "rollout.adapters.redis"):
        monkeypatch.setattr(f"{module}.KEEP_MIN_S", 0.0)


async def test_a_window_gives_its_limit_and_takes_back(store: Store) -> None:
    assert await lease_one(store, ask(6)) == (6, 6)
    assert await lease_one(store, ask(6)) == (4, 10)
    assert await lease_one(store, ask(6)) == (0, 10)
    assert await lease_one(store, ask(0)) == (0, 10)
    assert await lease_one(store, ask(-3)) == (-3, 7)
    assert await lease_one(store, ask(6)) == (3, 10)
    assert await lease_one(store, ask(-99)) == (-10, 0)
    assert await lease_one(store, ask(-1)) == (0, 0)
    assert await store.version() == 0


async def test_a_lowered_limit_gives_no_more_and_takes_nothing_away(store: Store) -> None:
    assert await lease_one(store, ask(9)) == (9, 9)
    assert await lease_one(store, ask(1, limit=4)) == (0, 9)
    assert await lease_one(store, ask(1, limit=20)) == (1, 10)
    assert await lease_one(store, ask(5, limit=0)) == (0, 10)


async def test_windows_and_names_are_independent(store: Store) -> None:
    asks = [ask(10), ask(10, window=8), ask(10, name="tenant:acme:tokens"), ask(10, name="tenant:acme:requests:8")]
    assert await store.lease_quota(asks) == [(10, 10)] * 4
    assert await store.lease_quota([]) == []


async def test_asks_of_one_window_in_one_call_follow_each_other(store: Store) -> None:
    assert await store.lease_quota([ask(4), ask(-1), ask(9), ask(1)]) == [(4, 4), (-1, 3), (7, 10), (0, 10)]


async def test_amounts_of_fifteen_digits_are_exact(store: Store) -> None:
    budget = 10**15
    assert await lease_one(store, ask(budget - 7, limit=budget)) == (budget - 7, budget - 7)
    assert await lease_one(store, ask(-1, limit=budget)) == (-1, budget - 8)
    assert await lease_one(store, ask(100, limit=budget)) == (8, budget)


@pytest.mark.usefixtures("forgetful")
async def test_old_windows_vanish(store: Store, windows: Callable[[], int], until: Callable) -> None:
    before = windows() if await store.lease_quota([ask(1)]) else 0
    for window in range(50):
        asked = QuotaAsk("tenant:acme:requests", 100 + window, 1, 10, time.time() + 0.05)
        assert await store.lease_quota([asked]) == [QuotaGrant(1, 1)]
    deadline_s = time.monotonic() + 60
    while windows() > before:
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)
        await store.lease_quota([ask(0)])
    assert await lease_one(store, ask(0)) == (0, 1)
    assert await store.lease_quota([QuotaAsk("tenant:acme:requests", 100, 10, 10, LATER_S)]) == [(10, 10)]


async def test_a_caller_whose_clock_is_late_is_limited_all_the_same(store: Store) -> None:
    late = QuotaAsk("tenant:acme:requests", 1, 6, 10, time.time() - 30)
    assert [await lease_one(store, late) for _ in range(3)] == [(6, 6), (4, 10), (0, 10)]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 2), st.integers(-20, 20), st.integers(0, 30))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
async def test_every_store_grants_by_the_one_rule(store: Store, wanted: list[tuple[str, int, int, int]]) -> None:
    prefix = f"p{next(NUMBERS)}:"
    asks = [QuotaAsk(prefix + name, window, amount, limit, LATER_S) for name, window, amount, limit in wanted]
    used: defaultdict[tuple[str, int], int] = defaultdict(int)
    expected = []
    for each in asks:
        expected.append(grant(used[each.name, each.window], each))
        used[each.name, each.window] = expected[-1].used
    half = len(asks) // 2
    assert await store.lease_quota(asks[:half]) + await store.lease_quota(asks[half:]) == expected


async def _lease_at_random(store: Store, seed: int, turns: int, limit: int) -> dict[int, int]:
    """Lease and give back in three windows; what is held at the end, by window."""
    chance, held = random.Random(seed), dict.fromkeys(range(3), 0)
    for _ in range(turns):
        amounts = [chance.randint(-held[window], 5) for window in held]
        asks = [ask(amount, limit, window=window) for window, amount in zip(held, amounts, strict=True)]
        for window, granted in enumerate(await store.lease_quota(asks)):
            if amounts[window] < 0:
                assert granted.granted == amounts[window]  # what one holds can always be given back
            assert 0 <= granted.used <= limit
            held[window] += granted.granted
    return held


@pytest.mark.parametrize("seed", range(3))
async def test_concurrent_leasers_never_get_more_than_the_limit_and_lose_nothing(store_url: str, seed: int) -> None:
    stores, limit = [open_store(store_url) for _ in range(4)], 25
    leasers = [_lease_at_random(each, seed * 100 + number, 15, limit) for number, each in enumerate(stores * 3)]
    held = await asyncio.gather(*leasers)
    for window in range(3):
        total = sum(each[window] for each in held)
        assert 0 <= total <= limit
        assert await lease_one(stores[0], ask(0, limit, window=window)) == (0, total)
        assert await lease_one(stores[1], ask(limit, limit, window=window)) == (limit - total, limit)
    for each in stores:
        await each.close()


_LEASER = """
import asyncio, sys
from rollout.adapters import open_store
from rollout.ports import QuotaAsk

async def main(url, end_s):
    store, got = open_store(url), 0
    for _ in range(60):
        (first, second) = await store.lease_quota([QuotaAsk("q", 1, 7, 1000, end_s), QuotaAsk("q", 1, -2, 1000, end_s)])
        got += first.granted + second.granted
    await store.close()
    print(got)

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


@pytest.mark.system
async def test_processes_share_one_limit(store: Store, store_url: str) -> None:
    async def leaser() -> int:
        arguments = ("-c", _LEASER, store_url, str(LATER_S))
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        return int(output)

    got = sum(await asyncio.gather(*(leaser() for _ in range(4))))
    assert await lease_one(store, QuotaAsk("q", 1, 0, 1000, LATER_S)) == (0, got)
    assert got <= 1000
