"""A store that has lost data: the last good snapshot stays, and operators can still stop."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from rollout.adapters import open_store
from rollout.core import commands
from rollout.core.audit import record_change
from rollout.core.errors import StoreReset
from rollout.core.evaluate import decide
from rollout.core.model import Arm, FeatureFlag, Reason, Subject
from rollout.core.position import Position, Standing
from rollout.follower import Follower
from rollout.ports import Store
from rollout.seed import ensure_features
from tests.rollout.admin_port import WANTED
from tests.rollout.stores import lose, remove


async def change(store: Store, step: Any, feature: str = "summarize") -> FeatureFlag:
    before = await store.get(feature)
    assert before is not None
    after = step(before)
    entry = record_change(before, after, actor="ann", command="change", reason="r", at_s=1.0)
    return await store.put_if_revision(after, before.revision, entry)


async def set_share(store: Store, share: int) -> FeatureFlag:
    return await change(store, lambda flag: commands.set_share(flag, share))


def share(follower: Follower) -> int:
    return follower.snapshot.features["summarize"].flag.share_millipct


@pytest.fixture
async def at_25(seeded: Store, clock: Any, tmp_path: Path) -> Follower:
    """A follower that has seen 25 %."""
    await set_share(seeded, 25_000)
    made = Follower(seeded, clock, last_good=tmp_path / "good.json")
    assert await made.refresh()
    return made


async def begin_anew(store_path: Path, clock: Any) -> Store:
    """Lose the data, and let another gateway create its features again."""
    lose(store_path)
    fresh = open_store(f"sqlite:///{store_path}")
    await ensure_features(fresh, WANTED, clock)
    return fresh


async def test_an_empty_store_replaces_nothing_also_after_a_restart(
    seeded: Store, at_25: Follower, clock: Any, store_path: Path, tmp_path: Path
) -> None:
    lose(store_path)
    restarted = Follower(seeded, clock, last_good=tmp_path / "good.json")
    for follower in (at_25, restarted):
        assert not await follower.refresh()
        assert isinstance(follower.last_error, StoreReset)
        assert (follower.standing, share(follower)) == (Standing.EMPTIED, 25_000)
    clock.at_s += 30
    assert at_25.age_s(clock.now_s()) == 30


async def test_a_store_begun_anew_raises_nothing_until_that_is_accepted(
    seeded: Store, at_25: Follower, clock: Any, store_path: Path, tmp_path: Path
) -> None:
    fresh = await begin_anew(store_path, clock)
    for _ in range(30):
        await set_share(fresh, 90_000)  # its version passes the one that was seen
    restarted = Follower(fresh, clock, last_good=tmp_path / "good.json")
    for follower in (at_25, restarted):
        assert not await follower.refresh()
        assert (follower.standing, share(follower)) == (Standing.REPLACED, 25_000)
        assert follower.flags["summarize"].share_millipct == 25_000
    assert await fresh.accept_loss(at_25.position)
    for follower in (at_25, restarted):
        assert await follower.refresh()
        assert (follower.standing, share(follower)) == (Standing.FOLLOWS, 90_000)
        assert follower.last_error is None
    await fresh.close()


async def test_kills_and_smaller_shares_of_a_store_begun_anew_count(
    seeded: Store, at_25: Follower, clock: Any, store_path: Path
) -> None:
    fresh = await begin_anew(store_path, clock)
    await set_share(fresh, 10_000)
    assert not await at_25.refresh()
    assert share(at_25) == 10_000
    held = at_25.snapshot
    assert not await at_25.refresh()
    assert at_25.snapshot is held
    await change(fresh, lambda flag: commands.kill(flag, actor="ann", reason="r", at_s=1.0))
    assert not await at_25.refresh()
    assert decide(at_25.snapshot, "summarize", Subject("c")).reason is Reason.KILLED
    await change(fresh, commands.unkill)
    assert not await at_25.refresh()
    assert decide(at_25.snapshot, "summarize", Subject("c")).reason is Reason.SPLIT
    await fresh.close()


async def test_a_local_kill_is_not_lifted_by_a_loss(
    seeded: Store, at_25: Follower, clock: Any, store_path: Path
) -> None:
    await at_25.kill_locally("draft")
    fresh = await begin_anew(store_path, clock)
    assert not await at_25.refresh()
    assert decide(at_25.snapshot, "draft", Subject("c")).reason is Reason.KILLED
    await at_25.unkill_locally("draft")
    assert decide(at_25.snapshot, "draft", Subject("c")).arm is Arm.BASELINE
    assert share(at_25) == 0  # still no more than the store has
    await fresh.close()


async def test_a_store_that_went_back_is_followed_again_when_it_passes_what_was_seen(
    seeded: Store, at_25: Follower, clock: Any, store_path: Path
) -> None:
    await seeded.close()
    backup = store_path.with_name("backup.db")
    shutil.copy(store_path, backup)
    ahead = open_store(f"sqlite:///{store_path}")
    follower = Follower(ahead, clock)
    for value in (30_000, 20_000):
        await set_share(ahead, value)
    assert await follower.refresh()
    await ahead.close()
    remove(store_path)
    shutil.copy(backup, store_path)
    behind = open_store(f"sqlite:///{store_path}")
    again = Follower(behind, clock)
    again._adopt(follower.position, follower.flags)
    assert not await again.refresh()
    assert (again.standing, share(again)) == (Standing.WENT_BACK, 20_000)
    for value in (40_000, 50_000):
        await set_share(behind, value)
    assert await again.refresh()
    assert (again.standing, share(again)) == (Standing.FOLLOWS, 50_000)
    await behind.close()


async def test_a_follower_that_knows_no_feature_takes_what_it_finds(seeded: Store, clock: Any) -> None:
    follower = Follower(seeded, clock)
    follower._adopt(Position(1, 99), {})
    assert await follower.refresh()
    assert follower.position == await seeded.position()


class Exchanged:
    """A store that is exchanged between two calls."""

    def __init__(self, store: Store) -> None:
        self._store, self.asked = store, 0

    async def position(self) -> Position:
        self.asked += 1
        return (await self._store.position())._replace(generation=self.asked)

    async def load(self) -> tuple[int, dict[str, FeatureFlag]]:
        return await self._store.load()


async def test_a_store_exchanged_while_it_is_read_is_not_taken(seeded: Store, clock: Any) -> None:
    follower = Follower(Exchanged(seeded), clock)  # type: ignore[arg-type]
    assert not await follower.refresh()
    assert not follower.flags
    assert "exchanged while it was read" in str(follower.last_error)
