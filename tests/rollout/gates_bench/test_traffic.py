import numpy as np
import pytest

from rollout.gates_bench.scenarios import Scenario, Truth
from rollout.gates_bench.traffic import DOWN, NO_VOTE, UP, Batch, World

SIZE = 40_000


def drawn(*, seed: int = 1, stage: int = 0, stage_unit: int = 0, unit: int = 0, **effects: object) -> Batch:
    scenario = Scenario(name="test", truth=Truth.HARM, **effects)
    return World(scenario, seed).batch(SIZE, unit, stage, stage_unit, 50_000)


def arms(batch: Batch, column: str) -> tuple[np.ndarray, np.ndarray]:
    values = getattr(batch, column)
    return values[batch.candidate], values[~batch.candidate]


def test_a_seed_gives_the_same_traffic() -> None:
    first, again, other = drawn(), drawn(), drawn(seed=2)
    assert all(np.array_equal(one, same) for one, same in zip(first, again, strict=True))
    assert not np.array_equal(first.candidate_quality, other.candidate_quality)


def test_arms_are_equal_without_an_effect() -> None:
    batch = drawn()
    assert batch.candidate.mean() == pytest.approx(0.5, abs=0.01)
    for column in ("failed", "good_form", "vote", "reported"):
        candidate, baseline = arms(batch, column)
        assert candidate.mean() == pytest.approx(baseline.mean(), abs=0.01)
    assert batch.candidate_quality.mean() == pytest.approx(batch.baseline_quality.mean(), abs=0.02)
    assert batch.failed.mean() == pytest.approx(0.01, abs=0.002)
    assert (batch.vote != NO_VOTE).mean() == pytest.approx(0.02, abs=0.003)
    assert len(batch.paired) == pytest.approx(0.05 * SIZE, rel=0.1)


def test_effects_are_as_large_as_they_are_named() -> None:
    batch = drawn(quality=-0.1, slowdown=1.5, error_ratio=5.0)
    assert (batch.candidate_quality - batch.baseline_quality).mean() == pytest.approx(-0.1, abs=0.02)
    slow, usual = arms(batch, "ttft_s")
    assert np.median(slow) / np.median(usual) == pytest.approx(1.5, rel=0.06)
    assert batch.failed[batch.candidate].mean() == pytest.approx(0.05, abs=0.005)
    assert np.isinf(batch.total_s[batch.failed]).all()


def test_harm_begins_at_its_onset_and_drifts_if_asked() -> None:
    late = drawn(quality=-0.1, onset_stage=1, onset_unit=10_000, stage=1)
    assert np.flatnonzero(late.harmed)[0] == 10_000
    assert not drawn(onset_stage=1, stage=0).harmed.any()
    assert drawn(onset_stage=1, onset_unit=10_000, stage=2).harmed.all()
    drifting = drawn(quality=-0.2, drift=True, onset_stage=1, stage=1)
    difference = drifting.candidate_quality - drifting.baseline_quality
    early, end = difference[: len(difference) // 8].mean(), difference[-len(difference) // 4 :].mean()
    assert early - end == pytest.approx(0.17, abs=0.05)
    passing = drawn(error_ratio=50.0, onset_unit=5_000, lasting_units=6_000)
    assert np.flatnonzero(passing.harmed).tolist() == list(range(5_000, 11_000))
    assert not drawn(error_ratio=50.0, lasting_units=6_000, stage=1).harmed.any()


def test_an_outage_hits_the_baseline_for_a_while() -> None:
    batch = drawn(outage=True)
    during = slice(30_000, 36_000)
    assert drawn(outage=True, unit=30_000).failed.mean() > 0.1
    assert batch.failed[during].mean() < 0.02, "a batch that begins before it has none"


def test_units_get_lost_in_the_candidate_alone() -> None:
    batch = drawn(lost=0.1)
    assert batch.reported[batch.candidate].mean() == pytest.approx(0.9, abs=0.01)
    assert batch.reported[~batch.candidate].all()
    slowest = drawn(lost=0.05, lost_slow=True)
    assert slowest.total_s[~slowest.reported].min() >= np.quantile(slowest.total_s, 0.94)


def test_a_loaded_candidate_is_slower_above_its_free_capacity() -> None:
    scenario = Scenario(name="test", truth=Truth.HARM, coupling=5.0)
    medians = [
        np.median(batch.ttft_s[batch.candidate])
        for share in (25_000, 50_000)
        for batch in [World(scenario, 3).batch(SIZE, 0, 0, 0, share)]
    ]
    assert medians[1] / medians[0] == pytest.approx(1.5, rel=0.05)


def test_callers_see_nothing_of_what_the_fallback_hides() -> None:
    batch = drawn(error_ratio=20.0, hidden=True)
    assert batch.failed[batch.candidate].mean() > 0.1
    assert not batch.visible[batch.candidate].any()
    assert (batch.visible == batch.failed)[~batch.candidate].all()


def test_bad_form_is_as_much_more_as_is_said() -> None:
    candidate, baseline = arms(drawn(bad_form=0.02), "good_form")
    assert baseline.mean() - candidate.mean() == pytest.approx(0.02, abs=0.005)


def test_who_is_unhappy_rates_rather_and_ratings_may_come_too_late() -> None:
    batch, biased, late = drawn(), drawn(unhappy=6.0), drawn(late_votes=0.5)
    assert (biased.vote == DOWN).mean() == pytest.approx(3 * (batch.vote == DOWN).mean(), rel=0.2)
    assert (biased.vote == UP).mean() == pytest.approx((batch.vote == UP).mean(), rel=0.2)
    rated = [(votes != NO_VOTE).mean() for votes in arms(late, "vote")]
    assert rated[0] == pytest.approx(rated[1] / 2, rel=0.25)


def test_users_come_in_bursts() -> None:
    # With all of the variance the user's, units of a burst have nearly the same time to the first content.
    ttft_s = drawn(icc=0.999, burst=5).ttft_s
    usual = np.where(np.isfinite(ttft_s), ttft_s, 0.0).reshape(-1, 5)
    same = np.isclose(usual[:, 0], usual[:, 1], rtol=0.3)
    assert same.mean() > 0.9


def test_errors_of_both_arms_come_in_waves_and_storms() -> None:
    """A difference stays what it is, whatever the baseline has."""
    day = drawn(error_wave=0.9, more_errors=0.004, icc=0.0)
    high, low = slice(10_000, 15_000), slice(35_000, 40_000)
    assert day.failed[high].mean() == pytest.approx(0.0205, abs=0.005)
    assert day.failed[low].mean() == pytest.approx(0.0035, abs=0.003)
    candidate, baseline = arms(day, "failed")
    assert candidate.mean() - baseline.mean() == pytest.approx(0.004, abs=0.003)
    storm = drawn(error_storm=True)
    assert storm.failed[:7_200].mean() > 0.2
    assert drawn(error_storm=True, unit=7_200).failed.mean() == pytest.approx(0.01, abs=0.002)
