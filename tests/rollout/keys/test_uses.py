import asyncio
from contextlib import suppress
from typing import Any

import pytest

from rollout.core.errors import StoreUnavailable
from rollout.core.keys import KeyRecord
from rollout.keys.uses import KeyUses
from rollout.ports import Store


class Noted(dict[str, float]):
    """Uses as a process notes them."""

    def take(self) -> dict[str, float]:
        taken = dict(self)
        self.clear()
        return taken


async def used_at_s(store: Store) -> float | None:
    (record,) = await store.list_keys()
    return record.last_used_at_s


async def test_uses_reach_the_store_without_a_new_version(store: Store, first: KeyRecord) -> None:
    await store.create_key_if_empty(first)
    noted = Noted({first.id: 7.0, "gone": 8.0})
    uses = KeyUses(store, noted.take)
    await uses.flush()
    assert (await used_at_s(store), noted) == (7.0, {})
    await uses.flush()
    assert await store.version() == 1


async def test_what_cannot_be_written_is_kept_unless_something_newer_comes(
    store: Store, outage: Any, first: KeyRecord
) -> None:
    await store.create_key_if_empty(first)
    noted = Noted({first.id: 7.0})
    uses = KeyUses(store, noted.take)
    outage.begin()
    with pytest.raises(StoreUnavailable):
        await uses.flush()
    outage.end()
    await uses.flush()
    assert await used_at_s(store) == 7.0
    noted[first.id] = 9.0
    await uses.flush()
    assert await used_at_s(store) == 9.0


async def test_running_it_outlives_an_outage(store: Store, outage: Any, first: KeyRecord, until: Any) -> None:
    await store.create_key_if_empty(first)
    outage.begin()
    noted = Noted({first.id: 7.0})
    task = asyncio.create_task(KeyUses(store, noted.take).run(every_s=0.005))
    await until(lambda: not noted)
    outage.end()
    async with asyncio.timeout(60):
        while await used_at_s(store) != 7.0:  # noqa: ASYNC110  another connection writes it
            await asyncio.sleep(0.005)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
