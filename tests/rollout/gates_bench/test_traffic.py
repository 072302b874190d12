import numpy as np
import pytest

from rollout.gates_bench.scenarios import Scenario, Truth
from rollout.gates_bench.traffic import Batch, World

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
    assert not np.array_equal(first.quality, other.quality)


def test_arms_are_equal_without_an_effect() -> None:
    batch = drawn()
    assert batch.candidate.mean() == pytest.approx(0.5, abs=0.01)
    for column in ("failed", "good_form", "quality", "thumbs", "reported"):
        candidate, baseline = arms(batch, column)
        assert candidate.mean() == pytest.approx(baseline.mean(), abs=0.01)
    assert batch.failed.mean() == pytest.approx(0.01, abs=0.002)
    assert (batch.thumbs != 0.5).mean() == pytest.approx(0.02, abs=0.003)


def test_effects_are_as_large_as_they_are_named() -> None:
    batch = drawn(quality=-0.1, slowdown=1.5, error_ratio=5.0)
    candidate, baseline = arms(batch, "quality")
    assert candidate.mean() - baseline.mean() == pytest.approx(-0.1, abs=0.01)
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
    early, end = (
        drifting.quality[: SIZE // 8][drifting.candidate[: SIZE // 8]].mean(),
        drifting.quality[-SIZE // 4 :][drifting.candidate[-SIZE // 4 :]].mean(),
    )
    assert early - end == pytest.approx(0.2, abs=0.05)


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
