import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.evidence import interval as intervals
from rollout.core.evidence.eprocess import LAMBDAS, log_sums, log_value
from rollout.core.evidence.interval import Interval, Moments, add, decision_expected_s, decision_n_eff, moments
from rollout.core.evidence.score import Units, for_harm, for_noninferiority, score
from rollout.core.model import BUCKETS

ROW = st.tuples(st.integers(0, BUCKETS), st.booleans(), st.floats(0, 1), st.floats(0, 1))
ROWS = st.lists(ROW, min_size=1, max_size=30)
Batch = Callable[..., Units]


def gathered(units: Units) -> Moments:
    return moments(score(units), int(units.candidate.sum()))


def drawn(count: int, effect: float, seed: int, share: int = 50_000) -> Units:
    random = np.random.default_rng(seed)
    candidate = random.random(count) * BUCKETS < share
    outcome = (random.random(count) < 0.7 + effect * candidate).astype(float)
    return Units(np.full(count, share), candidate, outcome, np.full(count, 0.7))


@given(ROWS, ROWS)
def test_merging_is_a_single_stream(units: Batch, first: list, second: list) -> None:
    sums = [gathered(units(rows)) for rows in (first, second, first + second)]
    assert add(sums[0], sums[1]) == add(sums[1], sums[0]) == sums[2]


@given(ROWS, st.floats(0, 1))
def test_the_bound_of_the_interval_is_never_above_a_process_at_the_margin(
    units: Batch, rows: list, margin: float
) -> None:
    batch = units(rows)
    value = log_value(log_sums(for_noninferiority(score(batch), margin)))
    # At a level that the process misses by a hair, the bound must not reject the margin either.
    alpha = math.exp(-max(value, 0.0) - 1e-6)
    assert intervals.lower_bound(gathered(batch), alpha) <= -margin + 1e-9


def test_the_estimate_is_the_effect_weighted_by_overlap(units: Batch) -> None:
    sums = gathered(units([(50_000, True, 0.75, 0.5), (50_000, False, 0.5, 0.5), (0, False, 0.9, 0.1)]))
    assert sums.estimate == pytest.approx(0.125 / 0.5)
    assert sums.variance == pytest.approx(0.125**2 / 0.5)
    assert sums.n_eff == 0.5
    assert (sums.units, sums.candidates) == (3, 1)


def test_before_anything_is_seen_nothing_is_said() -> None:
    assert Moments().estimate is None
    assert Moments().variance is None
    assert intervals.interval(Moments(), 0.05) == Interval(-1.0, 1.0)
    assert intervals.smallest_margin_excluded(Moments(), 0.05) is None
    assert decision_expected_s(Moments(), 0.03, 0.05, 1.0) is None


@pytest.mark.parametrize("effect", [-0.2, 0.0, 0.1])
def test_an_interval_holds_the_effect_and_narrows(effect: float) -> None:
    few, many = (intervals.interval(gathered(drawn(count, effect, 4)), 0.05) for count in (1_000, 20_000))
    assert few.lower < many.lower < effect < many.upper < few.upper
    assert many.upper - many.lower < 0.07


def test_exchanging_the_arms_mirrors_the_interval() -> None:
    units = drawn(2_000, -0.1, 5)
    there = intervals.interval(gathered(units), 0.05)
    back = intervals.interval(gathered(units._replace(candidate=~units.candidate)), 0.05)
    assert (back.lower, back.upper) == pytest.approx((-there.upper, -there.lower), abs=1e-9)


def test_the_smallest_margin_excluded_is_near_what_processes_at_each_margin_exclude() -> None:
    units = drawn(10_000, 0.0, 6)
    found = intervals.smallest_margin_excluded(gathered(units), 0.05)
    assert found is not None

    def excludes(margin: float) -> bool:
        return log_value(log_sums(for_noninferiority(score(units), margin))) >= math.log(20)

    assert excludes(found + 1e-6), "what the bound excludes, the process excludes"
    assert not excludes(found / 1.15), "and it costs at most fifteen percent here"


def test_a_better_candidate_excludes_less_than_nothing() -> None:
    margin = intervals.smallest_margin_excluded(gathered(drawn(10_000, 0.1, 7)), 0.05)
    assert margin is not None
    assert -0.1 < margin < -0.05


def test_an_interval_holds_at_every_look(wilson) -> None:
    runs, missed = 120, 0
    for seed in range(runs):
        units, seen = drawn(1_000, -0.1, 100 + seed, share=20_000), Moments()
        held = True
        for start in range(0, 1_000, 50):
            seen = add(seen, gathered(Units(*(column[start : start + 50] for column in units))))
            found = intervals.interval(seen, 0.2)
            held = held and found.lower <= -0.1 <= found.upper
        missed += not held
    assert wilson(missed, runs)[0] <= 0.2


def test_the_information_a_decision_takes() -> None:
    assert decision_n_eff(0.21, 0.03, 0.05, 0.0) == pytest.approx(12.5 * 0.21 / 0.0009)
    more = decision_n_eff(0.21, 0.03, 0.05 / math.e, 0.5) - decision_n_eff(0.21, 0.03, 0.05, 0.5)
    assert more == pytest.approx(2 * 0.21 / 0.0009)
    assert decision_n_eff(0.21, 0.03, 0.05, 0.5) - decision_n_eff(0.21, 0.03, 0.05, 0.0) == pytest.approx(4 / 0.03)


@pytest.mark.parametrize(
    ("share", "good", "margin"), [(50_000, 0.7, 0.05), (1_000, 0.99, 0.02), (5_000, 0.95, 0.05), (50_000, 0.99, 0.005)]
)
def test_four_of_five_runs_decide_with_about_that_information(share: int, good: float, margin: float) -> None:
    p, random = share / BUCKETS, np.random.default_rng(share)
    bad = 1 - good
    one_of_each = Units(
        np.full(4, share), np.arange(4) < 2, np.array([1.0, 0.0, 1.0, 0.0]), np.full(4, good)
    )  # of each arm a good and a bad outcome
    growth = np.log1p(np.outer(LAMBDAS, for_noninferiority(score(one_of_each), margin)))
    needed = decision_n_eff(good * bad, margin, 0.05, max(p, 1 - p)) / (p * (1 - p))
    counts = random.multinomial(round(needed / 50), [p * good, p * bad, (1 - p) * good, (1 - p) * bad], size=(200, 200))
    values = np.exp(counts.cumsum(axis=1) @ growth.T).mean(axis=2)
    decided_at = np.where((values >= 20).any(axis=1), (values >= 20).argmax(axis=1) + 1, np.inf)
    assert np.quantile(decided_at, 0.8) == pytest.approx(50, rel=0.4)


@pytest.mark.parametrize(("share", "fall"), [(1_000, 0.99), (99_000, 0.99), (50_000, 0.5), (0, 1.0)])
def test_how_far_a_score_can_fall(share: int, fall: float) -> None:
    assert gathered(drawn(500, 0.0, 3, share=share)).fall == pytest.approx(fall, abs=1e-4)


@pytest.mark.parametrize("margin", [0.005, 0.05, 0.3])
def test_where_all_is_as_predicted_a_decision_still_takes_units(margin: float) -> None:
    few, many = (
        Units(np.full(count, 50_000), np.arange(count) % 2 == 0, *np.ones((2, count))) for count in (20, 9_000)
    )
    expected_s = decision_expected_s(gathered(few), margin, 0.05, 1.0)
    grown = for_noninferiority(score(many), margin)
    needed = next(n for n in range(1, 9_000) if log_value(log_sums(grown[:n])) >= math.log(20))
    assert expected_s == pytest.approx(needed / 4 - 5, rel=0.3)


def test_the_time_a_decision_still_takes() -> None:
    sums = gathered(drawn(1_000, 0.0, 8))
    assert sums.variance is not None
    assert sums.estimate is not None
    needed = decision_n_eff(sums.variance, sums.estimate + 0.05, 0.05, sums.fall)
    assert decision_expected_s(sums, 0.05, 0.05, 2.0) == pytest.approx((needed - sums.n_eff) / 2.0)
    assert decision_expected_s(sums, 0.9, 0.05, 2.0) == 0.0
    assert decision_expected_s(sums, 0.05, 0.05, 0.0) is None
    assert decision_expected_s(gathered(drawn(1_000, -0.3, 8)), 0.05, 0.05, 2.0) is None


def test_harm_is_the_other_side_of_the_same_bound() -> None:
    units = drawn(5_000, -0.2, 9)
    upper = intervals.interval(gathered(units), 0.1).upper
    assert log_value(log_sums(for_harm(score(units), -upper))) >= math.log(20) - 1e-6
