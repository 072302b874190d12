"""A ramp's life under a simulated clock that jumps, with faults and several actors."""

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from rollout.core import ramp_commands as commands
from rollout.core.errors import RolloutError
from rollout.core.ramp import tick
from rollout.core.ramp_commands import Order
from rollout.core.ramp_model import GateMemory, Phase, Progress, Rollback
from rollout.core.ramp_plan import Findings
from rollout.core.ramp_table import Capacity, Event, Observations, Ramp, Transition
from tests.rollout.invariants.ramp_witness import GATES, PLAN, Seen, Witness, measurement

ACTORS = ("ann", "bob", "cid")
MOODS = {"well": (96, 2, 2), "sick": (20, 70, 10), "flaky": (75, 15, 10), "blind": (10, 5, 85)}
WAITS = [0.0, 1.0, 10.0, 20.0, 20.0, 30.0, 30.0, 60.0]
JUMPS = [-600.0, -60.0, 400.0, 3_600.0, 1e5]


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
        told = f"a tick repeated makes {again}"
        self.witness.holds("06", (again.event, again.memory) == (None, self.ramp.memory), told)

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
        # As it is written: a defect may have let in what is no number, which is not equal to itself.
        assert msgspec.json.encode((progress, memory)) == msgspec.json.encode((ramp.progress, ramp.memory))
        self.ramp = ramp._replace(progress=progress, memory=memory)
        self.witness.tried["11"] += 1

    def kill_here(self) -> None:
        """The kill file of the controller's replica: the flag itself is not killed, or is killed no more."""
        self.ramp = self.ramp._replace(killed=not self.ramp.killed)

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
            if helpful == "approve" and number % 4 == 0:
                world.edit()
        elif kind < 0.96:
            world.command(rng.choice(COMMANDS), rng.choice(ACTORS), number, capacity)
        elif kind < 0.98:
            world.restart_controller()
        elif kind < 0.99:
            world.kill_here()
        else:
            world.edit()
