import math

import numpy as np
import pytest

from rollout.core.evidence import restart
from rollout.core.evidence.eprocess import LAMBDAS, log_sums, log_value
from rollout.core.evidence.fixed_point import real
from rollout.gates_bench.kinds import grown
from rollout.gates_bench.looks import Harm, Proof

BETS = len(LAMBDAS)


def growths(x: np.ndarray) -> np.ndarray:
    """[bets, n] of one series whose units are all of their own kind."""
    return grown(x[np.newaxis])[0]


def drawn(seed: int, units: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.4, 0.6, units)


def test_harm_is_the_cores_after_each_epoch_however_it_is_cut() -> None:
    harm, growth = Harm(1, BETS), {}
    for epoch in range(6):
        if epoch:
            harm.begin_epoch()
        x = drawn(epoch)
        growth[epoch] = [real(steps) for steps in log_sums(x)]
        for part in (x[:15], x[15:]):
            walked = harm.walk(0, growths(part))
            assert len(walked) == len(part) + 1
            assert walked[0] == pytest.approx(harm.value()[0])
            harm.advance(growths(part).sum(axis=1)[np.newaxis])
            assert harm.value()[0] == pytest.approx(walked[-1])
        assert math.log(harm.value()[0]) == pytest.approx(restart.log_value(growth), rel=1e-9)


def test_a_walk_is_the_core_asked_after_each_unit() -> None:
    harm, x = Harm(1, BETS), drawn(9)
    walked = harm.walk(0, growths(x))
    for units in (0, 1, 7, 40):
        own = {0: [real(steps) for steps in log_sums(x[:units])]}
        assert math.log(walked[units]) == pytest.approx(restart.log_value(own), rel=1e-9, abs=1e-9)


def test_proof_is_the_cores_and_begins_anew() -> None:
    proof, x = Proof(2, BETS), drawn(3)
    walked = proof.walk(1, growths(x))
    assert walked[0] == 0.0
    assert walked[-1] == pytest.approx(log_value(log_sums(x)), rel=1e-9)
    proof.advance(np.vstack([np.zeros(BETS), growths(x).sum(axis=1)]))
    assert proof.log_value() == pytest.approx([0.0, walked[-1]])
    proof.begin()
    assert proof.log_value().tolist() == [0.0, 0.0]


def test_bounds_are_never_below_what_is_walked() -> None:
    x = drawn(4)
    rises = np.maximum(growths(x).cumsum(axis=1).max(axis=1), 0.0)[np.newaxis]
    harm, proof = Harm(1, BETS), Proof(1, BETS)
    assert harm.bound(rises)[0] >= harm.walk(0, growths(x)).max()
    assert proof.bound(rises)[0] >= proof.walk(0, growths(x)).max()


def test_what_is_beyond_every_number_is_infinite() -> None:
    harm = Harm(1, BETS)
    assert harm.bound(np.full((1, BETS), 5_000.0))[0] == math.inf
