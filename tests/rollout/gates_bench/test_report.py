import pytest

from rollout.gates_bench import report
from rollout.gates_bench.ramp import Run
from rollout.gates_bench.scenarios import Scenario, Truth

REASONS = {"rolled_back": "errors"}


def runs(ends: dict[str, int]) -> list[Run]:
    return [Run(end, REASONS.get(end, ""), 0, 1_200, 40, 80, 46, 2_400) for end in ends for _ in range(ends[end])]


def test_wilson_intervals_are_those_of_the_textbook() -> None:
    assert report.wilson(5, 100).ci95 == pytest.approx((0.02154, 0.11175), abs=1e-5)
    assert report.wilson(0, 100).ci95 == pytest.approx((0.0, 0.03699), abs=1e-5)


def test_medians_count_those_who_never_got_there() -> None:
    found = report.median([*range(1, 100), None])
    assert found.median == 51
    assert found.ci95 == (41, 61)
    assert found.q90 == 90
    assert report.median([5, None, None]) == report.Median(None, (5, None), None)
    assert report.median([7]).median == 7


def test_a_row_counts_how_ramps_ended_and_what_harm_cost() -> None:
    scenario = Scenario(name="errors", truth=Truth.HARM, error_ratio=2.0)
    found = report.row(scenario, runs({"rolled_back": 3, "held": 1}), runs({"rolled_back": 2}), [20, 20, None])
    assert (found.rolled_back.hits, found.held.hits, found.completed.hits) == (3, 1, 0)
    assert found.reasons == {"errors": 3}
    medians = (found.exposed, found.decisive, found.scored, found.delay_minutes, found.fresh_decisive, found.oracle)
    assert [each.median for each in medians if each is not None] == [46, 40, 160, 2.0, 40, 20]
    assert found.exposed is not None
    assert found.exposed.q90 is None
    assert found.regret == 2.0
    assert found.minutes.median == 1.0


def test_quality_is_measured_in_answers() -> None:
    scenario = Scenario(name="quality", truth=Truth.HARM, quality=-0.1)
    found = report.row(scenario, runs({"rolled_back": 3}), (), [40, 40, 40])
    assert found.regret == 160 / 80
    assert report.row(scenario, runs({"held": 3}), (), [40]).regret is None


def test_what_is_fine_has_no_exposure() -> None:
    found = report.row(Scenario(name="A/A", truth=Truth.FINE), runs({"completed": 2}))
    assert (found.exposed, found.oracle, found.regret, found.fresh_decisive) == (None,) * 4


def test_gates_are_summed_up_beside_each_other() -> None:
    found = report.beside(Scenario(name="errors", truth=Truth.HARM), "rival", 0.02, [10, 30, None, 20])
    assert (found.gate, found.rolled_back.hits, found.exposed.median) == ("rival", 3, 30)
