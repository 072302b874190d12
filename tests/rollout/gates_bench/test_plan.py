from itertools import pairwise

import pytest

from rollout.core.evidence import levels, pairs, plans
from rollout.core.ramp_model import Evidence
from rollout.gates_bench import plan
from rollout.gates_bench.plan import Engine


def test_the_weights_of_the_eight_metrics_add_up_to_one() -> None:
    assert len(set(plan.METRICS)) == 8
    assert sum(Engine().weight(name) for name in plan.METRICS) == pytest.approx(1.0)
    assert Engine().weight("errors") == 2 * Engine().weight("judge")
    assert Engine(weights={}).weight("errors") == 1 / 8


def test_margins_shrink_as_the_share_grows() -> None:
    for before, after in pairwise(plan.STAGES):
        assert before.share_millipct < after.share_millipct
        assert all(wide > narrow for wide, narrow in zip(before[1:], after[1:], strict=True))


def test_levels_and_ages_are_the_products() -> None:
    assert Engine().alpha == pytest.approx(0.0304, abs=1e-4)
    assert Engine().judge_alpha == pytest.approx(0.0185, abs=1e-4)
    assert Engine().weights == levels._WEIGHTS
    assert Engine().judge_epoch_batches * plan.BATCH_UNITS / plan.REQUESTS_PER_S == pairs.EPOCH_S
    assert Engine().epoch_batches * plan.BATCH_UNITS / plan.REQUESTS_PER_S == plans.EPOCH_S
    assert Evidence().age_s == plan.AGE_S
    assert pytest.approx(3_570 * plan.REQUESTS_PER_S, rel=0.02) == plan.FEEDBACK_BATCHES * plan.BATCH_UNITS
    assert set(plan.REQUIRED) <= set(plan.METRICS) == set(plan.AGES_S)


def test_points_of_quality_are_lost_wins() -> None:
    assert plan.wins_lost(0.0) == pytest.approx(0.0)
    assert plan.wins_lost(0.03) == pytest.approx(0.0377, abs=3e-4)
    assert plan.wins_lost(0.1) == pytest.approx(0.124, abs=2e-3)
    assert plan.normal(1.959964) == pytest.approx(0.975)
    ties = plan.normal(plan.TIE / plan.PAIR_SPREAD) - plan.normal(-plan.TIE / plan.PAIR_SPREAD)
    assert ties == pytest.approx(0.3, abs=1e-3)
