"""Many ramps of flags by user over several processes; seeds are fixed, runs are kept as those of other ramps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.core.evidence import (
    cluster_parts,
    cluster_verdicts,
    clusters,
    eprocess,
    fixed_point,
    folding,
    interval,
    ledger,
    levels,
    plans,
    restart,
    rollback,
    score,
    verdicts,
)
from rollout.gates_bench.kept import Kept
from rollout.gates_bench.users import books, ramp, results, world
from rollout.gates_bench.users.world import SCENARIOS, UsersScenario

if TYPE_CHECKING:
    from multiprocessing.pool import Pool
    from pathlib import Path

    from rollout.gates_bench.users.results import UsersRow

FIRST_SEED = 5_000_000
_SEEDS_EACH = 100_000
_CHUNK = 4
_DECISIONS = (
    cluster_parts, cluster_verdicts, clusters, eprocess, fixed_point, folding, interval, ledger, levels, plans,
    restart, rollback, score, verdicts,
)  # fmt: skip
SOURCES = (*_DECISIONS, books, ramp, world)
"""What runs depend on."""


class UsersCampaign:
    """So many runs of each scenario; what was made is kept below `folder`, if there is one."""

    def __init__(self, pool: Pool, runs: int, folder: Path | None = None) -> None:
        self._pool, self._runs, self._kept = pool, runs, Kept(folder, "users", SOURCES)

    def row(self, scenario: UsersScenario) -> UsersRow:
        """All runs of one scenario, which has seeds of its own."""
        first = FIRST_SEED + _SEEDS_EACH * SCENARIOS.index(scenario)

        def make(known: int) -> list[ramp.UsersRun]:
            arguments = [(scenario, seed) for seed in range(first + known, first + self._runs)]
            return self._pool.starmap(ramp.run, arguments, chunksize=_CHUNK)

        done = self._kept.extended(f"{scenario.name} {first}", list[ramp.UsersRun], self._runs, make)
        return results.row(scenario, done)
