"""What every store must do with API keys. One suite, run against SQLite and a real Redis."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from rollout.adapters import open_store
from rollout.core.audit import record_change
from rollout.core.errors import InvalidDocument
from rollout.core.keys import Because, KeyChange, KeyRecord, KeyScope, create, digest, first_entry, revoke, rotate
from rollout.core.model import FeatureFlag
from rollout.ports import Store

KEY = KeyRecord(id="k1", digest="ab" * 32, name="first", tenant="t", roles=("admin",), created_at_s=1.0)
FLAG = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner")
OLD = (
    '{"id":"old","digest":"%s","name":"dev","tenant":"default","features":["*"],"roles":["viewer","admin"],'
    '"model_bypass":true,"created_at_s":0.5,"expires_at_s":null,"revoked_at_s":null}'
) % ("cd" * 32)
UNKNOWN = OLD.replace('"features"', '"colour":"red","features"')


def written(record: KeyRecord, *dropped: str) -> KeyChange:
    return KeyChange((record,), dropped, first_entry(record))


async def put(store: Store, record: KeyRecord, *dropped: str) -> None:
    assert await store.change_keys(written(record, *dropped), await store.version())


@pytest.fixture
def put_raw(store_url: str, request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Write a record as another program would, past the store."""

    def into_sqlite(record: str) -> None:
        with closing(sqlite3.connect(Path(store_url.removeprefix("sqlite:///")))) as db:
            db.execute("INSERT INTO keys VALUES (?, ?)", (json.loads(record)["id"], record))
            db.commit()

    def into_redis(record: str) -> None:
        quoted = record.replace('"', '\\"')
        request.getfixturevalue("shared_redis").command(
            f'HSET {{glidepath}}:keys {json.loads(record)["id"]} "{quoted}"'
        )

    return into_sqlite if store_url.startswith("sqlite") else into_redis


async def test_keys_are_kept_oldest_first_and_replaced_by_id(store: Store) -> None:
    later = replace(KEY, id="a0", created_at_s=2.0, features=("draft",), model_bypass=True, expires_at_s=9.5)
    await put(store, later)
    await put(store, KEY)
    assert await store.list_keys() == [KEY, later]
    revoked = replace(KEY, revoked_at_s=3.0)
    await put(store, revoked)
    assert await store.load_keys() == (3, [revoked, later])


async def test_all_fields_are_read_back_as_written(store: Store, store_url: str) -> None:
    scope = KeyScope(
        features=("draft", "rewrite"),
        roles=("viewer", "approver"),
        model_bypass=True,
        priority="batch",
        requests_per_minute=60,
        tokens_per_minute=10**15,
        concurrent_max=1,
        budget_microusd_per_day=10**15,
    )
    change = create([], ("acme", "web"), scope, digest("k"), Because("ann", "ä | 'x'", 2.5), expires_in_s=100.0)
    assert await store.change_keys(change, 0)
    other = open_store(store_url)
    assert await other.load_keys() == (1, list(change.written))
    assert await other.key_history() == [replace(change.entry, id=1)]
    await other.close()


async def test_a_change_made_for_another_version_is_refused_whole(store: Store) -> None:
    await put(store, KEY)
    for expected in (0, 2):
        assert not await store.change_keys(written(replace(KEY, id="k2"), "k1"), expected)
    assert await store.load_keys() == (1, [KEY])
    assert len(await store.key_history()) == 1
    entry = record_change(None, FLAG, actor="ann", command="create", reason="r", at_s=1.0)
    await store.put_if_revision(FLAG, 0, entry)
    assert not await store.change_keys(written(replace(KEY, id="k2")), 1)


async def test_of_50_concurrent_changes_of_one_version_exactly_one_is_made(store: Store) -> None:
    made = await asyncio.gather(*(store.change_keys(written(replace(KEY, id=f"k{n}")), 0) for n in range(50)))
    assert sorted(made) == [False] * 49 + [True]
    assert await store.load_keys() == (1, [replace(KEY, id=f"k{made.index(True)}")])


async def test_a_key_change_is_noticed_by_the_version_alone(store: Store) -> None:
    entry = record_change(None, FLAG, actor="ann", command="create", reason="r", at_s=1.0)
    await store.put_if_revision(FLAG, 0, entry)
    await put(store, KEY)
    assert await store.load() == (2, {"summarize": replace(FLAG, revision=1)})


async def test_dropped_records_are_gone_with_their_uses(store: Store) -> None:
    await put(store, KEY)
    await store.touch_keys({"k1": 5.0})
    await put(store, replace(KEY, id="k2"), "k1", "never-there")
    assert [record.id for record in await store.list_keys()] == ["k2"]
    await put(store, KEY)
    assert [record.last_used_at_s for record in await store.list_keys()] == [None, None]


async def test_the_first_key_is_made_once_and_told_of(store: Store) -> None:
    made = await asyncio.gather(*(store.create_key_if_empty(replace(KEY, id=f"k{number}")) for number in range(20)))
    assert sorted(made) == [False] * 19 + [True]
    (record,) = await store.list_keys()
    assert record.id == f"k{made.index(True)}"
    (entry,) = await store.key_history()
    assert (entry.key_id, entry.actor, entry.command, entry.client) == (record.id, "gateway", "create", "t/first")
    version = await store.version()
    assert not await store.create_key_if_empty(KEY)
    assert await store.version() == version


async def test_history_is_newest_first_pages_and_never_holds_a_digest(store: Store) -> None:
    because = Because("ann", "r", 10.0)
    records: list[KeyRecord] = []
    for number in range(5):
        change = create(records, ("t", f"n{number}"), KeyScope(roles=("admin",)), digest(str(number)), because)
        assert await store.change_keys(change, await store.version())
        records = await store.list_keys()
    for change in (rotate(records, records[0].id, digest("new"), because), revoke(records, records[1].id, because)):
        assert change is not None
        assert await store.change_keys(change, await store.version())
    first = await store.key_history(limit=3)
    rest = await store.key_history(limit=9, before_id=first[-1].id)
    assert [entry.command for entry in first + rest] == ["revoke", "rotate", *["create"] * 5]
    assert [entry.id for entry in first + rest] == [7, 6, 5, 4, 3, 2, 1]
    assert "digest" not in str(first + rest)
    assert (await store.key_history(limit=3, before_id=1)) == []


async def test_uses_are_noted_without_a_new_version_and_never_go_back(store: Store) -> None:
    await put(store, KEY)
    await put(store, replace(KEY, id="k2", created_at_s=2.0))
    await store.touch_keys({})
    await store.touch_keys({"k1": 1_700_000_000.123, "unknown": 5.0})
    assert [record.last_used_at_s for record in await store.list_keys()] == [1_700_000_000.123, None]
    await store.touch_keys({"k1": 1.0, "k2": 7.25})
    assert await store.version() == 2
    assert [record.last_used_at_s for record in await store.list_keys()] == [1_700_000_000.123, 7.25]


async def test_a_change_neither_writes_nor_loses_uses(store: Store) -> None:
    await put(store, KEY)
    await store.touch_keys({"k1": 9.0})
    await put(store, replace(KEY, revoked_at_s=3.0, last_used_at_s=2.0))
    (record,) = await store.list_keys()
    assert (record.revoked_at_s, record.last_used_at_s) == (3.0, 9.0)


async def test_a_record_from_before_the_limits_is_read(store: Store, put_raw: Callable[[str], None]) -> None:
    await store.version()
    put_raw(OLD)
    (record,) = await store.list_keys()
    assert (record.id, record.name, record.roles, record.model_bypass) == ("old", "dev", ("viewer", "admin"), True)
    assert (record.priority, record.requests_per_minute, record.expires_at_s) == ("interactive", None, None)


@pytest.mark.parametrize("raw", [UNKNOWN, OLD.replace('"viewer"', '"king"'), OLD.replace('"dev"', '"a b"')])
async def test_a_record_that_says_something_unknown_is_an_error(
    store: Store, put_raw: Callable[[str], None], raw: str
) -> None:
    await put(store, KEY)
    put_raw(raw)
    with pytest.raises(InvalidDocument, match="KeyRecord"):
        await store.list_keys()
