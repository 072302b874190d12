import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.evidence.eprocess import (
    LAMBDAS,
    NOTHING,
    add,
    log_mean_exp,
    log_sums,
    log_sums_of_each,
    log_value,
    value_of,
)
from rollout.core.evidence.fixed_point import log_growth
from rollout.core.evidence.score import (
    Units,
    below_floor,
    floor_fall,
    for_harm,
    for_noninferiority,
    harm_fall,
    score,
)
from rollout.core.model import BUCKETS

Path = tuple[tuple[int, int], ...]
BetOn = Callable[[Units, float], np.ndarray]
Paths = Callable[..., Iterator[tuple[Path, Fraction]]]
X = st.lists(st.floats(-1, 1), max_size=60)
SHARES = (1_000, 5_000, 25_000, 50_000)
BETS = np.array(LAMBDAS)[:, None]
UNITS = 5
MARGIN = Fraction(1, 10)


def ramped(past: Path) -> int:
    """A share that looks at what happened: up after a good outcome of the candidate, down after a bad one."""
    step = sum((2 * good - 1) for candidate, good in past if candidate) + len(past) // 2
    return SHARES[min(max(step, 0), 3)]


def predicted(past: Path) -> float:
    return (1 + sum(good for _, good in past)) / (2 + len(past))


def observed(path: Path) -> Units:
    pasts = [path[:index] for index in range(len(path))]
    return Units(
        np.array([ramped(past) for past in pasts]),
        np.array([candidate == 1 for candidate, _ in path]),
        np.array([float(good) for _, good in path]),
        np.array([predicted(past) for past in pasts]),
    )


def proof(units: Units, margin: float) -> np.ndarray:
    return for_noninferiority(score(units), margin)


def harm(units: Units, margin: float) -> np.ndarray:
    return for_harm(score(units), margin) / harm_fall(units, margin)


def plain_harm(units: Units, margin: float) -> np.ndarray:
    return for_harm(score(units), margin)


def drifting(effect: Fraction) -> Callable[[Path], tuple[Fraction, Fraction, Fraction]]:
    """Outcomes get better with time and worse after bad ones, in both arms; the candidate differs by `effect`."""

    def chance(past: Path) -> tuple[Fraction, Fraction, Fraction]:
        baseline = Fraction(4 + len(past) + sum(good for _, good in past), 16)
        return Fraction(ramped(past), BUCKETS), baseline + effect, baseline

    return chance


@pytest.mark.parametrize("stopped_at", [math.inf, 1.02])
@pytest.mark.parametrize(
    ("bet_on", "effect"),
    [(proof, -MARGIN), (harm, -MARGIN), (harm, Fraction(0)), (harm, MARGIN), (plain_harm, -MARGIN)],
)
def test_no_wealth_is_expected_under_the_null(
    every_path: Paths, bet_on: BetOn, effect: Fraction, stopped_at: float
) -> None:
    # Every path of five units under a share that reacts, stopped as soon as the value looks good, or never.
    expected, certain = 0.0, Fraction(0)
    for path, likely in every_path(drifting(effect), UNITS):
        x = bet_on(observed(path), float(MARGIN))
        looks = [math.exp(log_value(log_sums(x[:seen]))) for seen in range(1, UNITS + 1)]
        expected += float(likely) * next((value for value in looks if value >= stopped_at), looks[-1])
        certain += likely
    assert certain == 1
    assert expected <= 1.0
    assert effect != -MARGIN or expected > 1.0 - 1e-8, "at the margin it is a martingale: nothing is given away"


@pytest.mark.parametrize("stopped_at", [math.inf, 1.1])
@pytest.mark.parametrize("above", [Fraction(0), Fraction(1, 20)])
def test_no_wealth_is_expected_at_or_above_a_floor(every_path: Paths, above: Fraction, stopped_at: float) -> None:
    floor, expected = Fraction(9, 10), 0.0

    def chance(past: Path) -> tuple[Fraction, Fraction, Fraction]:
        return Fraction(ramped(past), BUCKETS), floor + above, Fraction(1, 1 + len(past))

    for path, likely in every_path(chance, UNITS):
        x = below_floor(observed(path), float(floor)) / floor_fall(float(floor))
        looks = [math.exp(log_value(log_sums(x[:seen]))) for seen in range(1, UNITS + 1)]
        expected += float(likely) * next((value for value in looks if value >= stopped_at), looks[-1])
    assert expected <= 1.0
    assert above or expected > 1.0 - 1e-8


def test_the_value_is_that_of_the_definition_in_fractions() -> None:
    x = [0.75, -0.5, 0.125, -1.0, 1.0, 0.0, 0.3]
    exact = sum(math.prod(1 + Fraction(bet) * Fraction(each) for each in x) for bet in LAMBDAS) / len(LAMBDAS)
    assert math.isclose(log_value(log_sums(np.array(x))), math.log(exact), abs_tol=len(x) * 2.4e-10)
    assert log_value(log_sums(np.array(x))) <= math.log(exact)


@given(X, X, st.randoms(use_true_random=False))
def test_merging_is_a_single_stream_in_any_order(first: list[float], second: list[float], random) -> None:
    together = first + second
    merged = add(log_sums(np.array(first)), log_sums(np.array(second)))
    assert merged == log_sums(np.array(together))
    random.shuffle(together)
    assert merged == log_sums(np.array(together))


def test_a_batch_of_any_size_adds_what_its_units_add_one_by_one() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, 2_500)
    by_one = NOTHING
    for each in x:
        by_one = add(by_one, log_sums(np.array([each])))
    assert log_sums(x) == by_one


def test_several_rows_add_what_each_adds_alone() -> None:
    x = np.random.default_rng(2).uniform(-1, 1, (3, 1_000))
    assert log_sums_of_each(x) == tuple(log_sums(row) for row in x)
    assert log_sums_of_each(x[:0]) == ()


def test_nothing_seen_is_a_value_of_one() -> None:
    assert log_value(NOTHING) == 0.0
    assert log_sums(np.array([])) == NOTHING


def test_the_bets_are_geometric_and_never_risk_everything() -> None:
    ratios = [after / before for before, after in pairwise(LAMBDAS)]
    assert max(ratios) / min(ratios) < 1.01
    assert (LAMBDAS[0], LAMBDAS[-1], len(LAMBDAS)) == (0.004, 0.8, 14)


def test_a_value_is_finite_however_clear_the_case() -> None:
    assert value_of(math.log(20)) == pytest.approx(20.0)
    assert 1e299 < value_of(1e6) < math.inf


@pytest.mark.parametrize("size", [-1e6, 0.0, 1e6])
def test_a_mean_of_exponentials_neither_overflows_nor_vanishes(size: float) -> None:
    assert math.isclose(log_mean_exp([size, size + math.log(3)]), size + math.log(2))


@pytest.mark.parametrize("bet_on", [proof, harm])
def test_looking_after_every_unit_keeps_the_level(wilson, bet_on: BetOn) -> None:
    # At the margin, while the share rises from 1 to 50 % and both arms follow a wave of +-20 points.
    runs, length, margin = 300, 1_500, 0.05
    random = np.random.default_rng(20)
    share = np.repeat([1_000, 5_000, 25_000, 50_000], length // 4)
    wave = 0.7 + 0.2 * np.sin(np.arange(length) / 90)
    crossed = 0
    for _ in range(runs):
        candidate = random.random(length) * BUCKETS < share
        outcome = (random.random(length) < wave - margin * candidate).astype(float)
        x = bet_on(Units(share, candidate, outcome, np.full(length, 0.7)), margin)
        logs = log_growth(BETS * x).cumsum(axis=1) / 2.0**32
        crossed += bool((np.exp(logs).mean(axis=0) >= 20).any())
    assert wilson(crossed, runs)[0] <= 0.05
