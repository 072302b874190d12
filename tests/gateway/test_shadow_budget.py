from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.admission.meter import DAY_S, MONEY, Meter
from gateway.shadow_budget import is_spent
from rollout.adapters.sqlite import SqliteStore
from rollout.core.errors import StoreUnavailable
from rollout.core.quota import QuotaAsk

if TYPE_CHECKING:
    from pathlib import Path

NOW_S = 20_000 * DAY_S + 5.0


@pytest.fixture
async def store(tmp_path: Path, stack) -> SqliteStore:
    made = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(made.close)
    return made


async def take(store: SqliteStore, amount: int) -> None:
    """As a worker does."""
    meter = Meter("shadow", "draft", MONEY, 10)
    meter.roll(NOW_S)
    await store.lease_quota([QuotaAsk(meter.name, meter.window, amount, meter.limit, meter.until_s)])


async def test_a_budget_is_spent_once_all_of_it_is_given_out(store: SqliteStore) -> None:
    for amount, spent in ((9, False), (1, True)):
        await take(store, amount)
        for _ in range(2):
            assert await is_spent(store, "draft", 10, NOW_S) is spent
    assert not await is_spent(store, "draft", 11, NOW_S)
    assert not await is_spent(store, "ask", 10, NOW_S)
    assert not await is_spent(store, "draft", 10, NOW_S + DAY_S)


async def test_a_store_that_is_away_tells_nothing(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: object) -> list[object]:
        raise StoreUnavailable("the store is away", "wait")

    monkeypatch.setattr(store, "lease_quota", away)
    assert not await is_spent(store, "draft", 10, NOW_S)
