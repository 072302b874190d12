import numpy as np
import pytest

from rollout.core.evidence.quantile import EDGES_S
from rollout.gates_bench import plan
from rollout.gates_bench.kinds import LEFT_OUT, OUTCOMES
from rollout.gates_bench.metrics import HARM, HARM_MARGINS, PROOF, Metrics, Series, Yardstick, judged, proof_margins
from rollout.gates_bench.scenarios import Scenario, Truth
from rollout.gates_bench.traffic import NO_VOTE, Batch, World

STAGE = 2


def batches(count: int, **effects: object) -> list[Batch]:
    world = World(Scenario(name="test", truth=Truth.FINE, **effects), 9)
    share = plan.STAGES[STAGE].share_millipct
    return [world.batch(plan.BATCH_UNITS, 0, STAGE, 0, share) for _ in range(count)]


def test_series_and_margins_go_together() -> None:
    assert len(HARM) == len(HARM_MARGINS)
    assert {"errors", *HARM, "judge"} == set(plan.METRICS)
    assert len(PROOF) == len(proof_margins(STAGE))
    assert NO_VOTE == LEFT_OUT


def test_the_prediction_is_the_mean_of_what_came_before() -> None:
    (batch,), series = batches(1), Series(0.5)
    positions = np.arange(4)
    assert series.column(batch, positions, np.array([1, 1, 0, LEFT_OUT])).predicted == 0.5
    after = series.column(batch, positions, np.array([0, 0, 0, 0]))
    assert after.predicted == pytest.approx(2.5 / 4)
    assert (after.kind % OUTCOMES).tolist() == [0, 0, 0, 0]
    assert (after.kind >= OUTCOMES).tolist() == batch.candidate[:4].tolist()


def test_a_yardstick_forgets() -> None:
    yardstick = Yardstick()
    assert yardstick.quantile_s(0.5) is None
    yardstick.learn(np.full(1_000, 100.0))
    assert yardstick.quantile_s(0.5) == pytest.approx(100.0, rel=0.05)
    for _ in range(plan.YARDSTICK_BATCHES):
        yardstick.learn(np.full(1_000, 1.0))
    assert yardstick.quantile_s(0.99) == pytest.approx(EDGES_S[np.searchsorted(EDGES_S, 1.0)])


def test_latency_waits_for_a_yardstick_and_ratings_for_their_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "FEEDBACK_BATCHES", 2)
    metrics, found = Metrics(), batches(3)
    first, second, third = (metrics.take(batch, STAGE) for batch in found)
    thumbs = HARM.index("thumbs")
    assert [len(column.kind) for column in first.harm] == [plan.BATCH_UNITS, 0, 0, 0, 0, 0]
    assert [len(column.kind) for column in first.proof] == [plan.BATCH_UNITS, plan.BATCH_UNITS, 0, 0]
    assert all(len(column.kind) == plan.BATCH_UNITS for column in [*second.harm[:thumbs], *second.proof])
    assert len(second.harm[thumbs].kind) == 0
    assert (third.harm[thumbs].kind % OUTCOMES).tolist() == found[0].vote.tolist()


def test_with_a_baseline_from_before_there_is_a_yardstick_at_once() -> None:
    metrics, (before, batch) = Metrics(), batches(2)
    metrics.learn(before)
    assert len(metrics.take(batch, STAGE).harm[1].kind) == plan.BATCH_UNITS


def test_lost_units_are_seen_by_nobody() -> None:
    (batch,) = batches(1, lost=0.5)
    taken = Metrics().take(batch, STAGE)
    assert len(taken.proof[0].kind) == batch.reported.sum() < plan.BATCH_UNITS
    assert batch.reported[taken.paired].all()
    failed = taken.errors.positions[taken.errors.kind % OUTCOMES == 0]
    assert (batch.failed & batch.reported).nonzero()[0].tolist() == failed.tolist()


def test_a_judge_sees_no_small_difference() -> None:
    (batch,) = batches(1)
    wins, positions = judged(batch)
    difference = (batch.candidate_quality - batch.baseline_quality)[np.isin(batch.paired, positions)]
    assert (wins[np.abs(difference) < plan.TIE] == 1).all()
    assert (wins[difference > plan.TIE] == 2).all()
    assert (wins[difference < -plan.TIE] == 0).all()
