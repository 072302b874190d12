# ruff: noqa: ASYNC240  these tests may block their own loop

"""Commands among other writers; their HTTP face has its own tests."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rollout import kill_file
from rollout.adapters.sqlite import SqliteStore
from rollout.core.audit import record_change
from rollout.core.errors import RevisionConflict, StoreUnavailable, UnknownFeature
from rollout.core.model import FeatureFlag, Kill
from rollout.follower import Follower
from rollout.operations import Operations
from rollout.ports import Store
from rollout.seed import ensure_features


class ContendedStore(SqliteStore):
    """A real store in which, after each of the first `rivals` reads, somebody else writes first."""

    rivals = 0

    async def get(self, feature: str) -> FeatureFlag | None:
        flag = await super().get(feature)
        if flag is not None and self.rivals:
            self.rivals -= 1
            after = replace(flag, owner=f"{flag.owner}x")
            entry = record_change(flag, after, actor="rival", command="own", reason="r", at_s=1.0)
            await self.put_if_revision(after, flag.revision, entry)
        return flag


@pytest.fixture
async def contended(store_path: Path, clock: Any) -> AsyncIterator[ContendedStore]:
    store = ContendedStore(store_path)
    await ensure_features(store, {"summarize": ("inhouse", "partner")}, clock)
    yield store
    await store.close()


@pytest.fixture
async def operations(contended: ContendedStore, clock: Any) -> Operations:
    follower = Follower(contended, clock)
    await follower.refresh()
    return Operations(contended, follower, clock)


async def test_a_kill_comes_through_among_other_writers(contended: ContendedStore, operations: Operations) -> None:
    contended.rivals = 5
    outcome = await operations.kill("summarize", actor="ann", reason="errors")
    assert outcome.flag is not None
    assert (outcome.store, outcome.flag.kill.on, outcome.flag.owner) == ("ok", True, "xxxxx")


async def test_a_kill_that_never_gets_its_turn_stays_local(contended: ContendedStore, operations: Operations) -> None:
    contended.rivals = 1_000
    outcome = await operations.kill("summarize", actor="ann", reason="errors")
    assert (outcome.killed, outcome.flag, outcome.store) == (True, None, "unavailable, killed on this replica")


async def test_a_share_set_meanwhile_is_a_conflict_not_an_overwrite(
    contended: ContendedStore, operations: Operations
) -> None:
    contended.rivals = 1
    with pytest.raises(RevisionConflict) as conflict:
        await operations.set_share("summarize", 5_000, expected_revision=1, actor="ann", reason="r")
    assert conflict.value.current is not None
    assert (conflict.value.current.owner, conflict.value.current.share_millipct) == ("x", 0)


async def test_seeding_reads_again_when_somebody_else_was_faster(contended: ContendedStore, clock: Any) -> None:
    contended.rivals = 2
    await ensure_features(contended, {"summarize": ("inhouse-2", "partner")}, clock)
    flag = await contended.get("summarize")
    assert flag is not None
    assert (flag.candidate, flag.owner) == ("inhouse-2", "xx")
    contended.rivals = 1_000
    with pytest.raises(RevisionConflict):
        await ensure_features(contended, {"summarize": ("inhouse-3", "partner")}, clock)


async def test_a_feature_this_replica_has_not_seen_yet_can_be_killed(
    contended: ContendedStore, operations: Operations, clock: Any
) -> None:
    await ensure_features(contended, {"late": ("inhouse", "partner")}, clock)
    assert (await operations.kill("late", actor="ann", reason="r")).store == "ok"
    with pytest.raises(UnknownFeature):
        await operations.kill("never", actor="ann", reason="r")


class Outage:
    """Commands on a running follower whose store can be taken away and given back."""

    def __init__(self, store: Store, follower: Follower, clock: Any, path: Path) -> None:
        self.store, self.follower, self.clock, self.path = store, follower, clock, path
        self.operations = Operations(store, follower, clock)

    def begin(self) -> None:
        self.path.rename(self.path.with_name("away"))

    def end(self) -> None:
        self.path.with_name("away").rename(self.path)

    async def kill(self, actor: str) -> None:
        outcome = await self.operations.kill("summarize", actor=actor, reason="errors")
        assert outcome.store == "unavailable, killed on this replica"

    async def commands(self) -> list[tuple[str, str, str]]:
        entries = await self.store.history("summarize")
        return [(entry.command, entry.actor, entry.reason) for entry in entries if entry.command != "create"]


@pytest.fixture
def outage(seeded: Store, follower: Follower, clock: Any, store_path: Path) -> Outage:
    return Outage(seeded, follower, clock, store_path)


async def test_a_kill_made_in_an_outage_is_written_once_when_the_store_is_back(outage: Outage, clock: Any) -> None:
    outage.begin()
    await outage.kill("ann")
    await outage.kill("bob")
    with pytest.raises(StoreUnavailable):
        await outage.operations.stops.write_pending()
    assert outage.follower.is_killed_locally("summarize")
    clock.at_s += 60
    outage.end()
    for _ in range(2):
        await outage.operations.stops.write_pending()
    flag = await outage.store.get("summarize")
    assert flag is not None
    assert flag.kill == Kill(on=True, actor="ann", at_s=1_000.0, reason="errors")
    assert await outage.commands() == [("kill", "ann", "errors")]
    assert not outage.follower.is_killed_locally("summarize")
    assert outage.follower.flags["summarize"].kill.on


async def test_a_running_follower_writes_the_kill_by_itself(outage: Outage) -> None:
    outage.begin()
    running = asyncio.create_task(outage.follower.run())
    await outage.kill("ann")
    outage.end()
    deadline_s = time.monotonic() + 10
    while outage.follower.is_killed_locally("summarize"):
        assert time.monotonic() < deadline_s, "the kill was not written"
        await asyncio.sleep(0.005)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert outage.follower.flags["summarize"].kill.actor == "ann"
    assert outage.follower.last_error is None


async def test_a_kill_lifted_before_it_was_written_is_not_written(outage: Outage, kill_path: Path) -> None:
    for by_hand in (False, True):
        outage.begin()
        await outage.kill("ann")
        outage.end()
        if by_hand:
            kill_file.remove(kill_path, "summarize")
            await outage.follower.read_kill_file()
        else:
            await outage.operations.unkill("summarize", actor="ann", reason="mended")
        await outage.operations.stops.write_pending()
        assert await outage.commands() == []


async def test_a_kill_by_hand_outlasts_the_pending_one(outage: Outage, kill_path: Path) -> None:
    kill_file.add(kill_path, "summarize", "by hand")
    await outage.follower.read_kill_file()
    outage.begin()
    await outage.kill("ann")
    outage.end()
    await outage.operations.stops.write_pending()
    assert await outage.commands() == [("kill", "ann", "errors")]
    assert kill_path.read_text() == "summarize  # by hand\n"


async def test_a_pending_kill_of_no_feature_is_given_up(
    seeded: Store, clock: Any, kill_path: Path, store_path: Path
) -> None:
    await seeded.version()
    cold = Outage(seeded, Follower(seeded, clock, kill_file=kill_path), clock, store_path)
    cold.begin()
    await cold.operations.kill("never", actor="ann", reason="r")
    cold.end()
    for _ in range(2):
        await cold.operations.stops.write_pending()
    assert sorted((await seeded.load())[1]) == ["draft", "summarize"]
    assert cold.follower.is_killed_locally("never")


async def begin_anew(store_path: Path) -> None:
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        store_path.with_name(name).unlink(missing_ok=True)
    store_path.touch()


async def test_a_kill_works_in_a_store_that_lost_the_feature(
    seeded: Store, clock: Any, store_path: Path, kill_path: Path
) -> None:
    here = Follower(seeded, clock, kill_file=kill_path)
    elsewhere = Follower(seeded, clock)
    operations = Operations(seeded, here, clock)
    for follower in (here, elsewhere):
        assert await follower.refresh()
    await begin_anew(store_path)
    outcome = await operations.kill("summarize", actor="ann", reason="errors")
    assert outcome.flag is not None
    assert outcome.flag.kill.on
    assert not await elsewhere.refresh()
    assert elsewhere.snapshot.features["summarize"].flag.kill.on
    assert not elsewhere.snapshot.features["draft"].flag.kill.on
    (entry,) = await seeded.history("summarize")
    assert (entry.command, entry.revision_before, entry.actor) == ("kill", 0, "ann")
    with pytest.raises(UnknownFeature):
        await operations.set_share("draft", 1_000, expected_revision=1, actor="ann", reason="r")


async def test_a_loss_is_accepted_by_a_person_and_for_all(
    seeded: Store, clock: Any, store_path: Path, kill_path: Path
) -> None:
    here, elsewhere = Follower(seeded, clock, kill_file=kill_path), Follower(seeded, clock)
    operations = Operations(seeded, here, clock)
    for follower in (here, elsewhere):
        assert await follower.refresh()
    assert await operations.accept_loss(actor="ann", reason="why not") is None
    await begin_anew(store_path)
    await ensure_features(seeded, {"summarize": ("inhouse-2", "partner")}, clock)
    assert not await elsewhere.refresh()
    assert await operations.accept_loss(actor="ann", reason="the disk is gone") == here.position
    for follower in (here, elsewhere):
        assert await follower.refresh()
        assert follower.flags == (await seeded.load())[1]
    assert [entry.command for entry in await seeded.history("summarize")] == ["accept-loss", "create"]
