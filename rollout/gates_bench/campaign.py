"""Many runs over several processes. Seeds are fixed, so results don't depend on how many processes there are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rollout.gates_bench import oracle, plan, report, rivals
from rollout.gates_bench.ramp import begun, fresh, run
from rollout.gates_bench.results import Path
from rollout.gates_bench.scenarios import SCENARIOS, Truth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.pool import Pool
    from typing import Any

    from rollout.gates_bench.plan import Engine
    from rollout.gates_bench.scenarios import Scenario

EVALUATION_SEED = 1_000_000
"""Seeds from here on are for evaluation; nothing was tuned on them."""
CALIBRATION_SEED = 500_000
"""Seeds on which the thresholds of the rivals are set."""
FALSE_ROLLBACKS = (0.02, 0.01, 0.05, 0.1, 0.2)
"""What the thresholds of rivals are swept over; the first is what gates are compared at."""
_SHOWN = ("A/A", "errors 1 -> 2 %", "p95 +25 %", "quality -10 points", "abrupt 30 % errors after 80 %")
_SHOWN_SEED = 4_242
_CHUNK = 4
_SEEDS_EACH = 100_000


class Campaign:
    """Runs of one engine."""

    def __init__(self, pool: Pool, engine: Engine, runs: int) -> None:
        self._pool, self._engine, self._runs = pool, engine, runs

    def row(self, scenario: Scenario) -> report.Row:
        """All runs of one scenario."""
        seeds = _seeds(scenario, self._runs)
        done = self._each(run, [(scenario, seed, self._engine) for seed in seeds])
        late = scenario.truth is Truth.HARM and scenario.onset_unit > 0
        begun = self._each(fresh, [(scenario, seed, self._engine) for seed in seeds]) if late else []
        knowing = oracle.has_oracle(scenario)
        of_oracle = [(scenario, seed, self._engine.alpha) for seed in seeds] if knowing else []
        return report.row(scenario, done, begun, self._each(oracle.stopped_at, of_oracle))

    def beside(self, chosen: Iterable[Scenario], runs: int) -> list[report.Beside]:
        """Every gate on ramps by the clock, the thresholds of the rivals set on the first scenario, A/A."""
        on = [(SCENARIOS[0], CALIBRATION_SEED + number, self._engine) for number in range(runs)]
        calibration = self._each(rivals.paced, on)
        rows: list[report.Beside] = []
        for scenario in chosen:
            if scenario.truth in {Truth.FINE, Truth.HARM}:
                done = self._each(rivals.paced, [(scenario, seed, self._engine) for seed in _seeds(scenario, runs)])
                rows += _beside(scenario, calibration, done)
        return rows

    def _each(self, job: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
        return self._pool.starmap(job, arguments, chunksize=_CHUNK) if arguments else []


def _seeds(scenario: Scenario, runs: int) -> range:
    """Of its own for each scenario."""
    first = EVALUATION_SEED + _SEEDS_EACH * SCENARIOS.index(scenario)
    return range(first, first + runs)


def _beside(scenario: Scenario, calibration: list[Any], done: list[Any]) -> list[report.Beside]:
    rows = [report.beside(scenario, rivals.ENGINE, 0.0, _exposed(done, rivals.ENGINE, 0.0))]
    for name in rivals.RIVALS:
        for rate in FALSE_ROLLBACKS:
            limit = rivals.threshold(calibration, name, rate)
            rows.append(report.beside(scenario, name, rate, _exposed(done, name, limit)))
    return rows


def _exposed(done: list[Any], gate: str, limit: float) -> list[int | None]:
    return [rivals.exposed_until(highs[gate], limit) for highs in done]


def paths(engine: Engine) -> list[Path]:
    """The combined e-value on one run of some scenarios, for the eye."""
    return [_path(scenario, engine) for scenario in SCENARIOS if scenario.name in _SHOWN]


def _path(scenario: Scenario, engine: Engine) -> Path:
    world, gate = begun(scenario, _SHOWN_SEED, engine)
    points: list[tuple[int, float]] = []
    units = 0
    for stage, limits in enumerate(plan.STAGES):
        for number in range(rivals.STAGE_BATCHES):
            stage_unit = number * plan.BATCH_UNITS
            look = gate.look(world.batch(plan.BATCH_UNITS, units, stage, stage_unit, limits.share_millipct), stage)
            units += plan.BATCH_UNITS
            points.append((units, round(gate.combined().log_value / math.log(10), 3)))
            if look.rolled_back_at is not None:
                return Path(scenario.name, tuple(points))
        gate.leave_stage()
    return Path(scenario.name, tuple(points))
