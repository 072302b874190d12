import pytest

from rollout.gates_bench import plan, rivals
from rollout.gates_bench.rivals import ENGINE, RIVALS, High, Point, Points, exposed_until, paced, threshold
from rollout.gates_bench.scenarios import Scenario, Truth
from rollout.gates_bench.traffic import World

FINE = Point(100, 1, 1.6, 50, 0.7, 0.05)


def points(candidate: Point, count: int = 20) -> list[Points]:
    return [Points(candidate, FINE)] * count


@pytest.mark.parametrize("rival", RIVALS)
def test_a_rival_finds_a_candidate_that_is_much_worse_more_severe(rival: str) -> None:
    severity = RIVALS[rival]
    assert severity(points(Point(100, 30, 9.0, 50, 0.4, 0.05))) > severity(points(FINE))


@pytest.mark.parametrize("rival", ["absolute, 3 in a row", "cumulative failures", "peeking z-test"])
def test_an_arm_without_units_is_nothing_severe(rival: str) -> None:
    assert RIVALS[rival](points(Point(0, 0, rivals.KNOWN_P95_S, 0, 0.0, 0.0))) <= 1.0


@pytest.mark.parametrize("rival", ["absolute, 3 in a row", "relative, 3 in a row", "Mann-Whitney"])
def test_two_looks_are_too_few_for_three_in_a_row(rival: str) -> None:
    assert RIVALS[rival](points(Point(100, 90, 9.0, 50, 0.1, 0.05), 2)) == 0.0


def test_a_threshold_lets_no_more_of_the_a_a_runs_pass_than_asked() -> None:
    runs = [{"r": [High(float(peak), 0)]} for peak in range(100)]
    limit = threshold(runs, "r", 0.02)
    assert sum(run["r"][-1].severity > limit for run in runs) == 2
    assert threshold([{"r": []}], "r", 0.02) == 0.0


def test_exposure_ends_where_the_severity_passes() -> None:
    highs = [High(1.0, 10), High(2.0, 40), High(5.0, 90)]
    assert exposed_until(highs, 1.5) == 40
    assert exposed_until(highs, 5.0) is None


def test_all_see_the_same_ramp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "STAGE_BATCHES", 2)
    found = paced(Scenario(name="broken", truth=Truth.HARM, error_ratio=60.0), 1)
    assert set(found) == {*RIVALS, ENGINE}
    engine = exposed_until(found[ENGINE], 0.5)
    assert engine is not None
    assert engine < 3 * plan.BATCH_UNITS
    assert all(highs == sorted(highs) for highs in found.values())


def test_nothing_scored_leaves_the_errors() -> None:
    none = FINE._replace(scored=0)
    assert RIVALS["peeking z-test"](points(none)) == pytest.approx(0.0)
    assert RIVALS["peeking z-test"](points(none._replace(failed=30))) > 3.0


def test_a_dashboard_shows_neither_hidden_failures_nor_their_latency() -> None:
    hidden = Scenario(name="hidden", truth=Truth.HARM, error_ratio=90.0, hidden=True)
    batch = World(hidden, 3).batch(plan.BATCH_UNITS, 0, 0, 0, 50_000)
    found = rivals._points(batch, slice(0, plan.LOOK_UNITS))
    assert found.candidate.failed == 0
    assert found.candidate.p95_s < 10.0
    assert found.candidate.units + found.baseline.units == plan.LOOK_UNITS
