"""Kills, pauses and rollbacks without the store, and when it is back or has lost what it held."""

# ruff: noqa: ASYNC240  these tests may block their own loop

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rollout import kill_file
from rollout.adapters.clock import WallClock
from rollout.core.errors import RampRefused, StoreUnavailable
from rollout.core.model import Kill
from rollout.core.ramp_model import Cause, Phase
from rollout.flag_writer import FlagWriter
from rollout.follower import Follower
from rollout.ports import Store
from rollout.stops import Stops
from tests.rollout.stores import RUNNING, Outage, lose, run_ramp


class Stopping(Outage):
    """Commands on a running follower whose store can be taken away and given back."""

    def __init__(self, store: Store, follower: Follower, clock: Any, path: Path) -> None:
        super().__init__(path)
        self.store, self.follower = store, follower
        self.stops = Stops(FlagWriter(store, follower, clock))

    async def kill(self, actor: str) -> None:
        outcome = await self.stops.kill("summarize", actor=actor, reason="errors")
        assert outcome.store == "unavailable, killed on this replica"

    async def commands(self) -> list[tuple[str, str, str]]:
        entries = await self.store.history("summarize")
        return [(entry.command, entry.actor, entry.reason) for entry in entries if entry.command != "create"]


@pytest.fixture
def outage(seeded: Store, follower: Follower, clock: Any, store_path: Path) -> Stopping:
    return Stopping(seeded, follower, clock, store_path)


async def test_a_kill_made_in_an_outage_is_written_once_when_the_store_is_back(outage: Stopping, clock: Any) -> None:
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


async def test_a_running_follower_writes_the_kill_by_itself(outage: Stopping) -> None:
    outage.begin()
    running = asyncio.create_task(outage.follower.run())
    await outage.kill("ann")
    outage.end()
    deadline_s = time.monotonic() + 60
    while outage.follower.is_killed_locally("summarize"):
        assert time.monotonic() < deadline_s, "the kill was not written"
        await asyncio.sleep(0.005)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert outage.follower.flags["summarize"].kill.actor == "ann"
    assert outage.follower.last_error is None


async def test_a_kill_lifted_before_it_was_written_is_not_written(outage: Stopping, kill_path: Path) -> None:
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


async def test_a_kill_by_hand_outlasts_the_pending_one(outage: Stopping, kill_path: Path) -> None:
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
    cold = Stopping(seeded, Follower(seeded, clock, kill_file=kill_path), clock, store_path)
    cold.begin()
    await cold.stops.kill("never", actor="ann", reason="r")
    cold.end()
    for _ in range(2):
        await cold.stops.write_pending()
    assert sorted((await seeded.load())[1]) == ["draft", "summarize"]
    assert cold.follower.is_killed_locally("never")


async def test_a_kill_works_in_a_store_that_lost_the_feature(
    seeded: Store, clock: Any, store_path: Path, kill_path: Path
) -> None:
    here = Follower(seeded, clock, kill_file=kill_path)
    elsewhere = Follower(seeded, clock)
    stops = Stops(FlagWriter(seeded, here, clock))
    for follower in (here, elsewhere):
        assert await follower.refresh()
    lose(store_path)
    outcome = await stops.kill("summarize", actor="ann", reason="errors")
    assert outcome.flag is not None
    assert outcome.flag.kill.on
    assert not await elsewhere.refresh()
    assert elsewhere.snapshot.features["summarize"].flag.kill.on
    assert not elsewhere.snapshot.features["draft"].flag.kill.on
    (entry,) = await seeded.history("summarize")
    assert (entry.command, entry.revision_before, entry.actor) == ("kill", 0, "ann")
    assert (await stops.pause("draft", actor="ann", reason="r")).store != "ok"
    await stops.write_pending()
    assert here.is_killed_locally("summarize")
    assert await seeded.accept_loss(here.position)
    assert await here.refresh()
    await stops.write_pending()
    assert not here.is_killed_locally("summarize")
    assert here.snapshot.features["summarize"].flag.kill.on


async def test_a_pause_of_what_does_not_run_is_refused(outage: Stopping) -> None:
    with pytest.raises(RampRefused):
        await outage.stops.pause("summarize", actor="ann", reason="r")
    assert not outage.follower.killed_locally


async def test_all_stops_of_an_outage_are_written_in_their_order(outage: Stopping, clock: Any) -> None:
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


async def test_a_pending_pause_that_nothing_runs_for_any_more_is_given_up(outage: Stopping) -> None:
    outage.begin()
    await outage.stops.pause("summarize", actor="ann", reason="r")
    outage.end()
    await outage.stops.write_pending()
    await run_ramp(outage.store)
    await outage.stops.write_pending()
    flag = await outage.store.get("summarize")
    assert flag is not None
    assert flag.progress == RUNNING


async def test_lifting_a_kill_writes_the_pending_rollback_first(outage: Stopping) -> None:
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


async def test_a_rollback_lifted_by_hand_before_it_was_written_is_not_written(
    outage: Stopping, kill_path: Path
) -> None:
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


async def test_a_local_kill_ends_when_the_accepted_store_is_in_force(
    seeded: Store, follower: Follower, clock: Any, store_path: Path
) -> None:
    stops = Stops(FlagWriter(seeded, follower, clock))
    lose(store_path)
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
    lose(store_path)
    stops = Stops(FlagWriter(seeded, follower, clock))
    assert (await stops.roll_back("summarize", actor="ann", reason="bad")).store == "ok"
    assert not await elsewhere.refresh()
    assert elsewhere.snapshot.features["summarize"].flag.share_millipct == 0


async def test_what_one_feature_lacks_keeps_no_other_stop_waiting(outage: Stopping, kill_path: Path) -> None:
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


async def test_a_written_kill_has_not_failed_because_of_the_kill_file(outage: Stopping, kill_path: Path) -> None:
    class Jammed(Follower):
        async def unkill_locally(self, feature: str) -> None:
            kill_path.unlink()
            kill_path.mkdir()
            await super().unkill_locally(feature)

    follower = Jammed(outage.store, WallClock(), kill_file=kill_path)
    assert await follower.refresh()
    stops = Stops(FlagWriter(outage.store, follower, WallClock()))
    outcome = await stops.kill("summarize", actor="ann", reason="errors")
    assert (outcome.store, outcome.killed, follower.is_killed_locally("summarize")) == ("ok", True, True)
