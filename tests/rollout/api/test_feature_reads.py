"""What is shown of features whose ramps a real controller moves, on a store that may go away."""

# ruff: noqa: ASYNC240  these tests may block their own loop

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.api.feature_reads import FeatureReads
from rollout.controller import Controller, World
from rollout.core import ramp_commands as commands
from rollout.core.audit import record_change
from rollout.core.errors import StoreUnavailable, UnknownFeature
from rollout.core.model import FeatureFlag
from rollout.core.position import Standing
from rollout.core.ramp_commands import Order
from rollout.core.ramp_flag import applied, ramp_of
from rollout.core.ramp_model import FailureRule, Gate, GateKind, GateMemory, RampPlan, Role, Step
from rollout.core.ramp_plan import Findings
from rollout.core.readings import measured
from rollout.follower import Follower
from rollout.operations import Operations
from rollout.ports import Store

GATE = Gate(
    name="errors",
    role=Role.HARD,
    source="promql",
    kind=GateKind.THRESHOLD,
    query="errors",
    limit=0.02,
    failure=FailureRule(count=2),
)
PLAN = RampPlan(steps=(Step(share=1_000, bake="30s"), Step(share=50_000, bake="30s")))


class Meter:
    """A gate's metric that is well."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock

    async def read(self, _query: object) -> object:
        return measured(0.001, self.clock.at_s, from_s=self.clock.at_s, samples=40)

    async def close(self) -> None:
        pass


@pytest.fixture
def reads(seeded: Store, follower: Follower, clock: Any) -> FeatureReads:
    return FeatureReads(Operations(seeded, follower, clock), seeded, follower, clock)


@pytest.fixture
def write(seeded: Store, follower: Follower, clock: Any) -> Callable[[FeatureFlag], Awaitable[FeatureFlag]]:
    async def put(after: FeatureFlag) -> FeatureFlag:
        before = await seeded.get("summarize")
        entry = record_change(before, after, actor="ann", command="change", reason="r", at_s=clock.at_s)
        written = await seeded.put_if_revision(after, before.revision if before else 0, entry)
        assert await follower.refresh()
        return written

    return put


@pytest.fixture
async def running(seeded: Store, clock: Any, write: Any) -> FeatureFlag:
    before = await seeded.get("summarize")
    assert before is not None
    flag = replace(before, ramp=PLAN, gates=(GATE,))
    order = Order("ann", "try it", clock.at_s)
    flag = applied(flag, commands.create(ramp_of(flag, GateMemory()), order, Findings()))
    flag = applied(flag, commands.start(ramp_of(flag, GateMemory()), order))
    started: FeatureFlag = await write(flag)
    return started


@pytest.fixture
def controller(seeded: Store, clock: Any) -> Controller:
    return Controller(seeded, World(clock, "one", metrics=Meter(clock)))


async def holds(reads: FeatureReads) -> list[str]:
    state = (await reads.get("summarize")).ramp_state
    assert state is not None
    return [hold.text for hold in state.holds]


async def test_the_whole_flag_is_shown(reads: FeatureReads, running: FeatureFlag) -> None:
    view = await reads.get("summarize")
    assert view.ramp is not None
    assert view.ramp["steps"][0] == {
        "share": 1_000, "bake": "30s", "min_samples": 0, "max_duration": None, "approval": False
    }  # fmt: skip
    assert (view.ramp["cooldown"], view.gates[0]["name"], view.rollback["mode"]) == ("1h", "errors", "instant")
    assert (view.progress["phase"], view.progress["paused"]) == ("RUNNING", None)
    assert view.eligibility == {"audience": "everyone", "tenants": [], "early_access": [], "attributes": None}
    assert (view.shadow["salt"], view.prerequisites) == ("summarize:shadow", [])
    assert (await reads.get("draft")).ramp_state is None


async def test_what_the_controller_saw_is_shown(
    reads: FeatureReads, running: FeatureFlag, controller: Controller, clock: Any
) -> None:
    clock.at_s += 5
    await controller.turn()
    clock.at_s += 2
    state = (await reads.get("summarize")).ramp_state
    assert state is not None
    assert (state.phase, state.step, state.steps) == ("RUNNING", 0, 2)
    assert (state.step_share_millipct, state.next_share_millipct) == (1_000, 50_000)
    assert (state.looked_at_s, state.controller) == (clock.at_s - 2, "one")
    (verdict,) = state.verdicts
    assert (verdict.gate, verdict.result, verdict.value, verdict.limit, verdict.samples) == (
        "errors", "PASS", 0.001, 0.02, 40
    )  # fmt: skip
    assert [hold.text for hold in state.holds] == ["baking: 7 s of 30 s"]
    assert (state.holds[0].reason, state.holds[0].value, state.holds[0].limit) == ("baking", 7.0, 30.0)


async def test_a_ramp_that_nobody_looks_at_says_so(
    reads: FeatureReads, running: FeatureFlag, controller: Controller, clock: Any
) -> None:
    clock.at_s += 10
    assert await holds(reads) == ["baking: 10 s of 30 s"]
    clock.at_s += 1
    assert await holds(reads) == ["no_controller: nobody has looked for 11 s, limit 10 s", "baking: 11 s of 30 s"]
    await controller.turn()
    assert await holds(reads) == ["baking: 11 s of 30 s"]
    clock.at_s += 12
    assert await holds(reads) == ["no_controller: nobody has looked for 12 s, limit 10 s", "baking: 23 s of 30 s"]


async def test_an_edit_is_looked_at_anew(
    reads: FeatureReads, running: FeatureFlag, controller: Controller, clock: Any, write: Any
) -> None:
    await controller.turn()
    clock.at_s += 20
    written = await write(replace(running, owner="bob"))
    assert await holds(reads) == ["baking: 20 s of 30 s"]
    view = await reads.show(written)
    assert view.ramp_state is not None
    assert (view.revision, view.ramp_state.verdicts, view.ramp_state.looked_at_s) == (3, [], None)


async def test_a_memory_that_cannot_be_read_is_as_good_as_none(
    reads: FeatureReads, running: FeatureFlag, seeded: Store, clock: Any
) -> None:
    await seeded.put_memory("summarize", running.revision, b"{")
    clock.at_s += 11
    assert (await holds(reads))[0].startswith("no_controller")


async def test_with_the_store_away_the_last_good_flags_say_so(
    reads: FeatureReads, running: FeatureFlag, store_path: Path, clock: Any
) -> None:
    store_path.rename(store_path.with_name("away"))
    clock.at_s += 7
    shown = await reads.list()
    assert [view.feature for view in shown.features] == ["draft", "summarize"]
    assert await holds(reads) == [
        "store_unavailable: last read 7 s ago (unavailable, this is the last good snapshot)",
        "baking: 7 s of 30 s",
    ]


async def test_a_store_that_goes_away_between_two_reads_holds_too(
    reads: FeatureReads, running: FeatureFlag, store_path: Path
) -> None:
    store_path.rename(store_path.with_name("away"))
    view = await reads.show(running)
    assert view.ramp_state is not None
    assert [hold.reason for hold in view.ramp_state.holds] == ["store_unavailable", "baking"]


async def test_a_store_that_lost_data_holds(reads: FeatureReads, running: FeatureFlag, follower: Follower) -> None:
    follower.standing = Standing.WENT_BACK
    assert (await holds(reads))[0] == (
        "store_unavailable: last read 0 s ago (it lost data (went back): restore them, or accept the loss)"
    )


async def test_a_replica_that_never_read_the_store_cannot_say_how_old_its_flags_are(
    seeded: Store, running: FeatureFlag, clock: Any
) -> None:
    fresh = Follower(seeded, clock)
    reads = FeatureReads(Operations(seeded, fresh, clock), seeded, fresh, clock)
    view = await reads.show(running, "unavailable")
    assert view.ramp_state is not None
    assert view.ramp_state.holds[0].text == "store_unavailable: never read (unavailable)"


async def test_unknown_features_and_a_store_that_was_never_there(
    reads: FeatureReads, seeded: Store, store_path: Path, clock: Any
) -> None:
    with pytest.raises(UnknownFeature):
        await reads.get("sumarize")
    fresh = Follower(seeded, clock)
    store_path.rename(store_path.with_name("away"))
    with pytest.raises(StoreUnavailable):
        await FeatureReads(Operations(seeded, fresh, clock), seeded, fresh, clock).list()
