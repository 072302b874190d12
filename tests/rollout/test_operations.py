"""Commands among other writers; their HTTP face has its own tests."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.adapters.sqlite import SqliteStore
from rollout.controller import Controller, World
from rollout.core.audit import record_change
from rollout.core.enrolment import EnrolmentStep
from rollout.core.errors import RevisionConflict, StoreReset
from rollout.core.ramp_model import Phase, Progress, RampPlan, Step
from rollout.follower import Follower
from rollout.operations import Operations
from rollout.ports import Store
from rollout.seed import ensure_features
from tests.rollout.stores import ContendedStore, lose


@pytest.fixture
async def operations(contended: ContendedStore, clock: Any) -> Operations:
    follower = Follower(contended, clock)
    await follower.refresh()
    return Operations(contended, follower, clock)


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


class Interrupted(SqliteStore):
    """A real store in which an operator acts between a controller's reading and its writing."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def get_memory(self, feature: str) -> tuple[int, bytes] | None:
        found, meanwhile = await super().get_memory(feature), self.meanwhile
        self.meanwhile = None
        if meanwhile is not None:
            await meanwhile()
        return found


async def test_a_share_by_hand_is_not_overwritten_by_the_next_tick(store_path: Path, clock: Any) -> None:
    store = Interrupted(store_path)
    await ensure_features(store, {"summarize": ("inhouse", "partner")}, clock)
    before = await store.get("summarize")
    assert before is not None
    plan = RampPlan(steps=(Step(share=1_000), Step(share=50_000)))
    running = Progress(phase=Phase.RUNNING, attempt=1, step=0, ramp_began_s=900.0, step_began_s=950.0)
    after = replace(before, ramp=plan, progress=running, share_millipct=1_000)
    entry = record_change(before, after, actor="config", command="start", reason="r", at_s=1.0)
    await store.put_if_revision(after, 1, entry)
    operations = Operations(store, Follower(store, clock), clock)
    store.meanwhile = partial(
        operations.set_share, "summarize", 700, expected_revision=2, actor="ann", reason="too fast"
    )
    controller = Controller(store, World(clock, "one"))
    for _ in range(3):
        await controller.turn()
        clock.at_s += 60
    flag = await store.get("summarize")
    assert flag is not None
    assert (flag.share_millipct, flag.revision, flag.progress.phase) == (700, 3, Phase.PAUSED)
    assert controller.conflicts == 1
    await store.close()


async def test_a_loss_is_accepted_by_a_person_and_for_all(
    seeded: Store, clock: Any, store_path: Path, kill_path: Path
) -> None:
    here, elsewhere = Follower(seeded, clock, kill_file=kill_path), Follower(seeded, clock)
    operations = Operations(seeded, here, clock)
    for follower in (here, elsewhere):
        assert await follower.refresh()
    assert await operations.accept_loss(actor="ann", reason="why not") is None
    lose(store_path)
    await ensure_features(seeded, {"summarize": ("inhouse-2", "partner")}, clock)
    assert not await elsewhere.refresh()
    shown = await Operations(seeded, elsewhere, clock).read()
    assert (shown.flags, "lost data" in shown.store) == (elsewhere.flags, True)
    assert await operations.accept_loss(actor="ann", reason="the disk is gone") == here.position
    for follower in (here, elsewhere):
        assert await follower.refresh()
        assert follower.flags == (await seeded.load())[1]
    assert [entry.command for entry in await seeded.history("summarize")] == ["accept-loss", "create"]
    assert set(here.flags) == set((await seeded.load())[1]) > {"summarize"}


async def test_a_loss_is_accepted_among_other_writers(contended: ContendedStore, clock: Any, store_path: Path) -> None:
    told: list[tuple[str, str]] = []

    async def restore(actor: str, reason: str) -> None:
        told.append((actor, reason))

    follower = Follower(contended, clock)
    operations = Operations(contended, follower, clock, restore=restore)
    assert await follower.refresh()
    await operations.set_share("summarize", 5_000, expected_revision=1, actor="ann", reason="r")
    lose(store_path)
    await ensure_features(contended, {"summarize": ("inhouse", "partner"), "new": ("inhouse", "partner")}, clock)
    flag = await contended.get("summarize")
    assert flag is not None
    entry = record_change(flag, flag, actor="bob", command="own", reason="r", at_s=1.0)
    await contended.put_if_revision(replace(flag, share_millipct=90_000), flag.revision, entry)
    contended.rivals = 2
    assert await operations.accept_loss(actor="ann", reason=" the disk is gone ")
    flags = (await contended.load())[1]
    assert {name: flag.share_millipct for name, flag in flags.items()} == {"summarize": 5_000, "new": 0}
    assert flags["new"].owner == "xx"
    assert told == [("ann", "the disk is gone")]
    lose(store_path)
    await ensure_features(contended, {"summarize": ("inhouse", "partner")}, clock)
    contended.rivals = 1_000
    with pytest.raises(RevisionConflict):
        await operations.accept_loss(actor="ann", reason="r")


async def test_what_needs_the_data_of_a_store_that_lost_them_says_so(
    seeded: Store, clock: Any, store_path: Path, kill_path: Path
) -> None:
    follower = Follower(seeded, clock, kill_file=kill_path)
    operations = Operations(seeded, follower, clock)
    assert await follower.refresh()
    why = {"actor": "ann", "reason": "r"}
    lose(store_path)
    for _ in range(2):
        for asked in (
            operations.set_share("summarize", 1, expected_revision=1, **why),
            operations.enrol("summarize", EnrolmentStep.REQUEST, "t", **why),
            operations.unkill("summarize", **why),
            operations.history("summarize", limit=1, before_id=None),
        ):
            with pytest.raises(StoreReset) as fault:
                await asked
            assert "accept-loss" in fault.value.hint
        assert not await follower.refresh()
    assert (await operations.kill("summarize", **why)).killed
    assert (await operations.read()).flags["summarize"].share_millipct == 0
