# ruff: noqa: ASYNC240  these tests may block their own loop

"""Kills, pauses and rollbacks among other writers, and without the store."""

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
from rollout.core.errors import RampRefused, StoreUnavailable, UnknownFeature
from rollout.core.model import FeatureFlag, Kill
from rollout.core.ramp_model import Cause, Phase, Progress, RampPlan, Rollback, Step
from rollout.core.ramp_table import Capacity
from rollout.flag_writer import FlagWriter
from rollout.follower import Follower
from rollout.ports import Store
from rollout.seed import ensure_features
from rollout.stops import Stops

PLAN = RampPlan(steps=(Step(share=1_000), Step(share=50_000)))
_INSTANT = Rollback()
RUNNING = Progress(phase=Phase.RUNNING, attempt=1, step=1, ramp_began_s=900.0, step_began_s=950.0)


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
async def stops(contended: ContendedStore, clock: Any) -> Stops:
    follower = Follower(contended, clock)
    await follower.refresh()
    return Stops(FlagWriter(contended, follower, clock))


async def test_a_kill_comes_through_among_other_writers(contended: ContendedStore, stops: Stops) -> None:
    contended.rivals = 5
    outcome = await stops.kill("summarize", actor="ann", reason="errors")
    assert outcome.flag is not None
    assert (outcome.store, outcome.flag.kill.on, outcome.flag.owner) == ("ok", True, "xxxxx")


async def test_a_kill_that_never_gets_its_turn_stays_local(contended: ContendedStore, stops: Stops) -> None:
    contended.rivals = 1_000
    outcome = await stops.kill("summarize", actor="ann", reason="errors")
    assert (outcome.killed, outcome.flag, outcome.store) == (True, None, "unavailable, killed on this replica")


async def test_a_feature_this_replica_has_not_seen_yet_can_be_killed(
    contended: ContendedStore, stops: Stops, clock: Any
) -> None:
    await ensure_features(contended, {"late": ("inhouse", "partner")}, clock)
    assert (await stops.kill("late", actor="ann", reason="r")).store == "ok"
    with pytest.raises(UnknownFeature):
        await stops.kill("never", actor="ann", reason="r")


class Outage:
    """Commands on a running follower whose store can be taken away and given back."""

    def __init__(self, store: Store, follower: Follower, clock: Any, path: Path) -> None:
        self.store, self.follower, self.clock, self.path = store, follower, clock, path
        self.stops = Stops(FlagWriter(store, follower, clock))

    def begin(self) -> None:
        self.path.rename(self.path.with_name("away"))

    def end(self) -> None:
        self.path.with_name("away").rename(self.path)

    async def kill(self, actor: str) -> None:
        outcome = await self.stops.kill("summarize", actor=actor, reason="errors")
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
        await outage.stops.write_pending()
    assert outage.follower.is_killed_locally("summarize")
    clock.at_s += 60
    outage.end()
    for _ in range(2):
        await outage.stops.write_pending()
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
            await outage.stops.unkill("summarize", actor="ann", reason="mended")
        await outage.stops.write_pending()
        assert await outage.commands() == []


async def test_a_kill_by_hand_outlasts_the_pending_one(outage: Outage, kill_path: Path) -> None:
    kill_file.add(kill_path, "summarize", "by hand")
    await outage.follower.read_kill_file()
    outage.begin()
    await outage.kill("ann")
    outage.end()
    await outage.stops.write_pending()
    assert await outage.commands() == [("kill", "ann", "errors")]
    assert kill_path.read_text() == "summarize  # by hand\n"


async def test_a_pending_kill_of_no_feature_is_given_up(
    seeded: Store, clock: Any, kill_path: Path, store_path: Path
) -> None:
    await seeded.version()
    cold = Outage(seeded, Follower(seeded, clock, kill_file=kill_path), clock, store_path)
    cold.begin()
    await cold.stops.kill("never", actor="ann", reason="r")
    cold.end()
    for _ in range(2):
        await cold.stops.write_pending()
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
    stops = Stops(FlagWriter(seeded, here, clock))
    for follower in (here, elsewhere):
        assert await follower.refresh()
    await begin_anew(store_path)
    outcome = await stops.kill("summarize", actor="ann", reason="errors")
    assert outcome.flag is not None
    assert outcome.flag.kill.on
    assert not await elsewhere.refresh()
    assert elsewhere.snapshot.features["summarize"].flag.kill.on
    assert not elsewhere.snapshot.features["draft"].flag.kill.on
    (entry,) = await seeded.history("summarize")
    assert (entry.command, entry.revision_before, entry.actor) == ("kill", 0, "ann")
    with pytest.raises(UnknownFeature):
        await stops.pause("draft", actor="ann", reason="r")
    assert here.is_killed_locally("summarize")
    assert await seeded.accept_loss(here.position)
    assert await here.refresh()
    await stops.write_pending()
    assert not here.is_killed_locally("summarize")
    assert here.snapshot.features["summarize"].flag.kill.on


async def run_ramp(store: Store, rollback: Rollback = _INSTANT) -> None:
    """Have the ramp under way at revision 2."""
    before = await store.get("summarize")
    assert before is not None
    after = replace(before, ramp=PLAN, progress=RUNNING, share_millipct=50_000, rollback=rollback)
    entry = record_change(before, after, actor="config", command="start", reason="r", at_s=1.0)
    await store.put_if_revision(after, before.revision, entry)


async def test_a_rollback_comes_through_among_other_writers(contended: ContendedStore, stops: Stops) -> None:
    await run_ramp(contended)
    contended.rivals = 5
    outcome = await stops.roll_back("summarize", actor="ann", reason="errors")
    assert outcome.flag is not None
    assert (outcome.store, outcome.killed, outcome.flag.owner) == ("ok", False, "xxxxx")
    assert (outcome.flag.progress.phase, outcome.flag.share_millipct) == (Phase.ROLLED_BACK, 0)


async def test_a_rollback_that_never_gets_its_turn_takes_the_traffic_away_here(
    contended: ContendedStore, stops: Stops
) -> None:
    await run_ramp(contended)
    contended.rivals = 1_000
    outcome = await stops.roll_back("summarize", actor="ann", reason="errors")
    assert (outcome.killed, outcome.flag, outcome.store) == (True, None, "unavailable, killed on this replica")
    contended.rivals = 0
    await stops.write_pending()
    flag = await contended.get("summarize")
    assert flag is not None
    assert flag.progress.phase is Phase.ROLLED_BACK


async def test_a_pause_of_what_does_not_run_is_refused(outage: Outage) -> None:
    with pytest.raises(RampRefused):
        await outage.stops.pause("summarize", actor="ann", reason="r")
    assert not outage.follower.killed_locally


async def test_all_stops_of_an_outage_are_written_in_their_order(outage: Outage, clock: Any) -> None:
    await run_ramp(outage.store)
    await outage.follower.refresh()
    outage.begin()
    await outage.stops.pause("summarize", actor="ann", reason="look")
    clock.at_s += 5
    await outage.stops.roll_back("summarize", actor="bob", reason="bad")
    await outage.kill("eve")
    await outage.stops.roll_back("summarize", actor="eve", reason="again")
    clock.at_s += 60
    outage.end()
    for _ in range(2):
        await outage.stops.write_pending()
    expected = [("kill", "eve", "errors"), ("roll_back", "bob", "bad"), ("pause", "ann", "look")]
    assert (await outage.commands())[:3] == expected
    flag = await outage.store.get("summarize")
    assert flag is not None
    assert flag.progress.rolled_back is not None
    assert (flag.progress.rolled_back.by, flag.progress.rolled_back.at_s) == (Cause.OPERATOR, 1_005.0)
    assert (flag.share_millipct, flag.kill.on, flag.revision) == (0, True, 5)
    assert not outage.follower.killed_locally


async def test_a_pending_pause_that_nothing_runs_for_any_more_is_given_up(outage: Outage) -> None:
    outage.begin()
    await outage.stops.pause("summarize", actor="ann", reason="r")
    outage.end()
    await outage.stops.write_pending()
    await run_ramp(outage.store)
    await outage.stops.write_pending()
    flag = await outage.store.get("summarize")
    assert flag is not None
    assert flag.progress == RUNNING


async def test_lifting_a_kill_writes_the_pending_rollback_first(outage: Outage) -> None:
    await run_ramp(outage.store)
    await outage.follower.refresh()
    outage.begin()
    await outage.stops.roll_back("summarize", actor="ann", reason="bad")
    await outage.kill("ann")
    outage.end()
    outcome = await outage.stops.unkill("summarize", actor="bob", reason="mended")
    assert outcome.flag is not None
    assert (outcome.flag.progress.phase, outcome.flag.share_millipct) == (Phase.ROLLED_BACK, 0)
    assert not outage.follower.killed_locally
    await outage.stops.write_pending()
    assert [command for command, *_ in await outage.commands()] == ["roll_back", "start"]


async def test_a_rollback_lifted_by_hand_before_it_was_written_is_not_written(outage: Outage, kill_path: Path) -> None:
    await run_ramp(outage.store)
    await outage.follower.refresh()
    outage.begin()
    await outage.stops.roll_back("summarize", actor="ann", reason="bad")
    await outage.stops.pause("summarize", actor="ann", reason="look")
    kill_file.remove(kill_path, "summarize")
    await outage.follower.read_kill_file()
    outage.end()
    await outage.stops.write_pending()
    assert [command for command, *_ in await outage.commands()] == ["pause", "start"]


async def test_a_kill_that_is_still_being_written_is_not_lifted_by_another_stop(
    contended: ContendedStore, stops: Stops
) -> None:
    await run_ramp(contended)
    outcomes = await asyncio.gather(
        stops.kill("summarize", actor="ann", reason="errors"),
        stops.roll_back("summarize", actor="bob", reason="errors"),
        stops.kill("summarize", actor="eve", reason="errors"),
    )
    assert {outcome.store for outcome in outcomes} == {"ok"}
    flag = await contended.get("summarize")
    assert flag is not None
    assert (flag.kill.on, flag.progress.phase) == (True, Phase.ROLLED_BACK)
    assert not stops._follower.killed_locally


@pytest.mark.parametrize(("bears", "share"), [(80_000, 20_000), (100_000, 0), (None, 0)])
async def test_a_rollback_falls_to_what_the_baseline_bears(
    seeded: Store, follower: Follower, clock: Any, bears: int | None, share: int
) -> None:
    async def capacity(flag: FeatureFlag) -> Capacity:
        if bears is None:
            await asyncio.Event().wait()  # nobody says: the rollback doesn't wait for it
        return Capacity(baseline=bears)

    await run_ramp(seeded, Rollback(partner_capacity_check=True))
    await follower.refresh()
    stops = Stops(FlagWriter(seeded, follower, clock), capacity)
    outcome = await stops.roll_back("summarize", actor="ann", reason="bad")
    assert outcome.flag is not None
    assert (outcome.flag.share_millipct, outcome.flag.progress.phase) == (share, Phase.ROLLED_BACK)


class HangingStore(SqliteStore):
    """A real store that answers no reads of flags until it is let go."""

    free: asyncio.Event | None = None

    async def get(self, feature: str) -> FeatureFlag | None:
        if self.free is not None:
            await self.free.wait()
        return await super().get(feature)


async def test_a_rollback_does_not_wait_for_a_store_that_hangs(store_path: Path, clock: Any) -> None:
    store = HangingStore(store_path)
    await ensure_features(store, {"summarize": ("inhouse", "partner")}, clock)
    await run_ramp(store)
    follower = Follower(store, clock)
    await follower.refresh()
    store.free = asyncio.Event()
    ordered = asyncio.create_task(
        Stops(FlagWriter(store, follower, clock)).roll_back("summarize", actor="a", reason="r")
    )
    deadline_s = time.monotonic() + 10
    while not follower.is_killed_locally("summarize"):
        assert time.monotonic() < deadline_s, "the traffic was not taken away"
        await asyncio.sleep(0.01)
    store.free.set()
    outcome = await ordered
    assert (outcome.store, outcome.killed) == ("ok", False)
    assert not follower.killed_locally
    assert follower.flags["summarize"].share_millipct == 0
    await store.close()


async def test_a_local_kill_ends_when_the_accepted_store_is_in_force(
    seeded: Store, follower: Follower, clock: Any, store_path: Path
) -> None:
    stops = Stops(FlagWriter(seeded, follower, clock))
    await begin_anew(store_path)
    assert (await stops.kill("summarize", actor="ann", reason="bad")).store == "ok"
    assert follower.is_killed_locally("summarize")  # the store is in doubt, and what it says not in force
    await seeded.accept_loss(follower.position)
    await stops.write_pending()
    assert not follower.killed_locally
    assert follower.flags["summarize"].kill.on


async def test_a_rollback_of_a_feature_that_the_store_lost_is_written_anew(
    seeded: Store, follower: Follower, clock: Any, store_path: Path
) -> None:
    await run_ramp(seeded)
    await follower.refresh()
    elsewhere = Follower(seeded, clock)
    await elsewhere.refresh()
    await begin_anew(store_path)
    stops = Stops(FlagWriter(seeded, follower, clock))
    assert (await stops.roll_back("summarize", actor="ann", reason="bad")).store == "ok"
    assert not await elsewhere.refresh()
    assert elsewhere.snapshot.features["summarize"].flag.share_millipct == 0


async def test_what_one_feature_lacks_keeps_no_other_stop_waiting(outage: Outage, kill_path: Path) -> None:
    outage.begin()
    for feature in ("summarize", "draft"):
        await outage.stops.kill(feature, actor="ann", reason="errors")
    outage.end()
    kill_path.unlink()
    kill_path.mkdir()  # so no kill can be taken off it
    with pytest.raises(kill_file.KillFileFault):
        await outage.stops.write_pending()
    assert [flag.kill.on for flag in (await outage.store.load())[1].values()] == [True, True]
    kill_path.rmdir()
    await outage.stops.write_pending()
    assert outage.follower.killed_locally == frozenset()


async def test_a_kill_that_is_written_has_not_failed_because_of_the_kill_file(outage: Outage, kill_path: Path) -> None:
    class Jammed(Follower):
        async def unkill_locally(self, feature: str) -> None:
            kill_path.unlink()
            kill_path.mkdir()
            await super().unkill_locally(feature)

    follower = Jammed(outage.store, outage.clock, kill_file=kill_path)
    assert await follower.refresh()
    stops = Stops(FlagWriter(outage.store, follower, outage.clock))
    outcome = await stops.kill("summarize", actor="ann", reason="errors")
    assert (outcome.store, outcome.killed, follower.is_killed_locally("summarize")) == ("ok", True, True)
