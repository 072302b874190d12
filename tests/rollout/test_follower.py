# ruff: noqa: ASYNC240  these tests may block their own loop

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rollout import kill_file, last_good
from rollout.core import commands
from rollout.core.audit import record_change
from rollout.core.errors import InvalidDocument, StoreUnavailable
from rollout.core.evaluate import decide
from rollout.core.model import BUCKETS, EMPTY_SNAPSHOT, NOT_LOADED, Reason, Subject
from rollout.core.position import Position
from rollout.follower import Follower
from rollout.kill_file import KillFileFault
from rollout.ports import Store


async def set_share(store: Store, share: int, feature: str = "summarize") -> None:
    before = await store.get(feature)
    assert before is not None
    after = commands.set_share(before, share)
    entry = record_change(before, after, actor="ann", command="set-share", reason="r", at_s=1.0)
    await store.put_if_revision(after, before.revision, entry)


async def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline_s, "not within its time"
        await asyncio.sleep(0.005)


def reason(follower: Follower, feature: str = "summarize") -> Reason:
    return decide(follower.snapshot, feature, Subject("c")).reason


def share(follower: Follower) -> int:
    return follower.snapshot.features["summarize"].flag.share_millipct


async def test_before_the_first_load_everything_is_empty_and_usable(store: Store, clock: Any, tmp_path: Path) -> None:
    follower = Follower(store, clock, last_good=tmp_path / "none", kill_file=tmp_path / "no kills")
    assert (follower.snapshot, follower.version) == (EMPTY_SNAPSHOT, NOT_LOADED)
    assert follower.age_s(clock.now_s()) == float("inf")
    assert follower.last_error is None
    assert reason(follower) is Reason.NO_SNAPSHOT


async def test_an_empty_store_is_loaded_too(store: Store, clock: Any) -> None:
    follower = Follower(store, clock)
    assert await follower.refresh()
    assert follower.version == 0
    assert reason(follower) is Reason.UNKNOWN_FEATURE


async def test_a_snapshot_is_one_reference_swapped_on_change_only(seeded: Store, follower: Follower) -> None:
    held = follower.snapshot
    assert await follower.refresh()
    assert follower.snapshot is held
    await set_share(seeded, BUCKETS)
    assert await follower.refresh()
    assert follower.snapshot is not held
    assert held.features["summarize"].flag.share_millipct == 0
    assert (share(follower), follower.version) == (BUCKETS, await seeded.version())


async def test_age_counts_from_the_last_confirmation(follower: Follower, clock: Any) -> None:
    clock.at_s += 5
    assert follower.age_s(clock.now_s()) == 5
    await follower.refresh()
    assert follower.age_s(clock.now_s()) == 0
    assert follower.age_s(clock.now_s() - 100) == 0


async def test_running_it_follows_store_and_kill_file(seeded: Store, clock: Any, kill_path: Path) -> None:
    follower = Follower(seeded, clock, poll_s=0.01, kill_file=kill_path)
    task = asyncio.create_task(follower.run())
    await until(lambda: follower.version > 0)
    await set_share(seeded, 5_000)
    await until(lambda: share(follower) == 5_000)
    kill_file.add(kill_path, "summarize", "by hand")
    await until(lambda: reason(follower) is Reason.KILLED)
    assert reason(follower, "draft") is Reason.SPLIT
    kill_path.unlink()
    await until(lambda: reason(follower) is Reason.SPLIT)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_store_gone_keeps_the_last_good(seeded: Store, follower: Follower, store_path: Path) -> None:
    await set_share(seeded, 25_000)
    await follower.refresh()
    store_path.rename(store_path.with_name("away"))
    assert not await follower.refresh()
    assert isinstance(follower.last_error, StoreUnavailable)
    assert share(follower) == 25_000
    store_path.with_name("away").rename(store_path)
    assert await follower.refresh()
    assert follower.last_error is None


async def test_a_restart_without_the_store_serves_the_last_good(seeded: Store, clock: Any, tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    first = Follower(seeded, clock, last_good=path)
    await set_share(seeded, 25_000)
    await first.refresh()
    await seeded.close()
    clock.at_s += 60
    second = Follower(seeded, clock, last_good=path)
    assert (share(second), second.version) == (25_000, first.version)
    assert second.age_s(clock.now_s()) == 60
    assert not await second.refresh()
    assert share(second) == 25_000


async def test_the_last_good_file_never_outranks_the_store(seeded: Store, clock: Any, tmp_path: Path) -> None:
    """A store that was restored may count to the same version and hold less."""
    path = tmp_path / "good.json"
    await set_share(seeded, 90_000)
    version, flags = await seeded.load()
    higher = {"summarize": replace(flags["summarize"], share_millipct=99_000)}
    last_good.write(path, last_good.LastGood(Position(0, version), 0.0, higher))
    follower = Follower(seeded, clock, last_good=path)
    assert (share(follower), follower.version) == (99_000, version)
    assert await follower.refresh()
    assert share(follower) == 90_000


async def test_a_damaged_last_good_file_is_noted_and_replaced(seeded: Store, clock: Any, tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    path.write_text("{")
    follower = Follower(seeded, clock, last_good=path)
    assert isinstance(follower.last_error, InvalidDocument)
    assert (follower.refused_documents, follower.snapshot) == (1, EMPTY_SNAPSHOT)
    assert await follower.refresh()
    assert share(Follower(seeded, clock, last_good=path)) == 0


async def test_a_last_good_file_that_cannot_be_written_hinders_nothing(
    seeded: Store, clock: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    follower = Follower(seeded, clock, last_good=tmp_path / "taken" / "good.json")
    (tmp_path / "taken").write_text("")
    assert await follower.refresh()
    assert "cannot save the last good snapshot" in caplog.text


async def test_an_emptied_store_replaces_nothing(
    seeded: Store, follower: Follower, clock: Any, store_path: Path, tmp_path: Path
) -> None:
    await set_share(seeded, 25_000)
    await follower.refresh()
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        store_path.with_name(name).unlink(missing_ok=True)
    store_path.touch()
    assert not await follower.refresh()
    assert isinstance(follower.last_error, InvalidDocument)
    assert share(follower) == 25_000


class Broken:
    """A store with a programming error."""

    async def position(self) -> Position:
        raise ZeroDivisionError


async def test_even_a_programming_error_does_not_end_the_following(
    clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    follower = Follower(Broken(), clock)  # type: ignore[arg-type]
    assert not await follower.refresh()
    assert not await follower.refresh()
    assert "ZeroDivisionError" in str(follower.last_error)
    assert len(caplog.records) == 1


async def test_a_local_kill_is_in_force_at_once_and_after_a_restart(
    seeded: Store, follower: Follower, clock: Any, kill_path: Path
) -> None:
    await follower.kill_locally("summarize", "ann: slow")
    assert reason(follower) is Reason.KILLED
    assert reason(follower, "draft") is Reason.SPLIT
    assert not follower.flags["summarize"].kill.on
    restarted = Follower(seeded, clock, kill_file=kill_path)
    await restarted.refresh()
    assert reason(restarted) is Reason.KILLED
    await follower.unkill_locally("summarize")
    assert reason(follower) is Reason.SPLIT
    await restarted.read_kill_file()
    assert reason(restarted) is Reason.SPLIT


async def test_a_local_kill_needs_no_file(seeded: Store, clock: Any) -> None:
    follower = Follower(seeded, clock)
    await follower.refresh()
    await follower.kill_locally("summarize")
    await follower.read_kill_file()
    assert follower.is_killed_locally("summarize")
    await follower.unkill_locally("summarize")
    assert not follower.killed_locally


async def test_a_kill_that_cannot_be_written_lasts_in_memory(seeded: Store, clock: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    follower = Follower(seeded, clock, kill_file=tmp_path / "file" / "killed")
    await follower.refresh()
    with pytest.raises(KillFileFault):
        await follower.kill_locally("summarize")
    await follower.read_kill_file()
    assert reason(follower) is Reason.KILLED


async def test_a_star_kills_everything(follower: Follower, kill_path: Path) -> None:
    kill_file.add(kill_path, kill_file.ALL, "")
    await follower.read_kill_file()
    assert {reason(follower), reason(follower, "draft")} == {Reason.KILLED}


async def test_an_unreadable_kill_file_lifts_nothing(follower: Follower, kill_path: Path) -> None:
    await follower.kill_locally("summarize")
    kill_path.write_bytes(b"\xff")
    await follower.read_kill_file()
    assert reason(follower) is Reason.KILLED
    assert isinstance(follower.last_error, KillFileFault)
    assert await follower.refresh()
    assert isinstance(follower.last_error, KillFileFault)
    kill_path.write_text("")
    await follower.read_kill_file()
    assert reason(follower) is Reason.SPLIT
    assert follower.last_error is None


async def test_an_unreadable_kill_file_at_the_start_is_noted(seeded: Store, clock: Any, tmp_path: Path) -> None:
    (tmp_path / "killed").write_bytes(b"\xff")
    follower = Follower(seeded, clock, kill_file=tmp_path / "killed")
    assert isinstance(follower.last_error, KillFileFault)
    assert await follower.refresh()
    assert reason(follower) is Reason.SPLIT


async def test_the_share_in_force_is_never_above_the_last_committed(
    seeded: Store, clock: Any, store_path: Path
) -> None:
    """Commits, outages and restarts in a fixed random order: what a follower serves was once committed, in order."""
    follower = Follower(seeded, clock)
    committed, away = [0], store_path.with_name("away")
    for number in range(40):
        if number % 5 == 3:
            store_path.rename(away)
            await follower.refresh()
            assert share(follower) == committed[-1]
            away.rename(store_path)
        else:
            committed.append((number * 37_717) % BUCKETS)
            await set_share(seeded, committed[-1])
            if number % 3:
                await follower.refresh()
                assert share(follower) == committed[-1]
            else:
                assert not follower.flags or share(follower) in committed
                await follower.refresh()


async def test_local_kills_survive_changes_of_the_document(seeded: Store, follower: Follower) -> None:
    await follower.kill_locally("summarize")
    await set_share(seeded, BUCKETS)
    await follower.refresh()
    assert reason(follower) is Reason.KILLED
    assert replace(follower.flags["summarize"]).share_millipct == BUCKETS


async def test_a_step_that_fails_is_noted_and_tried_again(follower: Follower) -> None:
    faults: list[Exception] = [StoreUnavailable("not yet", "wait"), ValueError("a bug")]
    noted: list[str] = []

    async def step() -> None:
        noted.append(str(follower.last_error))
        if faults:
            raise faults.pop(0)

    follower.when_in_touch(step)
    task = asyncio.create_task(follower.run())
    await until(lambda: len(noted) > 3)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert noted[:2] == ["None", "not yet"]
    assert "a bug" in noted[2]
    assert follower.last_error is None


async def test_kills_that_another_process_remembers_are_held_until_it_forgets_them(
    seeded: Store, clock: Any, kill_path: Path
) -> None:
    follower = Follower(seeded, clock, kill_file=kill_path)
    await follower.refresh()
    kill_path.parent.mkdir(parents=True, exist_ok=True)
    kill_path.write_text("draft\n")
    await follower.hold_kills(frozenset({"summarize"}))
    assert follower.killed_locally == {"draft", "summarize"}
    assert follower.kills_in_memory == {"summarize"}
    await follower.read_kill_file()
    assert follower.is_killed_locally("summarize")
    await follower.hold_kills(frozenset())
    assert follower.killed_locally == {"draft"}


async def test_while_the_kill_file_is_unreadable_no_kill_that_was_held_is_lifted(
    seeded: Store, clock: Any, kill_path: Path
) -> None:
    follower = Follower(seeded, clock, kill_file=kill_path)
    await follower.hold_kills(frozenset({"summarize"}))
    kill_path.mkdir(parents=True)
    await follower.hold_kills(frozenset())
    assert follower.is_killed_locally("summarize")
    without_file = Follower(seeded, clock)
    await without_file.hold_kills(frozenset({"summarize"}))
    await without_file.hold_kills(frozenset())
    assert not without_file.is_killed_locally("summarize")


async def test_it_says_how_long_the_oldest_change_was_waiting(seeded: Store, clock: Any) -> None:
    follower, waited = Follower(seeded, clock), []
    follower.when_changed(waited.append)
    await follower.refresh()
    assert waited == []
    clock.at_s = 10.0
    await set_share(seeded, 1_000)  # at 1 s
    await set_share(seeded, 2_000, "draft")
    await follower.refresh()
    await follower.refresh()
    assert waited == [9.0]
    clock.at_s = 0.5  # the writer's clock is ahead
    await set_share(seeded, 3_000)
    await follower.refresh()
    assert waited == [9.0, 0.0]


async def test_an_audit_log_that_is_away_hinders_no_change(seeded: Store, clock: Any, monkeypatch: Any) -> None:
    follower, waited = Follower(seeded, clock), []
    follower.when_changed(waited.append)
    await follower.refresh()
    await set_share(seeded, 1_000)

    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(seeded, "audit", away)
    assert await follower.refresh()
    assert (share(follower), waited) == (1_000, [])


def damage(path: Path, feature: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE flags SET document = ? WHERE feature = ?", ('{"feature": "draft", "new": 1}', feature))
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'version'")
        db.commit()


async def test_a_flag_that_cannot_be_read_keeps_no_other_from_being_obeyed(
    seeded: Store, clock: Any, store_path: Path
) -> None:
    """As while replicas are upgraded one by one, and one has written what older ones don't know."""
    follower = Follower(seeded, clock)
    await set_share(seeded, 5_000, "draft")
    await follower.refresh()
    damage(store_path, "draft")
    await set_share(seeded, 7_000)
    for _ in range(2):
        assert not await follower.refresh()
    assert isinstance(follower.last_error, InvalidDocument)
    shares = {name: each.flag.share_millipct for name, each in follower.snapshot.features.items()}
    assert shares == {"summarize": 7_000, "draft": 5_000}


async def test_before_the_first_good_document_a_damaged_one_gives_nothing(
    seeded: Store, clock: Any, store_path: Path
) -> None:
    damage(store_path, "draft")
    follower = Follower(seeded, clock)
    assert not await follower.refresh()
    assert follower.snapshot is EMPTY_SNAPSHOT
