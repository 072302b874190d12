"""Results of a few made-up scenarios."""

import pytest

from rollout.gates_bench import report
from rollout.gates_bench.plan import Engine
from rollout.gates_bench.ramp import Run
from rollout.gates_bench.results import Path, Results
from rollout.gates_bench.scenarios import Scenario, Truth
from rollout.gates_bench.targets import targets

FINE = Scenario(name="A/A", truth=Truth.FINE)
MARGIN = Scenario(name="p95 at the margin", truth=Truth.AT_THE_MARGIN, slowdown=1.1)
HARM = Scenario(name="errors 1 -> 5 %", truth=Truth.HARM, error_ratio=5.0)
LATE = Scenario(name="late", truth=Truth.HARM, error_ratio=30.0, onset_unit=5_000)


def runs(*ends: str) -> list[Run]:
    return [Run(end, "errors" if end == "rolled_back" else "", 0, 24_000, 200, 300, 206, 24_600) for end in ends]


@pytest.fixture
def results() -> Results:
    caught = runs(*["rolled_back"] * 4)
    rows = [
        report.row(FINE, runs("completed", "completed", "completed", "held")),
        report.row(MARGIN, runs("held", "held", "held", "completed")),
        report.row(HARM, caught, (), [100, 100, 100, None]),
        report.row(LATE, runs("rolled_back", "held", "held", "held"), caught),
    ]
    beside = [
        report.beside(scenario, gate, rate, exposed)
        for gate, rate in (("engine", 0.0), ("rival", 0.02), ("rival", 0.2))
        for scenario, exposed in ((FINE, [None, None, None, 5]), (HARM, [10, 20, 30, None]), (LATE, [None] * 4))
    ]
    return Results(
        command="python -m rollout.gates_bench.cli --runs 4",
        runs=4,
        took_s=90,
        processes=2,
        engine=Engine(),
        targets=targets(rows, 0.7),
        rows=rows,
        rivals=beside,
        paths=[Path("A/A", ((3_000, -0.5), (6_000, -1.0))), Path("errors 1 -> 5 %", ((3_000, 1.0), (6_000, 2.5)))],
    )
