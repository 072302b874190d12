import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.core import ramp_commands as commands
from rollout.core.audit import record_change
from rollout.core.audit import replay as replayed
from rollout.core.errors import InvalidDocument, StoreReset
from rollout.core.model import FeatureFlag
from rollout.core.position import Position
from rollout.core.ramp_commands import Order
from rollout.core.ramp_flag import applied, ramp_of
from rollout.core.ramp_model import Gate, GateKind, GateMemory, GateRecord, Phase, RampPlan, Role, Step
from rollout.core.ramp_plan import Findings
from rollout.core.ramp_shown import decode_memory, encode_memory
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


PLAN = RampPlan(steps=(Step(share=1_000, bake="10s"), Step(share=50_000, bake="10s")))

COMPARED = Gate(
    name="failing",
    role=Role.HARD,
    source="evidence",
    kind=GateKind.HARM,
    metric="errors",
    margin=0.005,
    alpha=0.05,
)


async def ramping(store: Store, at_s: float, *verbs: Any) -> FeatureFlag:
    """`summarize` with a ramp, after these commands."""
    before = await store.get("summarize")
    assert before is not None
    order = Order("ann", "try it", at_s)
    flag = replace(before, ramp=PLAN)
    flag = applied(flag, commands.create(ramp_of(flag, GateMemory()), order, Findings()))
    for verb in verbs:
        flag = applied(flag, verb(ramp_of(flag, GateMemory()), order))
    entry = record_change(before, flag, actor="ann", command="try", reason="try it", at_s=at_s)
    return await store.put_if_revision(flag, before.revision, entry)


@pytest.mark.parametrize("verbs", [(commands.start,), (commands.start, commands.pause)])
async def test_another_candidate_ends_a_ramp_under_way(seeded: Store, clock: Any, verbs: Any) -> None:
    before = await ramping(seeded, clock.now_s(), *verbs)
    memory = GateMemory(before.progress.attempt, {"errors": GateRecord(streak=2)})
    await seeded.put_memory("summarize", before.revision, encode_memory(memory))
    await ensure_features(seeded, {"summarize": ("inhouse-2", "partner")}, clock)
    flag = await seeded.get("summarize")
    assert flag is not None
    assert (flag.candidate, flag.share_millipct, flag.ramp) == ("inhouse-2", 1_000, PLAN)
    assert (flag.progress.phase, flag.progress.step, flag.progress.proposer) == (Phase.READY, -1, "config")
    entries = await seeded.history("summarize")
    told = [(entry.command, entry.reason) for entry in entries[:2]]
    assert told == [
        ("rename", "the configuration names other upstreams"),
        ("end", "the configuration names another candidate, or another baseline to compare it with"),
    ]
    assert replayed(reversed(entries))["summarize"] == flag
    stored = await seeded.get_memory("summarize")
    assert stored is not None
    assert decode_memory(stored[1]) == GateMemory()


@pytest.mark.parametrize("verbs", [(), (commands.start, commands.roll_back), (commands.start, commands.complete)])
async def test_a_ramp_that_does_not_run_is_only_renamed(seeded: Store, clock: Any, verbs: Any) -> None:
    before = await ramping(seeded, clock.now_s(), *verbs)
    await ensure_features(seeded, {"summarize": ("inhouse-2", "partner")}, clock)
    flag = await seeded.get("summarize")
    assert flag == replace(before, candidate="inhouse-2", revision=before.revision + 1)


async def test_another_baseline_ends_a_ramp_that_compares_with_it(seeded: Store, clock: Any) -> None:
    before = await ramping(seeded, clock.now_s(), commands.start)
    judged = replace(before, gates=(COMPARED,))
    entry = record_change(before, judged, actor="ann", command="edit", reason="r", at_s=clock.now_s())
    await seeded.put_if_revision(judged, before.revision, entry)
    await ensure_features(seeded, {"summarize": ("inhouse", "partner-2")}, clock)
    flag = await seeded.get("summarize")
    assert flag is not None
    assert (flag.baseline, flag.progress.phase) == ("partner-2", Phase.READY)


async def test_another_baseline_ends_no_ramp(seeded: Store, clock: Any) -> None:
    before = await ramping(seeded, clock.now_s(), commands.start)
    await ensure_features(seeded, {"summarize": ("inhouse", "partner-2")}, clock)
    flag = await seeded.get("summarize")
    assert flag == replace(before, baseline="partner-2", revision=before.revision + 1)


async def test_a_ramp_without_a_plan_ends_too(seeded: Store, clock: Any) -> None:
    before = await ramping(seeded, clock.now_s(), commands.start)
    bare = replace(before, ramp=None)
    entry = record_change(before, bare, actor="ann", command="edit", reason="r", at_s=clock.now_s())
    await seeded.put_if_revision(bare, before.revision, entry)
    await ensure_features(seeded, {"summarize": ("inhouse-2", "partner")}, clock)
    flag = await seeded.get("summarize")
    assert flag is not None
    assert (flag.candidate, flag.progress.phase) == ("inhouse-2", Phase.DRAFT)


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
