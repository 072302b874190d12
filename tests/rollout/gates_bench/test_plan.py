from itertools import pairwise

import pytest

from rollout.gates_bench import plan


def test_the_weights_of_the_eight_metrics_add_up_to_one() -> None:
    named = [plan.ERRORS, plan.FORM, plan.JUDGE, plan.THUMBS, *(each.metric for each in plan.LATENCIES)]
    assert len({each.name for each in named}) == 8
    assert sum(each.weight for each in named) == pytest.approx(1.0)


def test_margins_shrink_as_the_share_grows() -> None:
    for before, after in pairwise(plan.STAGES):
        assert before.share_millipct < after.share_millipct
        assert all(wide > narrow for wide, narrow in zip(before[1:], after[1:], strict=True))
