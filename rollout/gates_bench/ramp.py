"""One run: a world, a gate, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rollout.gates_bench import plan
from rollout.gates_bench.gate import EngineGate
from rollout.gates_bench.traffic import World

if TYPE_CHECKING:
    from rollout.gates_bench.plan import Engine
    from rollout.gates_bench.scenarios import Scenario
    from rollout.gates_bench.traffic import Batch


class Run(msgspec.Struct, frozen=True, array_like=True):
    """How a ramp ended: `end` is rolled_back, completed, held or frozen.

    `units`: in all; `decisive`: candidate units from the onset of harm to the one that decided; `pairs`: answers judged
    in pairs since then; `exposed`: candidate units until the ramp was stopped, which is an age later; `delay_units`:
    units of both arms since the onset, until then.
    """

    end: str
    reason: str
    stage: int
    units: int
    decisive: int
    pairs: int
    exposed: int
    delay_units: int

    @property
    def scored(self) -> int:
        """Answers that the judge has seen: two for each pair."""
        return 2 * self.pairs

    @property
    def delay_minutes(self) -> float:
        """The delay at the pace of the plan."""
        return self.delay_units / plan.REQUESTS_PER_S / 60


class _Exposure:
    """Counts what happened since harm began."""

    def __init__(self) -> None:
        self.units = self.decisive = self.pairs = self.since_onset = 0

    def take(self, batch: Batch, upto: int) -> None:
        harmed = batch.harmed[:upto]
        self.units += upto
        self.since_onset += upto if self.since_onset else upto - int(harmed.argmax()) if harmed.any() else 0
        self.decisive += int((harmed & batch.candidate[:upto]).sum())
        self.pairs += int(batch.harmed[batch.paired[batch.paired < upto]].sum())

    def ended(self, end: str, reason: str, stage: int) -> Run:
        """What is decided by a unit is decided at its age, and the share is what it was until then."""
        share = plan.STAGES[min(stage, len(plan.STAGES) - 1)].share_millipct / 100_000
        waited = round(plan.AGE_UNITS * share)
        delay = self.since_onset + plan.AGE_UNITS
        return Run(end, reason, stage, self.units, self.decisive, self.pairs, self.decisive + waited, delay)


def begun(scenario: Scenario, seed: int, engine: Engine | None) -> tuple[World, EngineGate]:
    """A world and its gate, which has seen a little of the baseline."""
    world, gate = World(scenario, seed), EngineGate(engine)
    gate.learn(world.batch(plan.BATCH_UNITS, 0, 0, 0, 0))
    return world, gate


def run(scenario: Scenario, seed: int, engine: Engine | None = None) -> Run:
    """Ramp `scenario` up by the engine's verdicts alone."""
    world, gate, exposure = *begun(scenario, seed, engine), _Exposure()
    for stage in range(len(plan.STAGES)):
        left = _stage(scenario, world, gate, exposure, stage)
        if left is not None:
            return left
        gate.leave_stage()
    return exposure.ended("completed", "", len(plan.STAGES))


def _stage(scenario: Scenario, world: World, gate: EngineGate, exposure: _Exposure, stage: int) -> Run | None:
    """Stay at a stage until it may be left; how the ramp ended there, or None."""
    least, share = plan.STAGE_UNITS_MIN * scenario.dwell, plan.STAGES[stage].share_millipct
    for stage_units in range(0, plan.STAGE_UNITS_MAX[stage] * scenario.dwell, plan.BATCH_UNITS):
        batch = world.batch(plan.BATCH_UNITS, exposure.units, stage, stage_units, share)
        look = gate.look(batch, stage, dwelt=stage_units + plan.BATCH_UNITS >= least)
        if look.rolled_back_at is not None:
            exposure.take(batch, look.rolled_back_at + 1)
            return exposure.ended("rolled_back", look.reason, stage)
        exposure.take(batch, plan.BATCH_UNITS)
        if look.frozen:
            return exposure.ended("frozen", "sample ratio", stage)
        if look.promote:
            return None
    return exposure.ended("held", "inconclusive", stage)


def fresh(scenario: Scenario, seed: int, engine: Engine | None = None) -> Run:
    """A test that begins with harm, on the stage of its onset."""
    harmful = msgspec.structs.replace(scenario, onset_unit=0)
    world, gate, exposure = *begun(harmful, seed, engine), _Exposure()
    ended = _stage(harmful, world, gate, exposure, scenario.onset_stage)
    return ended or exposure.ended("completed", "", scenario.onset_stage)
