"""The design's invariants over long random histories: a simulated clock that jumps, faults, and several actors.

`World` makes the history, `Witness` knows from it alone, not from the ramp's own words, what was allowed to happen.
"""

from collections import Counter
from collections.abc import Callable
from functools import cache
from math import inf, nan
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from rollout.core import ramp_commands as commands
from rollout.core.errors import RolloutError
from rollout.core.gates import Reading, Result, Verdict
from rollout.core.ramp import tick
from rollout.core.ramp_commands import Order
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
from rollout.core.ramp_table import Capacity, EffectKind, Event, Observations, Ramp, Transition

PLAN = RampPlan(
    steps=(
        Step(share=1_000, bake="1m", min_samples=10, max_duration="20m"),
        Step(share=5_000, bake="1m", min_samples=10, approval=True),
        Step(share=20_000, bake="1m", max_duration="20m"),
        Step(share=60_000, bake="1m", min_samples=10),
    ),
    cooldown="10m",
    post_monitor="2m",
    no_data_pause="5m",
)
LIMIT, BURST, BURST_S = 3, 4, 600.0
GATES = (
    Gate(
        name="errors",
        role=Role.HARD,
        source="promql",
        kind=GateKind.THRESHOLD,
        limit=0.05,
        failure=FailureRule(count=LIMIT),
    ),
    Gate(
        name="burst",
        role=Role.HARD,
        source="promql",
        kind=GateKind.THRESHOLD,
        limit=0.05,
        failure=FailureRule(count=BURST, within="10m"),
    ),
    Gate(name="quality", role=Role.SOFT, source="evidence", kind=GateKind.NONINFERIORITY, metric="score"),
    Gate(name="cost", role=Role.OBSERVE, source="promql", kind=GateKind.THRESHOLD, limit=0.05),
)
HARD, ENFORCED = ("errors", "burst"), ("errors", "burst", "quality")
ACTORS = ("ann", "bob", "cid")
# What ends with a person as the one who may not approve it.
PROPOSING = {"create", "start", "restart", "resume", "advance", "jump", "set_share", "end"}
MOODS = {"well": (96, 2, 2), "sick": (20, 70, 10), "flaky": (75, 15, 10), "blind": (10, 5, 85)}
WAITS = [0.0, 1.0, 10.0, 20.0, 20.0, 30.0, 30.0, 60.0]
JUMPS = [-600.0, -60.0, 400.0, 3_600.0, 1e5]

Measured = Reading | Verdict | None


class Seen(NamedTuple):
    """One thing that happened. `labels`: what each gate's measurement was in truth."""

    what: str
    actor: str
    before: Ramp
    made: Transition | None
    after: Ramp
    now_s: float
    observed: Observations
    labels: dict[str, str]


def measurement(gate: str, label: str, now_s: float, since_s: float, fault: int) -> Measured:
    """A measurement that is good, bad, or by one of many faults none at all."""
    if label != "absent":
        value, from_s = (0.01 if label == "good" else 0.5), min(since_s, now_s)
        if gate == "quality":
            result = Result.PASS if label == "good" else Result.FAIL
            return Verdict(gate, result, label, now_s, from_s=from_s, value=value)
        return Reading(value, now_s, from_s, samples=50)
    verdict = Verdict(gate, Result.PASS, "", now_s, from_s=since_s, value=0.01)
    faults: list[Measured] = [
        None,
        Reading(),
        Reading(nan, now_s, since_s),
        Reading(-inf, now_s, since_s),
        Reading(0.01, now_s - 200, since_s),
        Reading(0.01, now_s, since_s, series=2),
        Reading(0.01, now_s, since_s, error="refused"),
        Reading(0.01, now_s + 60, since_s),
        Reading(0.01, now_s, since_s - 1),
        msgspec.structs.replace(verdict, value=nan),
        msgspec.structs.replace(verdict, gate="misspelt"),
        msgspec.structs.replace(verdict, from_s=since_s - 1),
    ]
    return faults[fault % len(faults)]


class Witness:
    """Holds each invariant against what is seen; `broken` and `tried` by its number."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.tried: Counter[str] = Counter()
        self.rows: dict[str, list[tuple[float, str]]] = {name: [] for name in HARD}
        self.proposer = ""
        self.approval: tuple[int, int, str] | None = None
        self.rolled_back_s = 0.0

    def holds(self, number: str, condition: bool, seen: Seen) -> None:  # noqa: FBT001
        self.tried[number] += 1
        if not condition:
            self.broken.append(f"{number}: {seen}")

    def see(self, seen: Seen) -> None:
        if seen.made is None:
            self.holds("refused", seen.after == seen.before, seen)
            return
        ticked, rises = seen.what == "tick", seen.after.share_millipct > seen.before.share_millipct
        self.kill(seen, rises=rises)
        if ticked:
            self.rise(seen, rises=rises)
            self.absence(seen, rises=rises)
            self.failure(seen)
            self.holds("12", seen.before.progress.phase is not Phase.PAUSED or not rises, seen)
        if rises:
            self.approved(seen)
        self.rollback(seen, rises=rises)
        self.remember(seen)

    def kill(self, seen: Seen, *, rises: bool) -> None:
        if seen.before.killed or seen.what == "unkill":
            running = seen.after.progress.phase in {Phase.RUNNING, Phase.MONITORING}
            self.holds("05", not rises and not running, seen)

    def rise(self, seen: Seen, *, rises: bool) -> None:
        before, after = seen.before.progress, seen.after.progress
        steps = after.step - before.step
        self.holds("06", steps in {0, 1} and (not rises or steps == 1), seen)
        if not steps:
            return
        self.tried["rises"] += 1
        observed, criteria = seen.observed, PLAN.criteria(before.step)
        began_s = before.step_began_s
        self.holds("06", seen.now_s - began_s >= criteria.bake_s, seen)
        self.holds("06", all(seen.labels[gate] == "good" for gate in ENFORCED), seen)
        starts = [getattr(observed.gates.get(gate), "from_s", None) or -inf for gate in ENFORCED]
        self.holds("06", all(start >= began_s for start in starts), seen)
        enough = (observed.samples or 0) >= criteria.min_samples and (observed.samples_since_s or 0.0) >= began_s
        self.holds("06", enough or not criteria.min_samples, seen)
        self.holds("06", seen.after.share_millipct == PLAN.steps[after.step].share, seen)

    def absence(self, seen: Seen, *, rises: bool) -> None:
        if any(seen.labels[gate] == "absent" for gate in ENFORCED):
            self.holds("07", not rises and seen.after.progress.step == seen.before.progress.step, seen)
        if not any(seen.labels[gate] == "bad" for gate in HARD):
            was, is_ = seen.before.progress.phase, seen.after.progress.phase
            self.holds("07", is_ is not Phase.ROLLED_BACK or was is Phase.ROLLED_BACK, seen)

    def failure(self, seen: Seen) -> None:
        """A row of distinct bad measurements rolls back; nothing less than a row, or a burst, does."""
        phase = seen.before.progress.phase
        if seen.before.killed or phase in {Phase.DRAFT, Phase.COMPLETED, Phase.ROLLED_BACK}:
            return
        for gate, row in self.rows.items():
            label = seen.labels[gate]
            if not row or row[-1] != (seen.now_s, label):
                row.append((seen.now_s, label))
        rolled = seen.after.progress.phase is Phase.ROLLED_BACK
        last = self.rows["errors"][-LIMIT:]
        if [label for _, label in last] == ["bad"] * LIMIT and len({at_s for at_s, _ in last}) == LIMIT:
            self.holds("08", rolled, seen)
        if rolled:
            measured = [label for _, label in self.rows["errors"] if label != "absent"]
            bursts = [at_s for at_s, label in self.rows["burst"] if label == "bad"]
            near = [at_s for at_s in bursts if abs(at_s - seen.now_s) <= BURST_S]
            self.holds("09", measured[-LIMIT:] == ["bad"] * LIMIT or len(near) >= BURST, seen)

    def approved(self, seen: Seen) -> None:
        entered = [step for step in PLAN.steps if step.share > seen.before.share_millipct]
        reached = next((step for step in entered if step.share >= seen.after.share_millipct), PLAN.steps[-1])
        needed = any(step.approval for step in entered if step.share <= reached.share)
        if not needed:
            return
        right = (seen.before.revision, PLAN.steps.index(reached))
        given = self.approval is not None and self.approval[:2] == right
        approver = self.approval[2] if self.approval else ""
        self.holds("17", given and approver not in {self.proposer, seen.actor}, seen)

    def rollback(self, seen: Seen, *, rises: bool) -> None:
        was, is_ = seen.before.progress.phase, seen.after.progress.phase
        falls = seen.after.share_millipct < seen.before.share_millipct
        if is_ is Phase.ROLLED_BACK:
            self.holds("16", not rises, seen)
            self.holds("18", seen.after.progress.step == seen.before.progress.step, seen)
        elif seen.what == "tick":
            self.holds("16", not falls, seen)
        if was is Phase.ROLLED_BACK and is_ is not was:
            over = seen.now_s >= self.rolled_back_s + PLAN.cooldown_s
            self.holds("18", seen.what in {"restart", "end"} and over, seen)
            self.tried["exits"] += 1
        rolls = seen.made is not None and seen.made.event in {Event.ROLL_BACK, Event.LOWER}
        if rolls and seen.before.rollback.partner_capacity_check and not (seen.what == "tick" and seen.before.killed):
            bears = seen.observed.capacity.baseline
            floor = 0 if bears is None else min(seen.before.share_millipct, 100_000 - bears)
            self.holds("21", seen.after.share_millipct >= floor, seen)
            alarmed = seen.made is not None and any(each.kind is EffectKind.ALARM for each in seen.made.effects)
            aims = {0, seen.before.rollback.to_share, *(step.share for step in PLAN.steps)}
            self.holds("21", alarmed or seen.after.share_millipct != floor or floor in aims, seen)

    def remember(self, seen: Seen) -> None:
        if seen.after.progress.attempt != seen.before.progress.attempt:
            self.rows = {name: [] for name in HARD}
        if seen.what in PROPOSING:
            self.proposer = seen.actor
        if seen.what == "approve":
            given = seen.after.progress.approval
            self.approval = (seen.after.revision, given.step if given else -1, seen.actor)
        if seen.after.progress.phase is Phase.ROLLED_BACK and seen.before.progress.phase is not Phase.ROLLED_BACK:
            self.rolled_back_s = seen.now_s
        self.tried[seen.after.progress.phase] += 1


class World:
    """A ramp, a clock, a store that counts revisions, and the witness."""

    def __init__(self, rollback: Rollback) -> None:
        self.now_s = 1_000_000.0
        progress = Progress()
        self.ramp = Ramp("f", 1, 0, killed=False, plan=PLAN, gates=GATES, rollback=rollback, progress=progress)
        self.witness = Witness()

    def settle(self, what: str, actor: str, act: Callable[[], Transition], seen: Observations, labels: Any) -> None:
        before = self.ramp
        try:
            made: Transition | None = act()
        except RolloutError:
            made = None
        if made is not None:
            written = made.event is not None
            if not written:
                assert (made.progress, made.share_millipct) == (before.progress, before.share_millipct)
            self.ramp = before._replace(
                revision=before.revision + written,
                share_millipct=made.share_millipct,
                progress=made.progress,
                memory=made.memory,
            )
            if written and what in {"kill", "unkill"}:
                self.ramp = self.ramp._replace(killed=what == "kill")
        self.witness.see(Seen(what, actor, before, made, self.ramp, self.now_s, seen, labels))

    def look(self, labels: dict[str, str], fault: int, samples: int, capacity: Capacity) -> None:
        since_s = self.ramp.progress.step_began_s
        gates = {gate: measurement(gate, label, self.now_s, since_s, fault) for gate, label in labels.items()}
        given = {gate: measured for gate, measured in gates.items() if measured is not None}
        began_s = since_s if fault % 5 else since_s - 1
        observed = Observations(given, samples, began_s, capacity=capacity)
        before, now_s = self.ramp, self.now_s
        self.settle("tick", "", lambda: tick(before, observed, now_s), observed, labels)
        again = tick(self.ramp, observed, now_s)
        assert (again.event, again.memory) == (None, self.ramp.memory), "a tick repeated changes nothing"

    def command(self, what: str, actor: str, number: int, capacity: Capacity) -> None:
        ramp, order = self.ramp, Order(actor, "because", self.now_s)
        shares = (0, 500, 1_000, 3_000, 20_000, 100_000)
        special: dict[str, Callable[[], Transition]] = {
            "create": lambda: commands.create(ramp, order, Findings()),
            "jump": lambda: commands.jump(ramp, order, number % len(PLAN.steps)),
            "set_share": lambda: commands.set_share(ramp, order, shares[number % len(shares)]),
            "extend": lambda: commands.extend(ramp, order, 600.0),
            "approve": lambda: commands.approve(ramp, order, None if number % 2 else number % len(PLAN.steps)),
            "roll_back": lambda: commands.roll_back(ramp, order, capacity),
        }
        act = special.get(what) or (lambda: getattr(commands, what)(ramp, order))
        self.settle(what, actor, act, Observations(capacity=capacity), {})

    def restart_controller(self) -> None:
        """All that lives on is what was stored."""
        ramp = self.ramp
        progress = msgspec.json.decode(msgspec.json.encode(ramp.progress), type=Progress)
        memory = msgspec.json.decode(msgspec.json.encode(ramp.memory), type=GateMemory)
        assert (progress, memory) == (ramp.progress, ramp.memory)
        self.ramp = ramp._replace(progress=progress, memory=memory)
        self.witness.tried["11"] += 1

    def edit(self) -> None:
        """Somebody changes something else of the flag."""
        self.ramp = self.ramp._replace(revision=self.ramp.revision + 1)


COMMANDS = [name.value for name in Event if hasattr(commands, name.value)]
HELPFUL = {
    Phase.DRAFT: ["create"],
    Phase.READY: ["start"],
    Phase.RUNNING: ["approve"],
    Phase.PAUSED: ["extend", "resume", "resume"],
    Phase.MONITORING: ["extend"],
    Phase.COMPLETED: ["create", "set_share"],
    Phase.ROLLED_BACK: ["restart", "ack"],
}
ROLLBACKS = [
    Rollback(),
    Rollback("staged", partner_capacity_check=True),
    Rollback(to_share=500, partner_capacity_check=True),
]


def live(world: World, rng: Random, steps: int) -> None:
    """Let a world live through random steps, with moods that last a while."""
    mood = "well"
    for _ in range(steps):
        if rng.random() < 0.02:
            mood = rng.choice(["well", "well", *MOODS])
        world.now_s += rng.choice(JUMPS) if rng.random() < 0.01 else rng.choice(WAITS)
        capacity = rng.choice(
            [Capacity(), Capacity(100_000, 100_000), Capacity(70_000, 60_500), Capacity(None, 95_500)]
        )
        kind, number = rng.random(), rng.randrange(1_000)
        if kind < 0.8:
            names = ("good", "bad", "absent")
            labels = {gate.name: rng.choices(names, MOODS[mood])[0] for gate in GATES}
            world.look(labels, number, rng.choice([0, 20, 20, 20, 20]), capacity)
        elif kind < 0.93:
            helpful = "unkill" if world.ramp.killed else rng.choice(HELPFUL[world.ramp.progress.phase])
            world.command(helpful, rng.choice(ACTORS), number, capacity)
        elif kind < 0.96:
            world.command(rng.choice(COMMANDS), rng.choice(ACTORS), number, capacity)
        elif kind < 0.98:
            world.restart_controller()
        else:
            world.edit()


SEEDS, STEPS = 12, 1_500


@cache
def history() -> Witness:
    """What the witness says of many long lives, 18 000 steps in all."""
    told = Witness()
    for seed in range(SEEDS):
        world = World(ROLLBACKS[seed % len(ROLLBACKS)])
        live(world, Random(seed), STEPS)
        told.broken += world.witness.broken
        told.tried += world.witness.tried
    return told


def kept(number: str, *, at_least: int) -> None:
    told = history()
    assert [each for each in told.broken if each.startswith(number)] == []
    assert told.tried[number] >= at_least, told.tried


def test_invariant_05_under_a_kill_nothing_rises_and_nothing_runs_after_it() -> None:
    kept("05", at_least=100)


def test_invariant_06_the_share_rises_on_evidence_of_its_step_one_step_at_a_time() -> None:
    kept("06", at_least=1_000)
    assert history().tried["rises"] >= 50


def test_invariant_07_absence_neither_advances_nor_rolls_back() -> None:
    kept("07", at_least=1_000)


def test_invariant_08_a_hard_fail_held_for_its_limit_rolls_back() -> None:
    kept("08", at_least=20)


def test_invariant_09_nothing_less_than_a_row_or_a_burst_rolls_back() -> None:
    kept("09", at_least=20)


def test_invariant_11_what_is_stored_is_all_there_is() -> None:
    kept("11", at_least=100)


def test_invariant_12_no_tick_raises_what_a_person_has_set() -> None:
    kept("12", at_least=1_000)


def test_invariant_16_a_rollback_exposes_nobody_and_nothing_else_lowers_the_share() -> None:
    kept("16", at_least=1_000)


def test_invariant_17_an_approval_is_another_persons_for_this_revision_and_step() -> None:
    kept("17", at_least=10)


def test_invariant_18_out_of_a_rollback_leads_a_command_after_the_cooldown_alone() -> None:
    kept("18", at_least=100)
    assert history().tried["exits"] >= 10


def test_invariant_21_a_rollback_takes_no_more_than_the_baseline_bears() -> None:
    kept("21", at_least=20)


def test_a_refused_command_changes_nothing_and_every_phase_is_lived_through() -> None:
    kept("refused", at_least=100)
    assert all(history().tried[phase] >= 20 for phase in Phase), history().tried


LABELS = st.sampled_from(["good", "good", "bad", "absent"])
CAPACITIES = st.builds(Capacity, st.none() | st.integers(0, 100_000), st.none() | st.integers(0, 100_000))
NUMBERS = st.integers(0, 999)


class AnyHistory(RuleBasedStateMachine):
    """The same, chosen by Hypothesis, which looks for a short history that breaks an invariant."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(Rollback("staged", partner_capacity_check=True))

    @rule(
        labels=st.fixed_dictionaries({gate.name: LABELS for gate in GATES}),
        seconds=st.sampled_from([*WAITS, *JUMPS]),
        fault=NUMBERS,
        capacity=CAPACITIES,
        times=st.integers(1, 5),
    )
    def look(self, labels: dict[str, str], seconds: float, fault: int, capacity: Capacity, times: int) -> None:
        for _ in range(times):
            self.world.now_s += seconds
            self.world.look(labels, fault, 20, capacity)
        assert self.world.witness.broken == []

    @rule(number=NUMBERS)
    def proceed(self, number: int) -> None:
        phase = self.world.ramp.progress.phase
        self.command(HELPFUL[phase][number % len(HELPFUL[phase])], ACTORS[number % 3], number, Capacity())

    @rule(what=st.sampled_from(COMMANDS), actor=st.sampled_from(ACTORS), number=NUMBERS, capacity=CAPACITIES)
    def command(self, what: str, actor: str, number: int, capacity: Capacity) -> None:
        self.world.command(what, actor, number, capacity)
        assert self.world.witness.broken == []

    @rule()
    def restart_controller(self) -> None:
        self.world.restart_controller()

    @rule()
    def edit(self) -> None:
        self.world.edit()


def test_no_short_history_breaks_an_invariant() -> None:
    run_state_machine_as_test(AnyHistory, settings=settings(stateful_step_count=30, deadline=None))


@pytest.mark.parametrize("break_it", ["06", "08", "17"])
def test_the_witness_notices(break_it: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness that never complains proves nothing: break a rule and see it told."""
    from rollout.core import ramp, ramp_holds

    broken: dict[str, tuple[Any, str, Any]] = {
        "06": (ramp_holds, "_samples", lambda *_: ()),
        "08": (ramp, "has_failed", lambda *_: False),
        "17": (ramp_holds, "_approval", lambda *_: ()),
    }
    monkeypatch.setattr(*broken[break_it])
    world = World(Rollback())
    live(world, Random(1), STEPS)
    assert any(each.startswith(break_it) for each in world.witness.broken)
