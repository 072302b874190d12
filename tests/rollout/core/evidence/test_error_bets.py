import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.evidence import error_bets, restart
from rollout.core.evidence.error_bets import BETS, log_factors, log_growth, log_value
from rollout.core.evidence.plans import ErrorCounts
from rollout.core.model import BUCKETS

Path = tuple[tuple[int, int], ...]
COUNTS = st.tuples(*[st.integers(0, 50)] * 4).map(
    lambda row: ErrorCounts(row[0], row[1], row[0] + row[2], row[1] + row[3])
)
BY_SHARE = st.dictionaries(st.sampled_from([1, 1_000, 5_000, 50_000, 99_999]), COUNTS, max_size=5)
SHARES = (50_000, 90_000, 1_000)


def share_after(past: Path) -> int:
    """A share that falls when the candidate fails."""
    return SHARES[min(sum(candidate and not good for candidate, good in past), 2)]


def counted(rows: Sequence[tuple[int, int, int]]) -> dict[int, ErrorCounts]:
    """Of (share, candidate, good)."""
    found: dict[int, ErrorCounts] = {}
    for share, candidate, good in rows:
        one = (candidate * (1 - good), (1 - candidate) * (1 - good), candidate, 1 - candidate)
        found[share] = ErrorCounts(*map(sum, zip(found.get(share, ErrorCounts()), one, strict=True)))
    return found


def rows_of(path: Path) -> list[tuple[int, int, int]]:
    return [(share_after(path[:index]), *each) for index, each in enumerate(path)]


def bets_at(share: float, margin: float) -> list[float]:
    most = 0.95 / (share / (1 - share) + margin * share)
    return [bet * most / (bet + most) for bet in BETS]


def plain(rows: Sequence[tuple[int, int, int]], margin: float) -> list[float]:
    """The product of 1 + a X / (1 - p) for each bet, unit by unit, as X is defined."""
    values = [1.0] * len(BETS)
    for share_millipct, candidate, good in rows:
        p = share_millipct / BUCKETS
        x = (candidate - p) * (1 - good) - margin * p * (1 - p)
        values = [value * (1 + a * x / (1 - p)) for value, a in zip(values, bets_at(p, margin), strict=True)]
    return values


def test_growth_is_that_of_the_product_as_defined() -> None:
    rows = [(1_000, 1, 0), (1_000, 0, 0), (1_000, 0, 1), (25_000, 1, 0), (50_000, 0, 1), (50_000, 1, 0), (90_000, 1, 1)]
    rows += [(90_000, 1, 0), (90_000, 0, 0)] + [(5_000, 0, 1)] * 30
    assert np.exp(log_growth(counted(rows), 0.02)) == pytest.approx(plain(rows, 0.02), rel=1e-12)
    value = 0.5 + 0.5 * math.fsum(plain(rows, 0.02)) / len(BETS)
    assert log_value({0: counted(rows)}, 0.02) == pytest.approx(math.log(value), rel=1e-12)


def up_and_down(past: Path) -> Fraction:
    """The baseline's rate in an outage, after it, and worse whenever the candidate has just failed."""
    wave = (Fraction(6, 10), Fraction(1, 100), Fraction(3, 10), Fraction(0), Fraction(7, 10))[len(past) % 5]
    return Fraction(4, 5) if past and past[-1] == (1, 0) else wave


@pytest.mark.parametrize("stopped_at", [1.2, 1.5, 3.0])
@pytest.mark.parametrize("inside", [Fraction(0), Fraction(3, 20)])
def test_no_wealth_is_expected_whatever_the_baseline_does(
    every_path: Callable[..., Iterator[tuple[Path, Fraction]]], stopped_at: float, inside: Fraction
) -> None:
    """Every path of five units whose share and rates react to the past, an epoch every two, stopped at a good look."""
    margin, expected = Fraction(1, 5), 0.0

    def chance(past: Path) -> tuple[Fraction, Fraction, Fraction]:
        rate = up_and_down(past)
        return Fraction(share_after(past), BUCKETS), 1 - rate - margin + inside, 1 - rate

    for path, likely in every_path(chance, 5):
        rows, looks = rows_of(path), []
        for seen in range(1, 6):
            epochs = {start // 2: counted(rows[start : min(start + 2, seen)]) for start in range(0, seen, 2)}
            looks.append(math.exp(log_value(epochs, float(margin))))
        expected += float(likely) * next((look for look in looks if look >= stopped_at), looks[-1])
    assert expected <= 1.0 + 1e-12
    assert inside or expected > 1.0 - 1e-12


@given(BY_SHARE, BY_SHARE, st.randoms(use_true_random=False))
def test_order_and_parts_are_no_matter(first: dict[int, ErrorCounts], second: dict[int, ErrorCounts], random) -> None:
    both = {
        share: ErrorCounts(*map(sum, zip(*(each.get(share, ErrorCounts()) for each in (first, second)), strict=True)))
        for share in first | second
    }
    shuffled = list(both.items())
    random.shuffle(shuffled)
    assert log_growth(dict(shuffled), 0.005) == log_growth(both, 0.005)
    assert log_value({3: dict(shuffled), 1: first}, 0.005) == log_value({1: first, 3: both}, 0.005)
    parts = [log_growth(each, 0.005) for each in (first, second)]
    assert log_growth(both, 0.005) == pytest.approx(np.sum(parts, axis=0), abs=1e-9)


def test_everybody_in_one_arm_says_nothing() -> None:
    of_all = {0: ErrorCounts(0, 9, 0, 99), BUCKETS: ErrorCounts(9, 0, 99, 0)}
    assert log_growth(of_all, 0.01) == [0.0] * len(BETS)
    some = {5_000: ErrorCounts(3, 2, 9, 90)}
    assert log_growth(of_all | some, 0.01) == log_growth(some, 0.01)
    assert log_value({}, 0.01) == 0.0


@given(st.integers(1, BUCKETS - 1), st.sampled_from([0.0, 0.001, 0.05, 1.0]))
def test_a_unit_never_loses_all_and_is_a_fair_bet_at_the_margin(share: int, margin: float) -> None:
    p = share / BUCKETS
    for of_one in log_factors(share, margin):
        candidate, baseline, other = map(math.exp, of_one)
        assert min(candidate, baseline, other) > 0.049
        for rate in (0.0, (1.0 - margin) / 2, 1.0 - margin):
            failed = p * (rate + margin) * candidate + (1 - p) * rate * baseline
            expected = failed + (1 - p * (rate + margin) - (1 - p) * rate) * other
            assert expected == pytest.approx(1.0, abs=1e-9)


def test_an_outage_of_both_arms_says_nothing() -> None:
    for errors in (4, 400, 40_000):
        counts = {25_000: ErrorCounts(errors // 4, 3 * errors // 4, errors // 2, 3 * errors // 2)}
        assert log_value({0: counts}, 0.005) < 0.0


def test_thirty_times_the_errors_are_found_with_a_handful() -> None:
    assert log_value({0: {1_000: ErrorCounts(4, 10, 11, 1_000)}}, 0.003) > math.log(150)


def test_late_errors_are_found_by_the_copies_that_begin_late() -> None:
    early, late = {25_000: ErrorCounts(100, 900, 2_500, 7_500)}, {25_000: ErrorCounts(14, 6, 50, 150)}
    assert log_value({0: early, 3: late}, 0.005) > math.log(20)
    assert log_value({0: {25_000: ErrorCounts(114, 906, 2_550, 7_650)}}, 0.005) < 0.0


def test_what_was_carried_over_is_the_same_bits() -> None:
    epochs = {epoch: {5_000: ErrorCounts(epoch, 3, 50, 950)} for epoch in range(6)}
    growth = {epoch: log_growth(epochs[epoch], 0.01) for epoch in range(4)}
    left = {epoch: epochs[epoch] for epoch in (4, 5)}
    assert log_value(left, 0.01, restart.carry(growth)) == log_value(epochs, 0.01)


def test_bets_are_geometric() -> None:
    ratios = [after / before for before, after in pairwise(BETS)]
    assert max(ratios) / min(ratios) < 1.01
    assert (BETS[0], BETS[-1], len(BETS)) == (0.2, 40.0, 16)


def test_the_level_is_kept_by_an_exact_count_of_all_ways_to_cross() -> None:
    """At a constant share and rate the three kinds of units are multinomial: no e-value is needed to count paths."""
    share, margin, rate, alpha, units = 0.25, 0.1, 0.2, 0.05, 60
    bets, chances = bets_at(share, margin), (share * (rate + margin), (1 - share) * rate)
    never, crossed = {(0, 0): 1.0}, 0.0
    for n in range(1, units + 1):
        after: dict[tuple[int, int], float] = {}
        for (k, other), chance in never.items():
            for more, drawn in (((1, 0), chances[0]), ((0, 1), chances[1]), ((0, 0), 1.0 - sum(chances))):
                state = (k + more[0], other + more[1])
                after[state] = after.get(state, 0.0) + chance * drawn
        for k, other in list(after):
            wealth = [
                (1 + a - a * margin * share) ** k
                * (1 - a * share / (1 - share) - a * margin * share) ** other
                * (1 - a * margin * share) ** (n - k - other)
                for a in bets
            ]
            expected = 0.5 + 0.5 * math.fsum(wealth) / len(wealth)
            counts = {25_000: ErrorCounts(k, other, n // 4 + k, n - n // 4 - k)}
            assert math.isclose(math.exp(log_value({0: counts}, margin)), expected, rel_tol=1e-9)
            if expected >= 1 / alpha:
                crossed += after.pop((k, other))
        never = after
    assert math.isclose(crossed + sum(never.values()), 1.0)
    assert 0.002 < crossed <= alpha


EPOCHS = np.arange(720)
BASELINES = {
    "a wave of 6 h, 0.1 to 1.9 %": (2_400, 0.01 * (1 + 0.9 * np.sin(2 * np.pi * EPOCHS[:180] / 180))),
    "a day of 0.3 to 1.7 %": (600, 0.01 * (1 + 0.7 * np.sin(2 * np.pi * EPOCHS / 720))),
    "an outage at the start": (2_400, np.where(EPOCHS[:120] < 3, 0.3, 0.01)),
    "an outage after an hour": (2_400, np.where((EPOCHS[:120] >= 27) & (EPOCHS[:120] < 30), 0.3, 0.01)),
    "a bad half day, then a good one": (600, np.where(EPOCHS < 360, 0.02, 0.003)),
}


def ever_reached(rates: np.ndarray, units: int, more: float, margin: float, runs: int) -> np.ndarray:
    """The highest log value of ramps at a share of one half, looked at after each epoch."""
    random, share = np.random.default_rng(20), 50_000
    factors = np.array(log_factors(share, margin))
    carried, highest = np.full((runs, len(BETS)), -np.inf), np.zeros(runs)
    candidates = random.binomial(units, 0.5, (len(rates), runs))
    failed = random.binomial(candidates, (rates + more)[:, np.newaxis])
    others = random.binomial(units - candidates, rates[:, np.newaxis])
    for epoch in range(len(rates)):
        kinds = np.stack([failed[epoch], others[epoch], units - failed[epoch] - others[epoch]], axis=1)
        carried = np.logaddexp(carried, math.log(restart.weight_of(epoch))) + kinds @ factors.T
        not_begun = 1.0 - restart.weight_up_to(epoch)
        highest = np.maximum(highest, np.log(np.exp(np.minimum(carried, 500.0)).mean(axis=1) + not_begun))
    first = zip(failed[:, 0].tolist(), others[:, 0].tolist(), candidates[:, 0].tolist(), strict=True)
    of_first = {epoch: {share: ErrorCounts(*row, units - row[2])} for epoch, row in enumerate(first)}
    assert log_value(of_first, margin) == pytest.approx(math.log(np.exp(carried[0]).mean() + not_begun), abs=1e-6)
    return highest


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("more", [0.004, 0.005])
def test_a_candidate_within_the_margin_stays_whatever_the_baseline_does(
    name: str, more: float, wilson: Callable[[int, int], tuple[float, float]]
) -> None:
    """Under the ratio of the rates before, 23 to 100 % of such ramps at +0.4 points ended."""
    (units, rates), alpha = BASELINES[name], 0.05
    reached = ever_reached(rates, units, more, 0.005, 300) >= -math.log(alpha)
    assert wilson(int(reached.sum()), len(reached))[0] <= alpha
    assert reached.mean() <= alpha


def test_bets_have_a_version() -> None:
    assert error_bets.BETS_VERSION == "bets1", "another one for other bets"
