import math

import numpy as np
import pytest

from rollout.core.evidence import counts, restart
from rollout.core.evidence.counts import LOG_RATIOS
from rollout.core.evidence.eprocess import LAMBDAS, log_sums
from rollout.core.evidence.fixed_point import real
from rollout.gates_bench.looks import RestartPath, bet_growths, error_growths


def test_the_value_at_the_end_of_each_epoch_is_the_cores() -> None:
    random = np.random.default_rng(1)
    path, growth = RestartPath(len(LAMBDAS)), {}
    for epoch in range(6):
        if epoch:
            path.begin_epoch()
        x = random.uniform(-0.4, 0.6, 50)
        growth[epoch] = [real(steps) for steps in log_sums(x)]
        first, second = path.values(bet_growths(x[:20])), path.values(bet_growths(x[20:]))
        assert len(first) + len(second) == 50
        assert math.log(second[-1]) == pytest.approx(restart.log_value(growth), rel=1e-9)


def test_a_batch_without_units_changes_nothing() -> None:
    path = RestartPath(len(LAMBDAS))
    assert path.values(bet_growths(np.zeros(0))).tolist() == []
    assert path.values(bet_growths(np.zeros(1)))[0] == pytest.approx(1.0)


def test_errors_grow_as_the_count_test_of_the_core_says() -> None:
    random = np.random.default_rng(2)
    candidate, failed = random.random(400) < 0.25, random.random(400) < 0.1
    path = RestartPath(len(LOG_RATIOS)).values(error_growths(25_000, candidate, failed, 1.25))
    events = counts.counted(np.full(int(failed.sum()), 25_000), candidate[failed])
    assert math.log(path[-1]) == pytest.approx(counts.harm_log_value({0: events}, {0: 1.25}), rel=1e-9)
    assert (np.diff(path)[~failed[1:]] == 0).all()
