import numpy as np
import pytest

from rollout.gates_bench import plan
from rollout.gates_bench.metrics import Errors, Judged, Latency, Observed
from rollout.gates_bench.scenarios import Scenario, Truth
from rollout.gates_bench.traffic import Batch, World

AA = Scenario(name="A/A", truth=Truth.FINE)


@pytest.fixture
def batches() -> list[Batch]:
    world = World(AA, 9)
    return [world.batch(plan.BATCH_UNITS, 0, 2, 0, 25_000) for _ in range(12)]


def test_a_metric_with_an_age_enters_late(batches: list[Batch]) -> None:
    judged = Judged(np.random.default_rng(1))
    assert len(judged.look(batches[0], 2, new_epoch=False).values) == 0
    path = judged.look(batches[1], 2, new_epoch=True)
    assert len(path.values) == len(path.positions) > 0
    assert batches[0].candidate[path.positions].mean() == pytest.approx(0.5, abs=0.15)


def test_latency_waits_for_a_yardstick(batches: list[Batch]) -> None:
    metric = Latency(plan.LATENCIES[1])
    assert len(metric.look(batches[0], 2, new_epoch=False).values) == 0
    assert len(metric.look(batches[1], 2, new_epoch=False).values) == plan.BATCH_UNITS


def test_what_is_proved_anew_is_forgotten_with_the_stage_and_quality_is_not(batches: list[Batch]) -> None:
    errors, latency, judged = Errors(), Latency(plan.LATENCIES[1]), Judged(np.random.default_rng(1))
    for metric in (errors, latency, judged):
        for number, batch in enumerate(batches):
            metric.look(batch, 2, new_epoch=number == 6)
        before = metric.noninferiority_log_value(2)
        assert before != 0.0
        metric.leave_stage()
        assert metric.noninferiority_log_value(2) == (before if metric is judged else pytest.approx(0.0))


def test_what_is_only_observed_is_asked_for_by_no_promotion(batches: list[Batch]) -> None:
    metric = Observed(plan.FORM, plan.FORM_HARM, 0.99, "good_form")
    assert len(metric.look(batches[0], 2, new_epoch=False).values) == plan.BATCH_UNITS
    metric.leave_stage()
    assert metric.noninferiority_log_value(2) is None
    assert Latency(plan.LATENCIES[0]).noninferiority_log_value(2) is None
