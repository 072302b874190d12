import asyncio
import sqlite3
from contextlib import asynccontextmanager, closing, suppress

import numpy as np
import pytest
from msgspec.structs import replace

from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.controller import ACTOR, Controller, World
from rollout.core import ramp_commands as commands
from rollout.core.audit import record_change
from rollout.core.audit import replay as replayed
from rollout.core.errors import StaleWriter
from rollout.core.evidence.ledger import gathered
from rollout.core.evidence.plans import EPOCH_S, errors_key, key_of, series_of, vector_of
from rollout.core.evidence.score import Units
from rollout.core.gates import Result
from rollout.core.model import State
from rollout.core.position import Position, Standing
from rollout.core.ramp_commands import Order
from rollout.core.ramp_flag import applied, ramp_of
from rollout.core.ramp_model import (
    FailureRule,
    Gate,
    GateKind,
    GateMemory,
    Phase,
    Progress,
    RampPlan,
    Role,
    Rollback,
    Step,
)
from rollout.core.ramp_plan import Findings
from rollout.core.ramp_shown import decode_shown
from rollout.core.readings import measured, no_data, unusable
from rollout.core.request_sums import requests_key
from rollout.core.sums import SumKey

GATE = Gate(
    name="errors",
    role=Role.HARD,
    source="promql",
    kind=GateKind.THRESHOLD,
    query="errors[$elapsed]",
    limit=0.02,
    failure=FailureRule(count=2),
)
PLAN = RampPlan(steps=(Step(share=1_000, bake="10s"), Step(share=50_000, bake="10s")), post_monitor="5s")


class Meter:
    """A source of one metric that says what it was told to."""

    def __init__(self, clock) -> None:
        self.clock, self.value, self.asked = clock, 0.001, []

    async def read(self, query):
        self.asked.append(query.expression)
        if isinstance(self.value, float):
            return measured(self.value, self.clock.at_s, from_s=self.clock.at_s)
        return self.value

    async def close(self) -> None:
        pass


@pytest.fixture
def meter(clock) -> Meter:
    return Meter(clock)


@pytest.fixture
def make(seeded, clock, meter):
    def controller(holder: str = "one", store=seeded, every_s: float = 60.0, **world: object) -> Controller:
        return Controller(store, World(clock, holder, **{"metrics": meter, **world}), every_s=every_s)

    return controller


@pytest.fixture
async def running(seeded, clock):
    """A ramp of `summarize` that has been started."""
    before = await seeded.get("summarize")
    flag = replace(before, ramp=PLAN, gates=(GATE,))
    order = Order("ann", "try it", clock.at_s)
    made = commands.create(ramp_of(flag, GateMemory()), order, Findings())
    made = commands.start(ramp_of(applied(flag, made), GateMemory()), order)
    after = applied(flag, made)
    entry = record_change(before, after, actor="ann", command="start", reason="try it", at_s=clock.at_s)
    return await seeded.put_if_revision(after, before.revision, entry)


async def moves(store) -> list[str]:
    """What controllers have done to the ramp, oldest first."""
    entries = await store.history("summarize")
    return [entry.command for entry in reversed(entries) if entry.actor == ACTOR]


async def look(controller: Controller) -> None:
    """One turn, with all of its looks: on a slow machine `turn` leaves one that lasts to itself."""
    await controller.turn()
    while controller._looks:
        await asyncio.wait(controller._looks.values())


async def turns(controller: Controller, clock, seconds: int) -> None:
    for _ in range(seconds):
        await look(controller)
        clock.at_s += 1


async def test_a_ramp_is_walked_to_its_end(make, running, seeded, clock) -> None:
    await turns(make(), clock, 40)
    flag = await seeded.get("summarize")
    assert (flag.progress.phase, flag.share_millipct) == (Phase.COMPLETED, 50_000)
    assert await moves(seeded) == ["advance", "monitor", "complete"]


async def test_replay_of_the_audit_log_is_the_state(make, running, seeded, clock) -> None:
    await turns(make(), clock, 40)
    entries = await seeded.history("summarize")
    assert replayed(reversed(entries))["summarize"] == await seeded.get("summarize")


async def test_a_breach_rolls_back_after_the_gates_rule(make, running, seeded, clock, meter) -> None:
    controller = make()
    await turns(controller, clock, 5)
    meter.value = 0.5
    await turns(controller, clock, 1)
    assert (await seeded.get("summarize")).progress.phase is Phase.RUNNING
    await turns(controller, clock, 1)
    flag = await seeded.get("summarize")
    assert (flag.progress.phase, flag.share_millipct) == (Phase.ROLLED_BACK, 0)
    assert "errors" in flag.progress.rolled_back.reason


async def test_an_entry_says_what_the_gates_had_said(make, running, seeded, clock, meter) -> None:
    controller = make()
    await turns(controller, clock, 5)
    meter.value = 0.5
    await turns(controller, clock, 2)
    rolled_back, *_ = await seeded.history("summarize")
    (verdict,) = rolled_back.verdicts
    assert (verdict.gate, verdict.result, verdict.value, verdict.limit) == ("errors", Result.FAIL, 0.5, 0.02)


async def test_what_was_seen_is_kept_for_every_replica(make, running, seeded, clock) -> None:
    await turns(make(), clock, 5)
    flag = await seeded.get("summarize")
    revision, raw = await seeded.get_memory("summarize")
    shown = decode_shown(raw)
    assert (revision, shown.revision, shown.holder, shown.phase) == (flag.revision, flag.revision, "one", Phase.RUNNING)
    assert [hold.reason for hold in shown.holds] == ["baking"]


async def test_a_defect_in_one_ramp_holds_no_other_up(make, running, seeded, clock, meter, caplog) -> None:
    flag = await seeded.get("summarize")
    other = replace(flag, feature="reply", gates=(replace(GATE, query="boom"),), revision=0)
    entry = record_change(None, other, actor="ann", command="start", reason="too", at_s=clock.at_s)
    await seeded.put_if_revision(other, 0, entry)
    read = meter.read

    async def reads(query):
        if query.expression == "boom":
            raise ZeroDivisionError
        return await read(query)

    meter.read = reads
    await turns(make(), clock, 40)
    phases = {name: each.progress.phase for name, each in (await seeded.load())[1].items()}
    assert (phases["summarize"], phases["reply"]) == (Phase.COMPLETED, Phase.RUNNING)
    assert "reply: the controller holds" in caplog.text


async def test_a_step_waits_for_its_samples(make, seeded, running, clock) -> None:
    steps = tuple(replace(step, min_samples=20) for step in PLAN.steps)
    flag = replace(running, ramp=replace(PLAN, steps=steps))
    entry = record_change(running, flag, actor="ann", command="edit", reason="r", at_s=clock.at_s)
    flag = await seeded.put_if_revision(flag, running.revision, entry)
    controller, key = make(), requests_key("summarize", flag.progress)
    await seeded.add_sums({key: [19, 900]}, "a")
    await turns(controller, clock, 20)
    (hold,) = controller.shown["summarize"].holds
    assert (hold.reason, hold.value, hold.limit) == ("insufficient_samples", 19, 20)
    await seeded.add_sums({key: [1, 0]}, "b")
    await turns(controller, clock, 1)
    flag = await seeded.get("summarize")
    assert flag.share_millipct == 50_000
    await turns(controller, clock, 20)
    (hold,) = controller.shown["summarize"].holds
    assert (hold.reason, hold.value, hold.limit) == ("insufficient_samples", 0, 20)


async def test_a_step_that_the_plan_has_no_more_asks_for_no_samples(make, seeded, running, clock) -> None:
    flag = replace(running, progress=replace(running.progress, step=7))
    entry = record_change(running, flag, actor="ann", command="edit", reason="r", at_s=clock.at_s)
    await seeded.put_if_revision(flag, running.revision, entry)
    await turns(make(), clock, 1)
    assert (await seeded.get("summarize")).progress.phase is Phase.PAUSED


async def test_a_rollback_takes_no_more_than_the_partner_bears_now(make, seeded, running, clock, meter) -> None:
    rollback = Rollback(partner_capacity_check=True, baseline_capacity="room")
    flag = replace(running, rollback=rollback, share_millipct=60_000)
    entry = record_change(running, flag, actor="ann", command="edit", reason="r", at_s=clock.at_s)
    await seeded.put_if_revision(flag, running.revision, entry)
    controller, room = make(), [0.7]
    read = meter.read

    async def reads(query):
        return measured(room[0], clock.at_s) if query.expression == "room" else await read(query)

    meter.read, meter.value = reads, 0.5
    await turns(controller, clock, 4)
    flag = await seeded.get("summarize")
    assert (flag.progress.phase, flag.share_millipct) == (Phase.ROLLED_BACK, 30_000)
    room[0] = 1.0
    await turns(controller, clock, 2)
    assert (await seeded.get("summarize")).share_millipct == 0


async def test_failures_counted_survive_a_restart_of_the_controller(make, running, seeded, clock, meter) -> None:
    first = make()
    await turns(first, clock, 5)
    meter.value = 0.5
    await turns(first, clock, 1)
    await first.release()
    await turns(make("two"), clock, 1)
    assert (await seeded.get("summarize")).progress.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("value", [no_data("nothing"), unusable("HTTP 500"), None])
async def test_without_a_measurement_the_share_stays(make, running, seeded, clock, meter, value) -> None:
    meter.value = value
    controller = make(**({"metrics": None} if value is None else {}))
    await turns(controller, clock, 60)
    flag = await seeded.get("summarize")
    assert flag.share_millipct <= 1_000
    (verdict,) = controller.shown["summarize"].verdicts
    assert verdict.result in {Result.NO_DATA, Result.ERROR}
    assert controller.shown["summarize"].holds


async def test_of_two_one_acts_and_the_other_takes_over(make, running, seeded, clock) -> None:
    one, two = make("one"), make("two")
    for _ in range(5):
        await one.turn()
        await two.turn()
        clock.at_s += 1
    assert (one.leading, two.leading, two.shown) == (True, False, {})
    await one.release()
    await turns(two, clock, 40)
    assert (one.leading, two.leading) == (False, True)
    assert await moves(seeded) == ["advance", "monitor", "complete"]


class Slow(Meter):
    """Answers to "slow" when it is let, and counts who waits."""

    def __init__(self, clock) -> None:
        super().__init__(clock)
        self.let, self.waiting, self.waited_max = asyncio.Event(), 0, 0

    async def read(self, query):
        if query.expression == "slow":
            self.waiting += 1
            self.waited_max = max(self.waited_max, self.waiting)
            await self.let.wait()
            self.waiting -= 1
        return await super().read(query)


async def slow_one(store, running, at_s: float, gates: int = 1) -> None:
    """A second ramp, `reply`, whose gates' queries are slow."""
    asks = tuple(replace(GATE, name=f"slow-{number}", query="slow") for number in range(gates))
    other = replace(running, feature="reply", gates=asks, revision=0)
    entry = record_change(None, other, actor="ann", command="start", reason="too", at_s=at_s)
    await store.put_if_revision(other, 0, entry)


async def test_slow_metrics_of_one_ramp_hold_no_other_up_nor_cost_the_lease(make, running, seeded, clock) -> None:
    meter = Slow(clock)
    meter.value = 0.5
    await slow_one(seeded, running, clock.at_s, gates=9)
    one, two = make("one", metrics=meter, every_s=0.2), make("two")
    for _ in range(30):
        await one.turn()
        await two.turn()
        clock.at_s += 1
    assert (one.leading, two.leading, meter.waited_max) == (True, False, 4)
    phases = {name: each.progress.phase for name, each in (await seeded.load())[1].items()}
    assert (phases["summarize"], phases["reply"]) == (Phase.ROLLED_BACK, Phase.RUNNING)
    meter.let.set()
    for _ in range(2):
        await one.turn()
        clock.at_s += 1
    assert (await seeded.get("reply")).progress.phase is Phase.ROLLED_BACK


async def test_who_is_told_to_end_leaves_no_look_behind(make, running, seeded, clock) -> None:
    meter = Slow(clock)
    await slow_one(seeded, running, clock.at_s)
    controller = make(metrics=meter, every_s=60.0)
    task = asyncio.create_task(controller.run())
    async with asyncio.timeout(30):
        while not meter.waiting:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (controller._looks, controller.leading) == ({}, False)


async def test_a_stale_controller_writes_nothing(make, running, seeded, clock) -> None:
    one, two = make("one"), make("two")
    await one.turn()
    lease = one._lease
    await seeded.release_lease(lease)
    await two.turn()
    clock.at_s += 1
    one._lease = lease._replace(until_s=clock.at_s + 60)
    for _ in range(12):
        await two.turn()
        clock.at_s += 1
    before = await seeded.get("summarize")
    clock.at_s += 20
    with suppress(StaleWriter):
        await one.turn()
    assert await seeded.get("summarize") == before


async def test_an_edit_in_between_is_not_overwritten(make, running, seeded, clock, meter) -> None:
    class Edited(Meter):
        """Somebody changes the flag while the controller measures."""

        async def read(self, query):
            now = await seeded.get("summarize")
            changed = replace(now, owner=f"edit {len(self.asked)}")
            entry = record_change(now, changed, actor="bob", command="edit", reason="r", at_s=clock.at_s)
            await seeded.put_if_revision(changed, now.revision, entry)
            return await super().read(query)

    controller = make(metrics=Edited(clock))
    await controller.turn()
    flag = await seeded.get("summarize")
    assert (controller.conflicts, flag.owner, flag.share_millipct) == (1, "edit 0", 1_000)


async def test_a_repeated_turn_changes_nothing(make, running, seeded, clock) -> None:
    controller = make()
    await turns(controller, clock, 3)
    before = await seeded.get("summarize")
    for _ in range(5):
        await controller.turn()
    assert await seeded.get("summarize") == before


async def test_a_loss_that_no_follower_has_noticed_yet_is_noticed(make, running, seeded, clock) -> None:
    generation, version = await seeded.position()
    known = [Position(generation, version + 1)]
    controller = make(known=lambda: known[0])
    await turns(controller, clock, 15)
    assert await moves(seeded) == []
    assert controller.shown == {}
    known[0] = Position(generation, version)
    await turns(controller, clock, 1)
    assert await moves(seeded) == ["advance"]


async def test_while_the_store_is_in_doubt_nothing_moves(make, running, seeded, clock) -> None:
    controller = make(standing=lambda: Standing.WENT_BACK)
    await turns(controller, clock, 40)
    assert await seeded.get("summarize") == running
    assert controller.shown == {}


async def test_a_kill_on_this_replica_pauses_the_ramp(make, running, seeded, clock) -> None:
    controller = make(killed_locally=lambda feature: feature == "summarize")
    await turns(controller, clock, 1)
    assert (await seeded.get("summarize")).progress.phase is Phase.PAUSED


async def test_what_the_gates_said_before_a_kill_is_kept_while_it_lasts(make, running, seeded, clock) -> None:
    killed: set[str] = set()
    controller = make(killed_locally=killed.__contains__)
    await turns(controller, clock, 1)
    said = decode_shown((await seeded.get_memory("summarize"))[1]).verdicts
    killed.add("summarize")
    for _ in range(2):
        await turns(controller, clock, 7)
        shown = decode_shown((await seeded.get_memory("summarize"))[1])
        assert (shown.verdicts, shown.last) == ((), said)
    assert [each.gate for each in said] == [GATE.name]


async def test_flags_without_a_ramp_cost_no_measurement(make, seeded, clock, meter) -> None:
    controller = make()
    await turns(controller, clock, 3)
    assert (meter.asked, controller.shown) == ([], {})


async def test_it_runs_on_when_a_turn_fails_and_gives_its_lease_back(make, store_path, running, clock) -> None:
    store = open_store(f"sqlite:///{store_path}")
    controller = Controller(store, World(clock, "one"), every_s=0.01)
    task = asyncio.create_task(controller.run())
    async with asyncio.timeout(60):
        while not controller.leading:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.01)
    await store.close()
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not controller.leading


async def test_a_disabled_flag_is_no_ramp_that_goes_on(make, running, seeded, clock) -> None:
    flag = replace(running, state=State.DISABLED)
    entry = record_change(running, flag, actor="ann", command="apply", reason="r", at_s=clock.at_s)
    await seeded.put_if_revision(flag, running.revision, entry)
    await turns(make(), clock, 20)
    flag = await seeded.get("summarize")
    assert (flag.share_millipct, flag.progress.phase) == (1_000, Phase.PAUSED)
    assert "the flag is disabled" in flag.progress.paused.reason


class Stuck(Meter):
    """Its query of that name is never answered."""

    async def read(self, query):
        if query.expression == "stuck":
            await asyncio.Event().wait()
        return await super().read(query)


async def begin_another(store, clock, query: str) -> None:
    flag = await store.get("summarize")
    other = replace(flag, feature="reply", gates=(replace(GATE, query=query),), revision=0)
    entry = record_change(None, other, actor="ann", command="start", reason="too", at_s=clock.at_s)
    await store.put_if_revision(other, 0, entry)


@asynccontextmanager
async def run_until_done(controller: Controller):
    task = asyncio.create_task(controller.run())
    try:
        async with asyncio.timeout(60):
            yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_measurement_that_never_comes_holds_its_own_ramp_only(running, seeded, clock) -> None:
    await begin_another(seeded, clock, "stuck")
    controller = Controller(seeded, World(clock, "one", metrics=Stuck(clock)), every_s=0.01)
    async with run_until_done(controller):
        while (await seeded.get("summarize")).progress.phase is not Phase.COMPLETED:
            clock.at_s += 1
            await asyncio.sleep(0.01)
    assert (await seeded.get("reply")).progress.phase is Phase.RUNNING
    assert controller._looks == {}


async def test_the_lease_is_kept_while_measurements_take_their_time(running, seeded, clock) -> None:
    flag = replace(running, gates=(replace(GATE, query="stuck"),))
    entry = record_change(running, flag, actor="ann", command="edit", reason="r", at_s=clock.at_s)
    await seeded.put_if_revision(flag, running.revision, entry)
    controller = Controller(seeded, World(WallClock(), "one", metrics=Stuck(clock)), every_s=1e6, ttl_s=2.0)
    async with run_until_done(controller):
        seen = set()
        while len(seen) < 3:
            if controller._lease is not None:
                seen.add(controller._lease.until_s)
            await asyncio.sleep(0.01)
        assert len({controller._lease.token}) == 1


async def test_a_flag_that_cannot_be_read_leaves_other_ramps_watched(make, seeded, running, clock, store_path) -> None:
    with closing(sqlite3.connect(store_path)) as db:
        db.execute("UPDATE flags SET document = 'garbage' WHERE feature = 'draft'")
        db.commit()
    await turns(make(), clock, 40)
    assert (await seeded.get("summarize")).progress.phase is Phase.COMPLETED


HARM = Gate(
    name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.02, alpha=0.05
)


def failing_units(flag, epoch: int) -> dict:
    """Of each arm 200 units, of which all of the candidate's failed."""
    (series,) = series_of(flag)
    number = 400
    arms = np.arange(number) % 2
    units = Units(np.full(number, 50_000), arms == 0, arms * 1.0, np.full(number, 0.9))
    key = key_of("summarize", flag.progress, series.prefix, epoch)
    return {key: vector_of(gathered(series.plan, units)), errors_key(flag, epoch): [200, 0, 200, 200]}


async def test_a_gate_of_evidence_is_judged_by_the_sums(running, seeded, make, clock) -> None:
    """Neither shown: hold. Harm shown: roll back."""
    entry = record_change(running, running, actor="ann", command="apply", reason="gate", at_s=clock.at_s)
    flag = await seeded.put_if_revision(replace(running, gates=(HARM,)), running.revision, entry)
    clock.at_s += 91.0  # the first units should have come
    controller = make()
    await look(controller)
    (verdict,) = controller.shown["summarize"].verdicts
    assert (verdict.result, verdict.reason) == (Result.NO_DATA, "0 of 1 units; no unit has come of age")
    await seeded.add_sums(failing_units(flag, 0), "1")
    await look(controller)
    assert (await moves(seeded))[-1] == "roll_back"


async def test_what_was_shown_in_an_earlier_attempt_does_not_stop_the_next_one(running, seeded, make, clock) -> None:
    entry = record_change(running, running, actor="ann", command="apply", reason="anew", at_s=clock.at_s)
    progress = Progress(phase=Phase.READY, attempt=running.progress.attempt)
    ready = replace(running, gates=(HARM,), share_millipct=0, progress=progress)
    flag = await seeded.put_if_revision(ready, running.revision, entry)
    await seeded.add_sums(failing_units(flag, 0), "1")
    controller = make()
    await look(controller)
    assert await moves(seeded) == []
    assert controller.shown["summarize"].phase is Phase.READY


async def test_evidence_of_long_ago_is_folded_by_the_leader(running, seeded, make, clock) -> None:
    gate = replace(HARM, role=Role.SOFT, margin=0.9)
    entry = record_change(running, running, actor="ann", command="apply", reason="gate", at_s=clock.at_s)
    flag = await seeded.put_if_revision(replace(running, gates=(gate,)), running.revision, entry)
    for epoch in (0, 1):
        await seeded.add_sums(failing_units(flag, epoch), f"{epoch}")
    one = make()
    await look(one)
    before = one.shown["summarize"].verdicts
    clock.at_s = flag.progress.ramp_began_s + 3.5 * EPOCH_S + 700.0
    await look(one)
    names = {key.name for key in await seeded.read_sums("summarize")}
    (series,) = series_of(flag)
    assert f"folded.{series.prefix}" in names
    assert not any(name.startswith(series.prefix) for name in names)
    assert one.shown["summarize"].verdicts[0].value == before[0].value


async def test_what_was_worked_out_of_the_same_sums_is_kept(running, seeded, make, clock) -> None:
    entry = record_change(running, running, actor="ann", command="apply", reason="gate", at_s=clock.at_s)
    flag = await seeded.put_if_revision(
        replace(running, gates=(replace(HARM, role=Role.OBSERVE),)), running.revision, entry
    )
    await seeded.add_sums(failing_units(flag, 0), "1")
    controller = make()
    seen = []
    for flush in ("", "2", "", ""):
        if flush:
            await seeded.add_sums(failing_units(flag, 0), flush)
        await look(controller)
        seen.append((controller._known["summarize"], controller.shown["summarize"]))
        clock.at_s += 1.0
    (first, one), (second, two), (third, three), (fourth, _) = seen
    assert first is not second
    assert second is third is fourth
    assert [each.verdicts[0].samples for each in (one, two, three)] == [400, 800, 800]
    flag = await seeded.get("summarize")
    entry = record_change(flag, flag, actor="ann", command="apply", reason="off", at_s=clock.at_s)
    at_rest = replace(flag, progress=replace(flag.progress, phase=Phase.COMPLETED))
    await seeded.put_if_revision(at_rest, flag.revision, entry)
    await look(controller)
    assert not controller._known


async def foreign(store, running, clock, name: str):
    """A ramp with gates of both sources, and a sum of theirs that nobody of this version writes."""
    entry = record_change(running, running, actor="ann", command="apply", reason="gates", at_s=clock.at_s)
    gates = (replace(GATE, failure=None), HARM, replace(HARM, name="form", metric="form"))
    flag = await store.put_if_revision(replace(running, gates=gates), running.revision, entry)
    await store.add_sums({SumKey("summarize", flag.progress.attempt, name): [1, 2, 3, 4, 5]}, "foreign")
    return flag


@pytest.mark.parametrize("name", ["errors.30.0.0.50000", "errors.30.0", "folded.errors.30.bets1.0.02"])
async def test_sums_of_another_version_cost_a_gate_no_more_than_its_own_answer(
    running, seeded, make, clock, meter, caplog, name: str
) -> None:
    await foreign(seeded, running, clock, name)
    controller = make()
    await turns(controller, clock, 3)
    results = {each.gate: each for each in controller.shown["summarize"].verdicts}
    assert [results[gate].result for gate in ("errors", "worse")] == [Result.PASS, Result.ERROR]
    assert repr(name) in results["worse"].reason
    assert results["form"].result is not Result.ERROR
    told = [each for each in caplog.messages if "not folded" in each]
    assert len(told) == (0 if "bets1" in name else 1)  # nothing is over yet
    meter.value = 0.5
    await look(controller)
    assert (await seeded.get("summarize")).progress.phase is Phase.ROLLED_BACK


async def test_a_sample_ratio_that_nobody_can_read_pauses_the_ramp(running, seeded, make, clock) -> None:
    await foreign(seeded, running, clock, "units.x")
    await look(make())
    paused = (await seeded.get("summarize")).progress
    assert (paused.phase, paused.paused.by) == (Phase.PAUSED, "system")
    assert "'units.x' can't be read" in paused.paused.reason


async def test_a_replacement_that_no_store_takes_is_told_once_and_costs_no_look(
    running, seeded, make, clock, meter, caplog
) -> None:
    flag = await foreign(seeded, running, clock, "new.sum")
    for epoch in (0, 1):
        await seeded.add_sums({errors_key(flag, epoch): [2**61, 0, 2**62 - 1, 0]}, f"{epoch}")
    clock.at_s = flag.progress.ramp_began_s + 5 * EPOCH_S + 700.0
    controller = make()
    await turns(controller, clock, 3)
    meter.value = 0.5
    await look(controller)
    assert len([each for each in caplog.messages if "leaves the range" in each]) == 1
    assert (await seeded.get("summarize")).progress.phase is Phase.ROLLED_BACK
