"""One run: a world, a gate, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rollout.gates_bench import plan
from rollout.gates_bench.gate import EngineGate
from rollout.gates_bench.traffic import World

if TYPE_CHECKING:
    from rollout.gates_bench.scenarios import Scenario
    from rollout.gates_bench.traffic import Batch


class Run(msgspec.Struct, frozen=True, array_like=True):
    """How a ramp ended: `end` is rolled_back, completed, held or frozen.

    `units`: in all; `exposed`: candidate units from the onset of harm to the end; `judged`: answers scored since then.
    """

    end: str
    reason: str
    stage: int
    units: int
    exposed: int
    judged: int


class _Exposure:
    """Counts what the candidate served, and what was judged of it, since harm began."""

    def __init__(self) -> None:
        self.units = self.judged = 0

    def take(self, batch: Batch, upto: int) -> None:
        harmed = batch.harmed[:upto]
        share = batch.share_millipct / 100_000
        of_candidate = int((harmed & batch.candidate[:upto]).sum())
        self.units += of_candidate
        self.judged += of_candidate + round(int((harmed & ~batch.candidate[:upto]).sum()) * share / (1.0 - share))


def run(scenario: Scenario, seed: int) -> Run:
    """Ramp `scenario` up by the engine's verdicts alone."""
    world, gate, exposure = World(scenario, seed), EngineGate(seed), _Exposure()
    units = 0
    for stage, limits in enumerate(plan.STAGES):
        for stage_units in range(0, plan.STAGE_UNITS_MAX, plan.BATCH_UNITS):
            batch = world.batch(plan.BATCH_UNITS, units, stage, stage_units, limits.share_millipct)
            look = gate.look(batch, stage)
            if look.rolled_back_at is not None:
                exposure.take(batch, look.rolled_back_at + 1)
                units += look.rolled_back_at + 1
                return Run("rolled_back", look.reason, stage, units, exposure.units, exposure.judged)
            units += plan.BATCH_UNITS
            exposure.take(batch, plan.BATCH_UNITS)
            if look.frozen:
                return Run("frozen", "sample ratio", stage, units, exposure.units, exposure.judged)
            if look.promote and stage_units + plan.BATCH_UNITS >= plan.STAGE_UNITS_MIN:
                break
        else:
            return Run("held", "inconclusive", stage, units, exposure.units, exposure.judged)
        gate.leave_stage()
    return Run("completed", "", len(plan.STAGES), units, exposure.units, exposure.judged)


def fresh_exposure(scenario: Scenario, seed: int) -> int | None:
    """Candidate units that a gate started at the onset of harm exposes, on the stage of the onset; None if it holds."""
    harmful = msgspec.structs.replace(scenario, onset_unit=0)
    stage = scenario.onset_stage
    world, gate, exposure = World(harmful, seed), EngineGate(seed), _Exposure()
    for units in range(0, plan.STAGE_UNITS_MAX, plan.BATCH_UNITS):
        batch = world.batch(plan.BATCH_UNITS, units, stage, units, plan.STAGES[stage].share_millipct)
        look = gate.look(batch, stage)
        if look.rolled_back_at is not None:
            exposure.take(batch, look.rolled_back_at + 1)
            return exposure.units
        exposure.take(batch, plan.BATCH_UNITS)
    return None
