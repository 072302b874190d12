"""Kills, pauses and rollbacks among other writers, and in stores that hang."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters.sqlite import SqliteStore
from rollout.core.errors import UnknownFeature
from rollout.core.model import FeatureFlag
from rollout.core.ramp_model import Phase, Rollback
from rollout.core.ramp_table import Capacity
from rollout.flag_writer import FlagWriter
from rollout.follower import Follower
from rollout.ports import Store
from rollout.seed import ensure_features
from rollout.stops import Stops
from tests.rollout.stores import ContendedStore, run_ramp


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
    deadline_s = time.monotonic() + 60
    while not follower.is_killed_locally("summarize"):
        assert time.monotonic() < deadline_s, "the traffic was not taken away"
        await asyncio.sleep(0.01)
    store.free.set()
    outcome = await ordered
    assert (outcome.store, outcome.killed) == ("ok", False)
    assert not follower.killed_locally
    assert follower.flags["summarize"].share_millipct == 0
    await store.close()
