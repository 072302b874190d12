"""A store that fails: bounded answers, and a follower that keeps what was last committed."""

import asyncio
import os
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.core import commands
from rollout.core.audit import record_change
from rollout.core.claims import Claim
from rollout.core.errors import InvalidArgument, InvalidDocument, RolloutError, StoreUnavailable
from rollout.core.evaluate import decide
from rollout.core.keys import KeyChange, KeyRecord, first_entry
from rollout.core.model import Arm, FeatureFlag, Reason, Subject
from rollout.core.position import Position
from rollout.core.quota import QuotaAsk
from rollout.core.sums import Replacement, SumKey
from rollout.core.votes import Choice, Vote
from rollout.follower import Follower
from rollout.ports import Once, Store

# The stated limit is 2 s for each call, whatever else waits; the rest is for a loaded machine.
_BOUND_S = 4.0
KEY = KeyRecord(id="k1", digest="ab" * 32, name="first", tenant="t", created_at_s=1.0)
NEW = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner")


@pytest.fixture(autouse=True)
def patient_store() -> None:
    """Here the bounds are the product's."""


async def commit_share(store: Store, share: int) -> FeatureFlag:
    before = await store.get("summarize")
    after = commands.set_share(before or NEW, share)
    entry = record_change(before, after, actor="ann", command="set-share", reason="r", at_s=1.0)
    return await store.put_if_revision(after, 0 if before is None else before.revision, entry)


async def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, "not within its time"
        await asyncio.sleep(0.01)


class Following:
    """A follower running in the background."""

    def __init__(self, store: Store, **options: Any) -> None:
        self.follower = Follower(store, WallClock(), poll_s=0.02, **options)

    async def __aenter__(self) -> Follower:
        self.task = asyncio.create_task(self.follower.run())
        return self.follower

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


def share_of(follower: Follower) -> int:
    return follower.snapshot.features["summarize"].flag.share_millipct


async def test_a_change_reaches_a_follower(store: Store) -> None:
    async with Following(store) as follower:
        assert decide(follower.snapshot, "summarize", Subject("c")).reason in {
            Reason.NO_SNAPSHOT,
            Reason.UNKNOWN_FEATURE,
        }
        for share in (1_000, 100_000):
            await commit_share(store, share)
            await until(lambda share=share: follower.flags.get("summarize", NEW).share_millipct == share)
        assert decide(follower.snapshot, "summarize", Subject("c")).arm is Arm.CANDIDATE
        assert follower.version == await store.version()
        assert follower.age_s(WallClock().now_s()) < 5
        assert follower.last_error is None


@pytest.mark.system
@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_redis_gone_or_silent_is_an_error_in_bounded_time(redis_server: Any, how: str) -> None:
    store = open_store(redis_server.url)
    await commit_share(store, 25_000)
    lease = await store.acquire_lease("controller", "a", 60.0)
    assert lease is not None
    getattr(redis_server, how)()
    calls: list[Callable[[], Any]] = [
        store.version,
        store.load,
        lambda: store.get("summarize"),
        lambda: commit_share(store, 90_000),
        lambda: store.history("summarize"),
        store.load_keys,
        lambda: store.change_keys(KeyChange((KEY,), (), first_entry(KEY)), 1),
        lambda: store.create_key_if_empty(KEY),
        store.key_history,
        lambda: store.touch_keys({"k1": 1.0}),
        lambda: store.lease_quota([QuotaAsk("q", 1, 5, 10, 60.0)]),
        store.position,
        lambda: store.accept_loss(Position(1, 99)),
        lambda: store.recall("k"),
        lambda: store.remember(Once("k", b"x")),
        store.audit,
        lambda: store.put_memory("summarize", 1, b"x", fencing=lease),
        lambda: store.get_memory("summarize"),
        lambda: store.acquire_lease("controller", "b", 60.0),
        lambda: store.renew_lease(lease, 60.0),
        lambda: store.release_lease(lease),
        lambda: store.add_sums({SumKey("summarize", 1, "n"): [1]}, "1"),
        lambda: store.read_sums("summarize"),
        lambda: store.claim_units([Claim("summarize", "d", 7)], "1"),
        lambda: store.replace_sums(Replacement("summarize", 1, {"n": [1]}, {"m": [1]})),
        lambda: store.put_vote(Vote("summarize", "0" * 32, "ann", Choice.TIE, "inhouse", "partner", 1.0)),
        lambda: store.votes("summarize"),
    ]
    async with asyncio.timeout(_BOUND_S):
        results = await asyncio.gather(*(call() for call in calls * 2), return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    if how == "pause":
        redis_server.resume()
    await store.close()


@pytest.mark.system
async def test_an_address_that_never_speaks_is_an_error_in_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = open_store(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with pytest.raises(StoreUnavailable, match="is unavailable"):
            await asyncio.wait_for(store.version(), _BOUND_S)
        await store.close()


@pytest.mark.system
@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_a_follower_outlives_redis_and_catches_up(redis_server: Any, how: str) -> None:
    store = open_store(redis_server.url)
    await commit_share(store, 25_000)
    async with Following(store) as follower:
        await until(lambda: follower.version == 1)
        before = follower.snapshot
        getattr(redis_server, how)()
        await until(lambda: follower.last_error is not None)
        assert isinstance(follower.last_error, StoreUnavailable)
        assert follower.snapshot is before
        if how == "pause":
            redis_server.resume()
            await until(lambda: follower.last_error is None)
            await commit_share(store, 10_000)
            await until(lambda: share_of(follower) == 10_000)
        else:
            redis_server.start()  # without persistence: it comes back with nothing
            await until(lambda: isinstance(follower.last_error, InvalidDocument))
            assert follower.snapshot is before
            await commit_share(store, 0)
            await until(lambda: share_of(follower) == 0)
    await store.close()


@pytest.mark.system
async def test_a_local_kill_does_not_wait_for_a_silent_redis(redis_server: Any, tmp_path: Path) -> None:
    store = open_store(redis_server.url)
    await commit_share(store, 100_000)
    kill_file = tmp_path / "killed"
    async with Following(store, kill_file=kill_file) as follower:
        await until(lambda: follower.version == 1)
        redis_server.pause()
        kill_file.write_text("summarize\n")
        # The stated bound for a kill, and less than a silent store may hold up its own loop.
        await until(lambda: decide(follower.snapshot, "summarize", Subject("c")).reason is Reason.KILLED, limit_s=1.0)
        assert follower.is_killed_locally("summarize")
        redis_server.resume()
    await store.close()


@pytest.mark.system
async def test_a_damaged_document_in_redis_is_refused(redis_server: Any) -> None:
    store = open_store(redis_server.url)
    await commit_share(store, 25_000)
    follower = Follower(store, WallClock())
    assert await follower.refresh()
    redis_server.command("HSET {glidepath}:flags summarize garbage")
    redis_server.command("INCR {glidepath}:version")
    assert not await follower.refresh()
    assert not await follower.refresh()
    assert isinstance(follower.last_error, InvalidDocument)
    assert (share_of(follower), follower.refused_documents) == (25_000, 1)
    await store.close()


@pytest.mark.system
async def test_a_redis_written_by_another_schema_is_not_touched(redis_server: Any) -> None:
    redis_server.command("SET {glidepath}:schema 9")
    store = open_store(redis_server.url)
    with pytest.raises(StoreUnavailable, match="schema"):
        await store.load()
    await store.close()


def damage_sqlite(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE flags SET document = 'garbage'")
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'version'")
        db.commit()


async def test_a_damaged_document_in_sqlite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(f"sqlite:///{path}")
    await commit_share(store, 25_000)
    follower = Follower(store, WallClock())
    assert await follower.refresh()
    damage_sqlite(path)
    assert not await follower.refresh()
    assert not await follower.refresh()
    assert isinstance(follower.last_error, InvalidDocument)
    assert (share_of(follower), follower.refused_documents) == (25_000, 1)
    await store.close()


async def test_a_file_exchanged_for_garbage_keeps_the_last_good(tmp_path: Path) -> None:
    path, garbage = tmp_path / "store.db", tmp_path / "garbage"
    store = open_store(f"sqlite:///{path}")
    await commit_share(store, 25_000)
    await store.close()  # folds the write-ahead log in, so that nothing of it is left to heal the garbage
    store = open_store(f"sqlite:///{path}")
    good = path.read_bytes()
    async with Following(store) as follower:
        await until(lambda: follower.version == 1)
        garbage.write_bytes(os.urandom(50_000))
        garbage.replace(path)
        await until(lambda: follower.last_error is not None)
        assert isinstance(follower.last_error, StoreUnavailable)
        assert "backup" in follower.last_error.hint
        assert share_of(follower) == 25_000
        with pytest.raises(StoreUnavailable, match="not a database"):
            await store.get("summarize")
        garbage.write_bytes(good)
        garbage.replace(path)  # at once: a file that is being written would look like an empty store
        await until(lambda: follower.last_error is None)
    await store.close()


async def test_a_file_overwritten_in_place_never_changes_what_is_in_force(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(f"sqlite:///{path}")
    await commit_share(store, 25_000)
    follower = Follower(store, WallClock())
    await follower.refresh()
    with path.open("r+b") as file:
        file.write(os.urandom(50_000))
    for _ in range(3):
        await follower.refresh()
        assert share_of(follower) == 25_000
    await store.close()


async def test_a_file_removed_while_in_use_is_an_error_not_a_new_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(f"sqlite:///{path}")
    await commit_share(store, 25_000)
    path.unlink()
    with pytest.raises(StoreUnavailable) as fault:
        await store.version()
    assert "removed while in use" in fault.value.hint
    assert not path.exists()
    await store.close()


@pytest.mark.parametrize("place", ["file/store.db", "directory"])
async def test_a_place_that_can_hold_no_file_is_a_clear_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    store = open_store(f"sqlite:///{tmp_path / place}")
    with pytest.raises(StoreUnavailable) as fault:
        await store.load()
    assert str(tmp_path) in fault.value.cause
    assert fault.value.hint
    await store.close()


async def test_a_file_that_is_no_database_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_text("my notes, " * 100)
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="not a database"):
        await commit_share(store, 1)
    await store.close()
    assert path.read_text() == "my notes, " * 100


async def test_a_file_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(f"sqlite:///{path}")
    await commit_share(store, 1)
    await store.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE meta SET value = 9 WHERE name = 'schema'")
        db.commit()
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="version 9") as fault:
        await store.load()
    assert "version of this program" in fault.value.hint
    await store.close()


async def test_a_locked_file_is_an_error_in_bounded_time(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(f"sqlite:///{path}")
    await commit_share(store, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert await store.version() == 1
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.lease_quota([QuotaAsk("q", 1, 5, 10, 60.0)])
        with pytest.raises(StoreUnavailable, match="locked") as fault:
            await commit_share(store, 2)
        assert "another process" in fault.value.hint
        holder.execute("ROLLBACK")
    assert (await commit_share(store, 3)).share_millipct == 3
    await store.close()


async def test_a_busy_disk_never_blocks_the_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(f"sqlite:///{path}")
    await commit_share(store, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        write = asyncio.create_task(commit_share(store, 2))
        turns = 0
        while turns < 50:
            await asyncio.sleep(0.001)
            turns += 1
        assert not write.done()
        holder.execute("ROLLBACK")
    assert (await write).share_millipct == 2
    await store.close()


@pytest.mark.parametrize(
    "url",
    [
        *("", "store.db", "mysql://h/1"),
        *("sqlite:///a\0b.db", "sqlite:///\0", "sqlite:///a\udcff.db", "sqlite:///a\ud800/b.db"),
        *("sqlite://store.db", "sqlite:///", "sqlite:///a/", "sqlite:///a?x=1"),
        *("redis:h", "redis://", "redis://h/x", "redis://h:port/0"),
    ],
)
def test_a_url_that_names_no_store_is_refused_with_the_forms(url: str) -> None:
    with pytest.raises(InvalidArgument) as fault:
        open_store(url)
    assert "sqlite:///PATH" in fault.value.hint


def test_credentials_are_not_shown() -> None:
    for url in ("redis://user:secret@h:port/0", "mysql://user:secret@h/1"):
        with pytest.raises(RolloutError) as fault:
            open_store(url)
        assert "secret" not in fault.value.cause


async def test_a_relative_path_is_relative_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///data/store.db")
    assert await store.version() == 0
    await store.close()
    assert (tmp_path / "data" / "store.db").exists()


async def test_a_closed_sqlite_store_says_so(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    await store.close()
    with pytest.raises(StoreUnavailable, match="is closed"):
        await store.version()
