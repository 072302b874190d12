"""The design's invariants over long random histories of a ramp, and over short ones that Hypothesis looks for."""

from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from rollout.core import ramp, ramp_holds
from rollout.core.ramp_model import Phase, Rollback
from rollout.core.ramp_table import Capacity
from tests.rollout.core.ramp_witness import GATES, Witness
from tests.rollout.core.ramp_world import ACTORS, COMMANDS, HELPFUL, JUMPS, ROLLBACKS, WAITS, World, live

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
    broken: dict[str, tuple[Any, str, Any]] = {
        "06": (ramp_holds, "_samples", lambda *_: ()),
        "08": (ramp, "has_failed", lambda *_: False),
        "17": (ramp_holds, "_approval", lambda *_: ()),
    }
    monkeypatch.setattr(*broken[break_it])
    world = World(Rollback())
    live(world, Random(1), STEPS)
    assert any(each.startswith(break_it) for each in world.witness.broken)
