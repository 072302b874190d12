"""`python -m rollout.gates_bench.cli`: the engine on every scenario and beside its rivals, as JSON and tables.

Exit code 1 if a target for error rates is missed by more than chance: its interval lies above the target.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from rollout.gates_bench import report, rivals
from rollout.gates_bench.ramp import Run, fresh_exposure, run
from rollout.gates_bench.scenarios import SCENARIOS, Scenario, Truth

TARGETS = {"false_rollback_max": 0.02, "wrong_promotion_max": 0.05, "missed_harm_max": 0.01}
EVALUATION_SEED = 1_000_000
"""Seeds from here on are for evaluation; nothing was tuned on them."""
CALIBRATION_SEED = 500_000
"""Seeds on which the thresholds of the rivals are set."""
FALSE_ROLLBACK = 0.02


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark and write latest.json and latest.md."""
    asked = _parser().parse_args(arguments)
    chosen = [scenario for scenario in SCENARIOS if asked.only in scenario.name]
    if not chosen:
        sys.stderr.write(f"no scenario has {asked.only!r} in its name\n")
        return 2
    began_s = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        rows = [_row(pool, scenario, asked.runs) for scenario in chosen]
        beside = _beside_rivals(pool, chosen, asked.runs) if asked.rivals else []
    found = report.summary(rows)
    text = report.table(rows) + ("\n" + report.comparison(beside) if beside else "")
    asked.output.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {**found, "runs": asked.runs, "took_s": round(time.monotonic() - began_s)}
    result |= {"rows": rows, "rivals": beside}
    (asked.output / "latest.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)) + b"\n")
    (asked.output / "latest.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 1 if missed(found) else 0


def missed(found: dict[str, Any]) -> list[str]:
    """The targets that are missed by more than chance."""
    return [name for name, target in TARGETS.items() if name in found and found[f"{name}_ci95"][0] > target]


def _row(pool: multiprocessing.pool.Pool, scenario: Scenario, runs: int) -> report.Row:
    seeds = [(scenario, EVALUATION_SEED + number) for number in range(runs)]
    done: list[Run] = pool.starmap(run, seeds, chunksize=1)
    late = scenario.truth is Truth.HARM and scenario.onset_unit > 0
    fresh = pool.starmap(fresh_exposure, seeds, chunksize=1) if late else []
    found = report.row(scenario, done, fresh)
    sys.stderr.write(report.table([found]).splitlines()[-1] + "\n")
    return found


def _beside_rivals(pool: multiprocessing.pool.Pool, chosen: list[Scenario], runs: int) -> list[report.Beside]:
    """Every gate on ramps by the clock; the thresholds of the rivals are set on the first scenario, A/A."""
    calibration = pool.starmap(
        rivals.paced, [(SCENARIOS[0], CALIBRATION_SEED + number) for number in range(runs)], chunksize=1
    )
    limits = {name: rivals.threshold(calibration, name, FALSE_ROLLBACK) for name in rivals.RIVALS}
    limits[rivals.ENGINE] = 0.0
    rows = []
    for scenario in chosen:
        if scenario.truth in {Truth.FINE, Truth.HARM}:
            seeds = [(scenario, EVALUATION_SEED + number) for number in range(runs)]
            done = pool.starmap(rivals.paced, seeds, chunksize=1)
            rows += [
                report.beside(scenario, name, [rivals.exposed_until(highs[name], limit) for highs in done])
                for name, limit in limits.items()
            ]
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gates-bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000, help="runs of each scenario")
    parser.add_argument("--rivals", action="store_true", help="compare with other gates at equal false rollbacks")
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=Path("docs/statistics"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
