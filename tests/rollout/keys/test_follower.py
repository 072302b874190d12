# ruff: noqa: ASYNC240  these tests may block their own loop

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.core.errors import InvalidDocument, StoreReset, StoreUnavailable
from rollout.core.keys import Because, KeyChange, KeyRecord, first_entry, revoke
from rollout.core.model import NOT_LOADED
from rollout.keys import last_good
from rollout.keys.follower import KeyFollower
from rollout.ports import Store
from rollout.seed import ensure_features


class Adopted(list[tuple[KeyRecord, ...]]):
    """All that was handed over."""

    def __call__(self, records: Sequence[KeyRecord]) -> None:
        self.append(tuple(records))


@pytest.fixture
def adopted() -> Adopted:
    return Adopted()


async def revoke_first(store: Store) -> KeyRecord:
    version, records = await store.load_keys()
    change = revoke(records, records[0].id, Because("ann", "leaked", 1_000.0), force=True)
    assert change is not None
    assert await store.change_keys(change, version)
    return change.written[0]


async def test_changes_are_handed_over_once(store: Store, clock: Any, first: KeyRecord, adopted: Adopted) -> None:
    follower = KeyFollower(store, clock, adopted)
    assert (follower.version, follower.records) == (NOT_LOADED, ())
    assert await follower.refresh()
    assert (follower.version, adopted) == (0, [])
    await store.create_key_if_empty(first)
    for _ in range(2):
        assert await follower.refresh()
    assert (follower.version, follower.records, adopted) == (1, (first,), [(first,)])
    revoked = await revoke_first(store)
    assert await follower.refresh()
    assert adopted[1:] == [(revoked,)]


async def test_uses_and_flags_are_no_change_of_keys(
    store: Store, clock: Any, first: KeyRecord, adopted: Adopted
) -> None:
    await store.create_key_if_empty(first)
    follower = KeyFollower(store, clock, adopted)
    await follower.refresh()
    await store.touch_keys({first.id: 900.0})
    await ensure_features(store, {"draft": ("a", "b")}, clock)
    assert await follower.refresh()
    assert (follower.version, adopted) == (2, [(first,)])


async def test_a_start_without_the_store_goes_on_with_the_file(
    store: Store, outage: Any, clock: Any, first: KeyRecord, adopted: Adopted, tmp_path: Path
) -> None:
    path = tmp_path / "data" / "last-good-keys.json"
    await store.create_key_if_empty(first)
    assert await KeyFollower(store, clock, Adopted(), last_good=path).refresh()
    outage.begin()
    follower = KeyFollower(store, clock, adopted, last_good=path)
    assert (follower.version, follower.records, adopted) == (1, (first,), [(first,)])
    assert not await follower.refresh()
    assert isinstance(follower.last_error, StoreUnavailable)
    outage.end()
    revoked = await revoke_first(store)
    assert await follower.refresh()
    assert (follower.last_error, adopted[1:]) == (None, [(revoked,)])
    assert last_good.read(path) == last_good.LastGoodKeys(2, 1_000.0, (revoked,), follower.position.generation)


async def test_a_store_that_counts_to_the_same_version_after_an_outage_is_read_anew(
    store: Store, store_path: Path, outage: Any, clock: Any, first: KeyRecord, adopted: Adopted
) -> None:
    await store.create_key_if_empty(first)
    follower = KeyFollower(store, clock, adopted)
    await follower.refresh()
    outage.begin()
    assert not await follower.refresh()
    outage.end()
    other = replace(first, id="key_other")
    with closing(sqlite3.connect(store_path)) as db:
        db.execute("UPDATE keys SET id = 'key_other', record = replace(record, ?, 'key_other')", (first.id,))
        db.commit()
    assert await follower.refresh()
    assert adopted[1:] == [(other,)]


async def test_keys_that_are_all_gone_stay_in_force(
    store: Store, store_path: Path, clock: Any, first: KeyRecord, adopted: Adopted
) -> None:
    await store.create_key_if_empty(first)
    follower = KeyFollower(store, clock, adopted)
    await follower.refresh()
    with closing(sqlite3.connect(store_path)) as db:
        db.execute("DELETE FROM keys")
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'version'")
        db.commit()
    assert not await follower.refresh()
    assert isinstance(follower.last_error, InvalidDocument)
    assert (follower.records, len(adopted)) == ((first,), 1)


async def test_the_keys_of_a_store_begun_anew_come_beside_those_known(
    store: Store, store_path: Path, clock: Any, first: KeyRecord, adopted: Adopted
) -> None:
    revoked = replace(first, id="key_revoked", created_at_s=600.0, revoked_at_s=3.0)
    await store.create_key_if_empty(first)
    assert await store.change_keys(KeyChange((revoked,), (), first_entry(revoked)), 1)
    follower = KeyFollower(store, clock, adopted)
    assert await follower.refresh()
    known = follower.position
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        store_path.with_name(name).unlink(missing_ok=True)
    store_path.touch()
    new = replace(first, id="key_new")
    await store.create_key_if_empty(new)
    assert await store.change_keys(KeyChange((replace(revoked, revoked_at_s=None),), (), first_entry(new)), 1)
    for _ in range(2):
        assert not await follower.refresh()
        assert isinstance(follower.last_error, StoreReset)
    assert (follower.records, len(adopted), follower.position) == ((first, revoked, new), 2, known)
    gone = replace(first, revoked_at_s=4.0)
    assert await store.change_keys(KeyChange((gone,), (), first_entry(gone)), 2)
    assert not await follower.refresh()
    assert follower.records == (gone, revoked, new)
    assert await store.accept_loss(known)
    assert await follower.refresh()
    assert follower.records == tuple(await store.list_keys())


async def test_a_damaged_file_and_one_that_cannot_be_written_stop_nothing(
    store: Store, clock: Any, first: KeyRecord, adopted: Adopted, tmp_path: Path
) -> None:
    path = tmp_path / "last-good-keys.json"
    path.write_text("garbage")
    follower = KeyFollower(store, clock, adopted, last_good=path)
    assert isinstance(follower.last_error, InvalidDocument)
    path.unlink()
    path.mkdir()
    await store.create_key_if_empty(first)
    assert await follower.refresh()
    assert (follower.last_error, adopted) == (None, [(first,)])


async def test_keys_that_could_not_be_taken_over_are_offered_again(store: Store, clock: Any, first: KeyRecord) -> None:
    await store.create_key_if_empty(first)
    offered: list[int] = []

    def adopt(records: Sequence[KeyRecord]) -> None:
        offered.append(len(records))
        if len(offered) == 1:
            raise RuntimeError("once")

    follower = KeyFollower(store, clock, adopt)
    assert not await follower.refresh()
    assert "following the keys failed" in str(follower.last_error)
    assert await follower.refresh()
    assert (offered, follower.version) == ([1, 1], 1)


async def test_running_it_follows(store: Store, clock: Any, first: KeyRecord, adopted: Adopted, until: Any) -> None:
    task = asyncio.create_task(KeyFollower(store, clock, adopted, poll_s=0.005).run())
    await store.create_key_if_empty(first)
    await until(lambda: adopted)
    revoked = await revoke_first(store)
    await until(lambda: adopted[-1] == (revoked,))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
