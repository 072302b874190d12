"""Results of a few made-up ramps of users who keep their arm."""

import pytest

from rollout.gates_bench.scenarios import Truth
from rollout.gates_bench.users import results
from rollout.gates_bench.users.ramp import UsersRun
from rollout.gates_bench.users.results import UsersResults
from rollout.gates_bench.users.world import UsersScenario

FINE = UsersScenario(traffic="equal", icc=0.1, truth=Truth.FINE)
MARGIN = UsersScenario(traffic="Zipf", icc=0.0, truth=Truth.AT_THE_MARGIN)
RUNS = [
    UsersRun("completed", 24_000, by_groups=True),
    UsersRun("completed", 26_400, by_groups=False),
    UsersRun("rolled_back", 3_600, by_groups=True),
    UsersRun("held", 60_000, by_groups=True),
]


@pytest.fixture
def users_results() -> UsersResults:
    rows = [results.row(FINE, RUNS), results.row(MARGIN, RUNS[3:] * 4)]
    return UsersResults(command="python -m rollout.gates_bench.cli --users", runs=4, took_s=90, processes=2, rows=rows)
