import math

import pytest

from rollout.gates_bench import oracle
from rollout.gates_bench.oracle import has_oracle, knowledge, stopped_at
from rollout.gates_bench.scenarios import SCENARIOS, Scenario, Truth

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


def test_only_harm_that_is_there_from_the_start_has_one() -> None:
    assert has_oracle(BY_NAME["errors 1 -> 5 %"])
    others = ("A/A", "abrupt 30 % errors after 80 %", "quality drifts to -10 points", "slower above 40 % load")
    assert not any(has_oracle(BY_NAME[name]) for name in others)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("quality -10 points", "pairs"),
        ("bad form 1 -> 3 %", "good_form"),
        ("errors 1 -> 5 %", "failed"),
        ("p95 +50 %", "itl_s"),
    ],
)
def test_what_it_knows_and_how_fast_it_is(name: str, column: str) -> None:
    known = knowledge(BY_NAME[name])
    assert known.column == column
    assert sum(known.true) == pytest.approx(1.0)
    assert sum(known.null) == pytest.approx(1.0)
    found = [stopped_at(BY_NAME[name], seed, 0.05) for seed in range(12)]
    units = sorted(each for each in found if each is not None)
    assert len(units) == len(found)
    assert units[6] == pytest.approx(-math.log(0.05) / known.information, rel=0.7), "Wald's approximation"


def test_a_route_is_part_of_the_rate() -> None:
    assert knowledge(BY_NAME["one route of 5 % fails"]).true[1] == pytest.approx(0.0595)


def test_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "_UNITS_MAX", 3_000)
    assert stopped_at(Scenario(name="little", truth=Truth.HARM, error_ratio=1.31), 1, 0.05) is None
