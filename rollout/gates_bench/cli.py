"""`python -m rollout.gates_bench.cli`: the engine on every scenario and beside its rivals; writes results and pages.

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

from rollout.gates_bench import campaign, pages
from rollout.gates_bench.campaign import Campaign
from rollout.gates_bench.cost import cost_us
from rollout.gates_bench.plan import Engine
from rollout.gates_bench.results import Results
from rollout.gates_bench.scenarios import SCENARIOS
from rollout.gates_bench.targets import missed, summary, targets
from rollout.gates_bench.users import results as users
from rollout.gates_bench.users.campaign import UsersCampaign
from rollout.gates_bench.users.world import SCENARIOS as USERS_SCENARIOS


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; write latest.json, plots and tables."""
    asked = _parser().parse_args(arguments)
    if asked.pages:
        pages.write(asked.output, pages.read(asked.output))
        return 0
    chosen = [each for each in (USERS_SCENARIOS if asked.users else SCENARIOS) if asked.only in each.name]
    if not chosen:
        sys.stderr.write(f"no scenario has {asked.only!r} in its name\n")
        return 2
    if asked.users:
        return _users(asked, chosen)
    began_s = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        results = _results(Campaign(pool, asked.engine, asked.runs, asked.keep), asked, chosen, began_s)
    asked.output.mkdir(parents=True, exist_ok=True)
    pages.write(asked.output, results)
    return 1 if missed(summary(results.rows)) else 0


def _users(asked: argparse.Namespace, chosen: list[Any]) -> int:
    """users.json, and its table if there are others to go with it."""
    began_s, rows = time.monotonic(), []
    with multiprocessing.get_context("spawn").Pool(asked.processes) as pool:
        of = UsersCampaign(pool, asked.runs, asked.keep)
        for scenario in chosen:
            rows.append(of.row(scenario))
            _tell(began_s, scenario.name)
    took_s = round(time.monotonic() - began_s)
    asked.output.mkdir(parents=True, exist_ok=True)
    users.write(
        asked.output,
        users.UsersResults(command=asked.command, runs=asked.runs, took_s=took_s, processes=asked.processes, rows=rows),
    )
    if (asked.output / "latest.json").is_file():
        pages.fill(asked.output, pages.read(asked.output))
    return 0


def _tell(began_s: float, name: str) -> None:
    sys.stderr.write(f"{time.monotonic() - began_s:6.0f} s {name}\n")


def _results(of: Campaign, asked: argparse.Namespace, chosen: list[Any], began_s: float) -> Results:
    rows = []
    for scenario in chosen:
        rows.append(of.row(scenario))
        _tell(began_s, scenario.name)
    beside = of.beside(chosen, asked.rival_runs or asked.runs) if asked.rivals else []
    cost = cost_us()
    return Results(
        command=asked.command,
        runs=asked.runs,
        took_s=round(time.monotonic() - began_s),
        processes=asked.processes,
        engine=asked.engine,
        targets=targets(rows, cost),
        rows=rows,
        rivals=beside,
        paths=campaign.paths(asked.engine),
    )


def _engine(text: str) -> Engine:
    try:
        return msgspec.json.decode(text, type=Engine)
    except msgspec.DecodeError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from fault


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gates-bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000, help="runs of each scenario")
    parser.add_argument("--rivals", action="store_true", help="compare with other gates at equal false rollbacks")
    parser.add_argument("--rival-runs", type=int, default=0, help="runs of each scenario in that; as --runs if 0")
    parser.add_argument("--users", action="store_true", help="only the ramps of users who keep their arm: users.json")
    parser.add_argument("--only", default="", help="scenarios with this in their name")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--engine", type=_engine, default=Engine(), help='another engine, as {"epoch_batches": 6}')
    parser.add_argument("--output", type=Path, default=Path("docs/statistics"))
    parser.add_argument("--keep", type=Path, help="keep runs here, and go on with those that are")
    parser.add_argument("--pages", action="store_true", help="only write tables and plots anew from latest.json")
    parser.set_defaults(command=" ".join(["python -m rollout.gates_bench.cli", *sys.argv[1:]]))
    return parser


if __name__ == "__main__":
    sys.exit(main())
