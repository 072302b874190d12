import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.core.audit import record_change
from rollout.core.errors import InvalidDocument, StoreReset
from rollout.core.model import FeatureFlag
from rollout.core.position import Position
from rollout.core.ramp_model import Phase, Progress, RampPlan, Step
from rollout.ports import Store
from rollout.seed import ensure_features


async def test_missing_features_are_made_with_share_0(store: Store, clock: Any) -> None:
    await ensure_features(store, {"summarize": ("inhouse", "partner")}, clock)
    flag = FeatureFlag(feature="summarize", candidate="inhouse", baseline="partner", revision=1)
    assert await store.load() == (1, {"summarize": flag})
    (entry,) = await store.history("summarize")
    assert (entry.actor, entry.command, entry.at_s) == ("config", "create", clock.now_s())


async def test_what_exists_is_left_alone(seeded: Store, clock: Any) -> None:
    before = await seeded.load()
    await ensure_features(seeded, {"summarize": ("inhouse", "partner")}, clock)
    assert await seeded.load() == before


async def test_renamed_upstreams_are_followed_and_recorded(seeded: Store, clock: Any) -> None:
    await ensure_features(seeded, {"summarize": ("inhouse-2", "partner")}, clock)
    flag = await seeded.get("summarize")
    assert flag is not None
    assert (flag.candidate, flag.baseline, flag.revision) == ("inhouse-2", "partner", 2)
    entry = (await seeded.history("summarize"))[0]
    assert (entry.actor, entry.command, entry.details) == ("config", "rename", {"candidate": "inhouse-2"})


async def test_processes_that_start_at_once_make_each_feature_once(store: Store, clock: Any) -> None:
    wanted = dict.fromkeys(("one", "two", "three"), ("a", "b"))
    await asyncio.gather(*(ensure_features(store, wanted, clock) for _ in range(6)))
    assert await store.version() == 3


async def test_a_name_that_cannot_be_one_is_refused_with_its_rule(store: Store, clock: Any) -> None:
    with pytest.raises(InvalidDocument, match="feature 'a b'") as fault:
        await ensure_features(store, {"a b": ("x", "y")}, clock)
    assert "at most 64" in fault.value.hint
    assert await store.version() == 0


async def test_a_store_that_lost_its_data_is_not_begun_anew(store: Store, clock: Any) -> None:
    with pytest.raises(StoreReset, match="lost data") as fault:
        await ensure_features(store, {"summarize": ("inhouse", "partner")}, clock, Position(7, 12))
    assert "accept-loss" in fault.value.hint
    assert await store.version() == 0


async def test_a_ramp_under_way_ends_when_the_configuration_names_another_candidate(seeded: Store, clock: Any) -> None:
    before = await seeded.get("summarize")
    assert before is not None
    running = Progress(phase=Phase.RUNNING, attempt=1, step=0, ramp_began_s=1.0, step_began_s=1.0)
    flag = replace(before, ramp=RampPlan(steps=(Step(share=5_000),)), share_millipct=5_000, progress=running)
    entry = record_change(before, flag, actor="ann", command="start", reason="r", at_s=1.0)
    await seeded.put_if_revision(flag, 1, entry)
    await ensure_features(seeded, {"summarize": ("inhouse", "partner-2")}, clock)
    found = await seeded.get("summarize")
    assert found is not None
    assert (found.baseline, found.progress) == ("partner-2", running)
    await ensure_features(seeded, {"summarize": ("inhouse-2", "partner-2")}, clock)
    found = await seeded.get("summarize")
    assert found is not None
    assert (found.candidate, found.share_millipct, found.progress.phase) == ("inhouse-2", 5_000, Phase.DRAFT)
    entry = (await seeded.history("summarize"))[0]
    assert (entry.command, sorted(entry.details)) == ("rename", ["candidate", "progress"])
