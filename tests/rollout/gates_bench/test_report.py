import numpy as np
import pytest

from rollout.gates_bench import report
from rollout.gates_bench.ramp import Run
from rollout.gates_bench.scenarios import Scenario, Truth

REASONS = {"rolled_back": "errors"}


def runs(ends: dict[str, int]) -> list[Run]:
    return [Run(end, REASONS.get(end, ""), 0, 1_200, 40, 80, 46, 2_400) for end in ends for _ in range(ends[end])]


def test_a_rate_that_is_nought_is_in_its_interval() -> None:
    assert report.rate(5, 100) == report.Rate(0.05, pytest.approx((0.02154, 0.11175), abs=1e-5), 5, 100)
    assert report.rate(0, 1_000).ci95[0] == 0.0


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


def test_the_ratio_of_medians_has_an_interval() -> None:
    random = np.random.default_rng(5)
    above, below = (random.lognormal(middle, 0.5, 400).tolist() for middle in (1.0, 0.5))
    low, high = report.ratio_ci95(above, below)
    assert low is not None
    assert high is not None
    assert low < np.median(above) / np.median(below) < high < 1.2 * low
    assert report.ratio_ci95(above, below) == (low, high)
    assert report.ratio_ci95([3.0] * 9, [2.0] * 5) == (1.5, 1.5)


def test_the_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    random = np.random.default_rng(6)
    held = 0
    for _ in range(40):
        low, high = report.ratio_ci95(random.exponential(2.0, 40).tolist(), random.exponential(1.0, 40).tolist())
        held += (low or 0.0) <= 2.0 <= (high or np.inf)
    assert 34 <= held <= 40


def test_what_was_mostly_never_found_has_no_ratio() -> None:
    assert report.ratio_ci95([None] * 4, [1.0] * 4) == (None, None)
    assert report.ratio_ci95([1.0] * 4, [None] * 4) == (None, None)
    assert report.ratio_ci95([1.0] * 55 + [None] * 45, [1.0] * 9) == (1.0, None)


def test_a_late_failure_has_the_interval_of_its_ratio() -> None:
    late = Scenario(name="late", truth=Truth.HARM, error_ratio=30.0, onset_unit=5_000)
    assert report.row(late, runs({"rolled_back": 5}), runs({"rolled_back": 5})).late_ci95 == (1.0, 1.0)
    assert report.row(late, runs({"rolled_back": 5})).late_ci95 is None
