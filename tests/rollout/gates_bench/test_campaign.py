from collections.abc import Callable, Iterable
from typing import Any

import pytest

from rollout.gates_bench import campaign, plan, rivals
from rollout.gates_bench.campaign import FALSE_ROLLBACKS, Campaign
from rollout.gates_bench.plan import Engine
from rollout.gates_bench.scenarios import SCENARIOS

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


class Here:
    """A pool that does it itself, and keeps the seeds."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def starmap(self, job: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], chunksize: int) -> list[Any]:
        assert chunksize > 0
        told = list(arguments)
        self.seeds += [seed for _, seed, *_ in told]
        return [job(*each) for each in told]


def test_a_row_has_what_goes_with_its_scenario() -> None:
    pool = Here()
    of = Campaign(pool, Engine(), 2)  # type: ignore[arg-type]  it asks for starmap alone
    found = of.row(BY_NAME["errors 1 -> 30 %"])
    assert found.rolled_back.hits == found.rolled_back.runs == 2
    assert found.oracle is not None
    assert found.fresh_decisive is None
    first = list(pool.seeds)
    of.row(BY_NAME["errors 1 -> 5 %"])
    assert not set(first) & set(pool.seeds[len(first) :]), "seeds of its own"


def test_gates_are_compared_on_what_is_fine_or_harmful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "STAGE_BATCHES", 1)
    pool = Here()
    chosen = [BY_NAME["errors 1 -> 30 %"], BY_NAME["3 % of units lost"]]
    found = Campaign(pool, Engine(), 1).beside(chosen, 1)  # type: ignore[arg-type]
    assert {row.scenario for row in found} == {"errors 1 -> 30 %"}
    assert len(found) == 1 + len(rivals.RIVALS) * len(FALSE_ROLLBACKS)
    assert min(pool.seeds) == campaign.CALIBRATION_SEED


def test_paths_end_with_the_rollback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "STAGE_BATCHES", 2)
    monkeypatch.setattr(campaign, "_SHOWN", ("A/A", "abrupt 30 % errors after 80 %"))
    whole, abrupt = campaign.paths(Engine())
    assert [units for units, _ in whole.points] == [plan.BATCH_UNITS * (number + 1) for number in range(8)]
    assert len(abrupt.points) <= 8
