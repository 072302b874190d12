"""Controllers and operators as processes on one real store, in any interleaving of their calls, with crashes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rollout.controller import Controller
from rollout.controller import World as Surroundings
from rollout.core import commands, ramp_commands
from rollout.core.audit import record_change
from rollout.core.errors import RevisionConflict, RolloutError, StoreUnavailable
from rollout.core.lease import CONTROLLER, Lease
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
    Step,
)
from rollout.core.ramp_plan import Findings
from rollout.core.readings import measured, no_data
from rollout.seed import ensure_features
from tests.rollout.invariants.stage import Fate, Process

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from rollout.core.ramp_table import Transition
    from tests.rollout.invariants.ledger import Ledger

FEATURE = "summarize"
LIMIT = 3
GATES = tuple(
    Gate(name=name, role=role, source="promql", kind=GateKind.THRESHOLD, query=name, limit=0.02, failure=rule)
    for name, role, rule in (
        ("errors", Role.HARD, FailureRule(count=LIMIT)),
        ("slow", Role.SOFT, FailureRule(count=LIMIT, within="10m")),
    )
)
PLAN = RampPlan(
    steps=(Step(share=1_000, bake="10s"), Step(share=20_000, bake="10s"), Step(share=60_000, bake="10s")),
    post_monitor="10s",
    cooldown="30s",
)
VALUES = {"good": 0.001, "bad": 0.5}


class Clock:
    def __init__(self) -> None:
        self.at_s = 1_000_000.0

    def now_s(self) -> float:
        return self.at_s


class Meter:
    """Measures what the fleet's mood says; a controller may be stopped while it asks."""

    def __init__(self, fleet: Fleet, process: Process) -> None:
        self._fleet, self._process = fleet, process

    async def read(self, query: Any) -> Any:
        await self._process.stop()
        mood, at_s = self._fleet.moods.get(query.expression, "good"), self._fleet.clock.at_s
        if mood not in VALUES:
            return no_data("the test says nothing")
        return measured(VALUES[mood], at_s, samples=100, from_s=at_s)


class Fleet:
    """`members`: processes by name. Controllers act by themselves; operators do what they are told."""

    def __init__(self, ledger: Ledger, clock: Clock, controllers: int = 3) -> None:
        self.ledger, self.clock = ledger, clock
        self.moods: dict[str, str] = {}
        self.late: list[Callable[[], Awaitable[object]]] = []
        self.steps = 0
        self.acknowledged: list[str] = []
        self.conflicted: list[str] = []
        names = [*(f"controller-{number}" for number in range(controllers)), "ann", "bob"]
        self.members = {name: Process(ledger, self.late) for name in names}
        self.controllers: dict[str, Controller] = {}
        self.born = self.ordered = 0

    async def prepare(self) -> None:
        """A flag with a ramp, started."""
        await ensure_features(self.ledger, {FEATURE: ("inhouse", "partner")}, self.clock)
        await self.edit(self.ledger, "ann", "plan it", "create", lambda flag: replace(flag, ramp=PLAN, gates=GATES))
        await self.command(self.ledger, "start", "ann", "try it")

    async def proceed(self, name: str, fate: Fate = Fate.DONE) -> None:
        """Let a controller come to its next call of the store, or an operator who has begun something."""
        self.steps += 1
        process = self.members[name]
        if not process.idle:
            await process.let(fate)
        elif name.startswith("controller"):
            await process.begin(self._controller(name).turn())

    async def order(self, name: str, what: str, number: int = 0) -> None:
        """Have an operator begin a command, unless there is one under way."""
        self.steps += 1
        process = self.members[name]
        if process.idle:
            self.ordered += 1
            await process.begin(self._ordered(process, what, name, f"{name} {self.ordered}", number))

    async def crash(self, name: str, *, sent: bool = False) -> None:
        """End a process; the next one of that name knows nothing of it."""
        self.steps += 1
        await self.members[name].crash(sent=sent)
        self.controllers.pop(name, None)

    async def arrive(self) -> None:
        """What a process gave up, or sent before it crashed, takes effect after all."""
        self.steps += 1
        if self.late:
            try:
                await self.late.pop(0)()
            except RolloutError:
                self.ledger.tried["came too late"] += 1

    async def lapse(self) -> None:
        """The lease ends for the store, while its holder believes in it."""
        self.steps += 1
        if self.ledger.newest:
            await self.ledger.release_lease(Lease(CONTROLLER, "", self.ledger.newest, 0.0))

    async def settle(self, seconds: int = 200) -> None:
        """All faults end, what is under way too; then time passes and a single controller acts."""
        for name in self.members:
            await self.crash(name)
        while self.late:
            await self.arrive()
        await self.lapse()
        self.moods = {}
        for _ in range(seconds):
            await self.finish(self.proceed("controller-0"), "controller-0")
            self.clock.at_s += 1.0

    async def finish(self, begun: Awaitable[None], name: str) -> None:
        """Let a process come to the end of what it begins."""
        await begun
        while not self.members[name].idle:
            await self.proceed(name)

    async def command(self, store: Any, what: str, actor: str, reason: str, number: int = 0) -> None:
        """A command on the ramp, as the operator's API gives it: decided on what is read, written on that revision."""
        order = Order(actor, reason, self.clock.at_s)
        acts: dict[str, Callable[[Any], Transition]] = {
            "create": lambda ramp: ramp_commands.create(ramp, order, Findings()),
            "jump": lambda ramp: ramp_commands.jump(ramp, order, number % len(PLAN.steps)),
            "set_share": lambda ramp: ramp_commands.set_share(ramp, order, (0, 500, 1_000, 30_000)[number % 4]),
        }
        act = acts.get(what) or (lambda ramp: getattr(ramp_commands, what)(ramp, order))

        def change(flag: Any) -> Any:
            after = applied(flag, act(ramp_of(flag, GateMemory())))
            if what == "kill":
                return commands.kill(after, actor=actor, reason=reason, at_s=order.at_s)
            return commands.unkill(after) if what == "unkill" else after

        await self.edit(store, actor, reason, what, change)

    async def edit(self, store: Any, actor: str, reason: str, what: str, change: Callable[[Any], Any]) -> None:
        before = await store.get(FEATURE)
        after = change(before)
        if what == "create":
            made = ramp_commands.create(ramp_of(after, GateMemory()), Order(actor, reason, self.clock.at_s), Findings())
            after = applied(after, made)
        entry = record_change(before, after, actor=actor, command=what, reason=reason, at_s=self.clock.at_s)
        await store.put_if_revision(after, before.revision, entry)

    async def _ordered(self, process: Process, what: str, actor: str, reason: str, number: int) -> None:
        try:
            if what == "edit":
                await self.edit(process, actor, reason, what, lambda flag: replace(flag, owner=reason))
            else:
                await self.command(process, what, actor, reason, number)
        except RevisionConflict:
            self.conflicted.append(reason)
        except StoreUnavailable:
            self.ledger.tried["unknown outcome"] += 1
        except RolloutError:
            self.ledger.tried["refused command"] += 1
        else:
            self.acknowledged.append(reason)

    def _controller(self, name: str) -> Controller:
        if name not in self.controllers:
            self.born += 1
            process = self.members[name]
            world = Surroundings(self.clock, f"{name}-{self.born}", Meter(self, process))
            self.controllers[name] = Controller(process, world)  # type: ignore[arg-type]
        return self.controllers[name]

    async def end(self) -> None:
        """Stop all, and check what only the whole history shows."""
        for process in self.members.values():
            await process.crash(sent=False)
        await self.ledger.check_log()
        written = [entry.reason for entry in self.ledger.entries]
        for reason in self.acknowledged:
            self.ledger.holds("12", written.count(reason) == 1, f"{reason} was acknowledged")
        for reason in self.conflicted:
            self.ledger.holds("12", reason not in written, f"{reason} was refused")


HELPFUL: dict[Phase, list[str]] = {
    Phase.DRAFT: ["create"],
    Phase.READY: ["start"],
    Phase.RUNNING: [],
    Phase.PAUSED: ["resume"],
    Phase.MONITORING: [],
    Phase.COMPLETED: ["set_share", "create"],
    Phase.ROLLED_BACK: ["restart"],
}
ORDERS = ["pause", "set_share", "jump", "kill", "edit", "edit", "advance", "end"]


def wanted(fleet: Fleet, rng: Random) -> str:
    """Mostly what leads a ramp on."""
    flag = fleet.ledger.flags[FEATURE]
    if flag.kill.on and rng.random() < 0.7:
        return "unkill"
    return rng.choice(HELPFUL[flag.progress.phase] or ORDERS)


async def live(fleet: Fleet, rng: Random, steps: int, *, operators: tuple[str, ...] = ("ann", "bob")) -> None:
    """Let a fleet go through random steps; whoever acts tends to go on."""
    controllers = [name for name in fleet.members if name.startswith("controller")]
    name, last = controllers[0], fleet.steps + steps
    while fleet.steps < last:
        if rng.random() < 0.3:
            name = rng.choice(operators if operators and rng.random() < 0.3 else controllers)
        kind = rng.random()
        if kind < 0.8:
            await fleet.proceed(name, Fate.DONE if rng.random() < 0.95 else rng.choice(list(Fate)))
            busy = fleet.ledger.flags[FEATURE].progress.phase in {Phase.RUNNING, Phase.MONITORING}
            if name in operators and fleet.members[name].idle and rng.random() < (0.1 if busy else 0.5):
                await fleet.order(name, wanted(fleet, rng), rng.randrange(100))
        elif kind < 0.82:
            await fleet.crash(name, sent=rng.random() < 0.5)
        elif kind < 0.85:
            await fleet.arrive()
        elif kind < 0.86:
            await fleet.lapse()
        elif operators and kind < 0.88:
            fleet.moods[rng.choice(GATES).query] = rng.choice(["good", "good", "good", "bad", "absent"])
        else:
            fleet.clock.at_s += rng.choice([0.0, 1.0, 1.0, 3.0, 5.0, 11.0])


async def endure(fleet: Fleet, rng: Random, seconds: int, *, crash: bool) -> None:
    """One controller at work through changing moods and edits; with `crash` it ends at some call of each turn.

    Whoever replaces it looks at the same moment again. Draws the same from `rng` either way.
    """
    row = Row()
    for _ in range(seconds):
        gate, mood = rng.choice(GATES).query, rng.choice(["good", "good", "bad", "bad", "absent"])
        if rng.random() < 0.3:
            fleet.moods[gate] = mood
        if rng.random() < 0.1:
            flag = fleet.ledger.flags[FEATURE]
            what = "edit" if rng.random() < 0.5 else "".join(HELPFUL[flag.progress.phase][:1]) or "edit"
            await fleet.finish(fleet.order("ann", what), "ann")
        calls, sent = rng.randrange(9), rng.random() < 0.5
        if crash:
            for _ in range(calls):
                await fleet.proceed("controller-0")
            await fleet.crash("controller-0", sent=sent)
            while fleet.late:
                await fleet.arrive()
            await fleet.lapse()
        before = fleet.ledger.flags[FEATURE].progress
        await fleet.finish(fleet.proceed("controller-0"), "controller-0")
        row.see(fleet, before)
        fleet.clock.at_s += 1.0


class Row:
    """Counts a hard gate's FAILs from what was to be measured, not from what a controller remembers."""

    def __init__(self) -> None:
        self.attempt = self.fails = 0

    def see(self, fleet: Fleet, before: Progress) -> None:
        after = fleet.ledger.flags[FEATURE].progress
        if before.attempt != self.attempt or before.phase in {Phase.DRAFT, Phase.COMPLETED, Phase.ROLLED_BACK}:
            self.attempt, self.fails = before.attempt, 0
        if before.phase in {Phase.DRAFT, Phase.COMPLETED, Phase.ROLLED_BACK}:
            return
        mood = fleet.moods.get(GATES[0].query, "good")
        self.fails = self.fails + 1 if mood == "bad" else self.fails if mood == "absent" else 0
        told = f"{self.fails} FAILs in a row at {fleet.clock.at_s}: {after}"
        fleet.ledger.holds("08", (mood == "bad" and self.fails >= LIMIT) == (after.phase is Phase.ROLLED_BACK), told)
