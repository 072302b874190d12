"""Long random histories of one ramp, held against the witness, and short ones that Hypothesis looks for."""

from functools import cache
from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from rollout.core.ramp_model import Rollback
from rollout.core.ramp_table import Capacity
from tests.rollout.invariants.ramp_witness import GATES, Witness
from tests.rollout.invariants.ramp_world import ACTORS, COMMANDS, HELPFUL, JUMPS, ROLLBACKS, WAITS, World, live

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
    """The witness tried this one so often, and never saw it broken."""
    told = history()
    assert [each for each in told.broken if each.startswith(number)] == []
    assert told.tried[number] >= at_least, told.tried


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

    @rule()
    def kill_here(self) -> None:
        self.world.kill_here()
