"""Many runs over several processes. Seeds are fixed, so results don't depend on how many processes there are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rollout.gates_bench import oracle, plan, report, rivals
from rollout.gates_bench.kept import Kept
from rollout.gates_bench.ramp import Run, begun, fresh, run
from rollout.gates_bench.results import Path
from rollout.gates_bench.scenarios import SCENARIOS, Truth

if TYPE_CHECKING:
    import pathlib
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


class _Job(NamedTuple):
    work: Callable[..., object]
    results: object


_RUN, _FRESH = _Job(run, list[Run]), _Job(fresh, list[Run])
_ORACLE = _Job(oracle.stopped_at, list[int | None])
_PACED = _Job(rivals.paced, list[dict[str, list[rivals.High]]])


class Campaign:
    """Runs of one engine; what was made is kept below `folder`, if there is one."""

    def __init__(self, pool: Pool, engine: Engine, runs: int, folder: pathlib.Path | None = None) -> None:
        self._pool, self._engine, self._runs = pool, engine, runs
        self._kept = Kept(folder, engine)

    def row(self, scenario: Scenario) -> report.Row:
        """All runs of one scenario."""
        late = scenario.truth is Truth.HARM and scenario.onset_unit > 0
        seeds, alpha = (_first_seed(scenario), self._runs), self._engine.alpha
        done = self._each(_RUN, scenario, self._engine, seeds)
        begun = self._each(_FRESH, scenario, self._engine, seeds) if late else []
        of_oracle = self._each(_ORACLE, scenario, alpha, seeds) if oracle.has_oracle(scenario) else []
        return report.row(scenario, done, begun, of_oracle)

    def beside(self, chosen: Iterable[Scenario], runs: int) -> list[report.Beside]:
        """Every gate on ramps by the clock, the thresholds of the rivals set on the first scenario, A/A."""
        calibration = self._each(_PACED, SCENARIOS[0], self._engine, (CALIBRATION_SEED, runs))
        rows: list[report.Beside] = []
        for scenario in chosen:
            if scenario.truth in {Truth.FINE, Truth.HARM}:
                done = self._each(_PACED, scenario, self._engine, (_first_seed(scenario), runs))
                rows += _beside(scenario, calibration, done)
        return rows

    def _each(self, job: _Job, scenario: Scenario, given: Engine | float, seeds: tuple[int, int]) -> list[Any]:
        """One result of the job for each of so many seeds from the first on."""
        first, runs = seeds

        def make(known: int) -> list[Any]:
            arguments = [(scenario, seed, given) for seed in range(first + known, first + runs)]
            return self._pool.starmap(job.work, arguments, chunksize=_CHUNK)

        return self._kept.extended(f"{job.work.__name__} {scenario.name} {first}", job.results, runs, make)


def _first_seed(scenario: Scenario) -> int:
    """Seeds of its own for each scenario."""
    return EVALUATION_SEED + _SEEDS_EACH * SCENARIOS.index(scenario)


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
