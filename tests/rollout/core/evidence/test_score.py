import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.eprocess import log_sums, log_value
from rollout.core.evidence.fixed_point import on_grid
from rollout.core.evidence.score import (
    RunningMean,
    Units,
    below_floor,
    floor_fall,
    for_harm,
    for_noninferiority,
    harm_fall,
    score,
)
from rollout.core.model import BUCKETS

Batch = Callable[..., Units]
UNIT = st.floats(0, 1)
SHARE = st.integers(0, BUCKETS)


def one(share: int, *, candidate: bool, outcome: float, predicted: float) -> Units:
    return Units(np.array([share]), np.array([candidate]), np.array([outcome]), np.array([predicted]))


@given(SHARE, UNIT, UNIT, UNIT)
def test_the_expected_score_is_the_overlap_times_the_effect(
    share: int, if_candidate: float, if_baseline: float, predicted: float
) -> None:
    treated = score(one(share, candidate=True, outcome=if_candidate, predicted=predicted))
    not_treated = score(one(share, candidate=False, outcome=if_baseline, predicted=predicted))
    p = share / BUCKETS
    expected = p * treated.contrast[0] + (1 - p) * not_treated.contrast[0]
    assert math.isclose(expected, p * (1 - p) * (if_candidate - if_baseline), abs_tol=1e-15)
    assert treated.overlap[0] == not_treated.overlap[0] == p * (1 - p)


@given(SHARE, st.booleans(), UNIT, UNIT, UNIT)
def test_what_is_bet_on_stays_within_one(
    share: int,
    candidate: bool,  # noqa: FBT001  Hypothesis gives it
    outcome: float,
    predicted: float,
    margin: float,
) -> None:
    scores = score(one(share, candidate=candidate, outcome=outcome, predicted=predicted))
    assert -1.0 <= for_noninferiority(scores, margin)[0] <= 1.0
    assert for_harm(scores, margin)[0] == -for_noninferiority(scores, margin)[0]


@pytest.mark.parametrize("share", [0, BUCKETS])
def test_a_share_of_nothing_or_all_says_nothing(share: int) -> None:
    scores = score(one(share, candidate=share > 0, outcome=0.3, predicted=0.9))
    assert scores.contrast[0] == scores.overlap[0] == 0.0


def test_a_score_as_computed_by_hand() -> None:
    scores = score(one(25_000, candidate=True, outcome=0.5, predicted=1.0))
    assert Fraction(scores.contrast[0]) == Fraction(-3, 8)
    assert for_noninferiority(scores, 0.5)[0] == -3 / 8 + 3 / 32


@pytest.mark.parametrize(
    "row",
    [
        (-1, True, 0.5, 0.5),
        (BUCKETS + 1, True, 0.5, 0.5),
        (1, True, -0.01, 0.5),
        (1, True, 1.01, 0.5),
        (1, True, math.nan, 0.5),
        (1, True, 0.5, math.nan),
        (1, True, 0.5, math.inf),
    ],
)
def test_what_is_out_of_range_or_no_number_is_refused(units: Batch, row: tuple[int, bool, float, float]) -> None:
    with pytest.raises(InvalidArgument, match="out of range"):
        score(units([(1, True, 0.5, 0.5), row]))


def test_columns_of_different_length_are_refused(units: Batch) -> None:
    batch = units([(1, True, 0.5, 0.5)])
    with pytest.raises(InvalidArgument, match="differ in length"):
        score(batch._replace(outcome=np.array([0.5, 0.5])))


@given(st.lists(UNIT), st.lists(UNIT))
def test_a_running_mean_does_not_depend_on_its_batches(first: list[float], second: list[float]) -> None:
    together = RunningMean(0.9).after(np.array(first + second))
    assert RunningMean(0.9).after(np.array(second)).after(np.array(first)) == together
    assert 0.0 <= together.value <= 1.0


def test_a_running_mean_starts_at_its_prior_and_gives_it_the_weight_of_one_outcome() -> None:
    assert RunningMean(0.9).value == 0.9
    assert RunningMean(1.0).after(np.array([0.0, 0.5])) == RunningMean(1.0, int(on_grid(np.array([0.5]))[0]), 2)
    assert RunningMean(1.0).after(np.array([0.0, 0.5])).value == 0.5


@given(SHARE, st.booleans(), UNIT, UNIT, UNIT)
def test_harm_never_falls_further_than_is_known_before_the_draw(
    share: int,
    candidate: bool,  # noqa: FBT001  Hypothesis gives it
    outcome: float,
    predicted: float,
    margin: float,
) -> None:
    units = one(share, candidate=candidate, outcome=outcome, predicted=predicted)
    other = one(share, candidate=not candidate, outcome=1.0 - outcome, predicted=predicted)
    assert harm_fall(units, margin) == harm_fall(other, margin) > 0.0
    assert for_harm(score(units), margin)[0] / harm_fall(units, margin)[0] >= -1.0 - 1e-9


def test_a_rare_failure_at_a_small_share_bears_a_large_bet() -> None:
    failed = one(BUCKETS // 100, candidate=True, outcome=0.0, predicted=0.95)
    assert for_harm(score(failed), 0.0)[0] / harm_fall(failed, 0.0)[0] == pytest.approx(19.0)


Paths = Callable[..., Iterator[tuple[tuple[tuple[int, int], ...], Fraction]]]


@pytest.mark.parametrize(("above", "stopped_at"), [(0, 9.0), (0, 1.01), (1, 1.01)])
def test_no_wealth_is_expected_against_a_floor_that_is_kept(every_path: Paths, above: int, stopped_at: float) -> None:
    """Every path of five units under a share that falls with each failure, the baseline down, the candidate at it."""
    floor = Fraction(3, 4)

    def share(past: tuple[tuple[int, int], ...]) -> int:
        return (50_000, 25_000, 1_000)[min(2, sum(not good for candidate, good in past if candidate))]

    expected = 0.0
    rates = floor + Fraction(above, 8), Fraction(1, 10)
    for path, likely in every_path(lambda past: (Fraction(share(past), BUCKETS), *rates), 5):
        shares = np.array([share(path[:seen]) for seen in range(5)])
        candidate = np.array([each == 1 for each, _ in path])
        outcome = np.array([float(good) for _, good in path])
        x = below_floor(Units(shares, candidate, outcome, np.full(5, 0.5)), float(floor))
        looks = [math.exp(log_value(log_sums(x[:seen]))) for seen in range(1, 6)]
        expected += float(likely) * next((value for value in looks if value >= stopped_at), looks[-1])
    assert expected <= 1.0
    assert above or expected > 1.0 - 1e-8


@given(st.integers(1, BUCKETS - 1), UNIT, UNIT, UNIT, UNIT)
def test_a_scaled_bet_is_as_fair_as_it_was(
    share: int, good: float, worse: float, predicted: float, margin: float
) -> None:
    """Over the coin, for means of both arms: nothing at the margin is expected, less than nothing within it."""
    p, if_candidate = share / BUCKETS, good - min(worse, margin, good)
    treated = one(share, candidate=True, outcome=if_candidate, predicted=predicted)
    not_treated = one(share, candidate=False, outcome=good, predicted=predicted)
    each = [for_harm(score(units), margin)[0] / harm_fall(units, margin)[0] for units in (treated, not_treated)]
    expected = p * each[0] + (1 - p) * each[1]
    assert expected <= 1e-9
    assert expected == pytest.approx(
        p * (1 - p) * (good - if_candidate - margin) / harm_fall(treated, margin)[0], rel=1e-6, abs=1e-9
    )


@given(SHARE, st.booleans(), UNIT, UNIT)
def test_below_a_floor_nothing_falls_further_than_is_known_before_the_draw(
    share: int,
    candidate: bool,  # noqa: FBT001  Hypothesis gives it
    outcome: float,
    floor: float,
) -> None:
    units = one(share, candidate=candidate, outcome=outcome, predicted=0.5)
    assert floor_fall(floor) > 0.0
    assert below_floor(units, floor)[0] / floor_fall(floor) >= -1.0 - 1e-9
    assert below_floor(units._replace(outcome=np.array([floor])), floor)[0] == 0.0


def test_a_failure_below_a_high_floor_bears_a_large_bet() -> None:
    failed = one(BUCKETS // 100, candidate=True, outcome=0.0, predicted=0.5)
    assert below_floor(failed, 0.95)[0] / floor_fall(0.95) == pytest.approx(19.0)
    assert math.isfinite(below_floor(failed, 1.0)[0] / floor_fall(1.0))
