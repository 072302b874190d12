import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.evidence import counts, restart
from rollout.core.evidence.counts import LOG_RATIOS, ArmCounts, add, counted
from rollout.core.model import BUCKETS

Path = tuple[tuple[int, int], ...]
EVENTS = st.lists(st.tuples(st.sampled_from([0, 1, 1_000, 50_000, 99_999, BUCKETS]), st.booleans()), max_size=40)
SURE = Fraction(1)


def count(events: list[tuple[int, bool]]) -> ArmCounts:
    return counted(np.array([share for share, _ in events], np.int64), np.array([arm for _, arm in events], bool))


def from_candidate(share: int, ratio: float) -> float:
    p = share / BUCKETS
    return p * ratio / (p * ratio + 1 - p)


def share_after(past: Path) -> int:
    """A share that falls when the candidate errs."""
    return (50_000, 25_000, 1_000)[min(sum(candidate for candidate, _ in past), 2)]


def events_of(path: Path) -> list[tuple[int, bool]]:
    return [(share_after(path[:index]), candidate == 1) for index, (candidate, _) in enumerate(path)]


@given(EVENTS)
def test_errors_are_counted_by_share_and_arm(events: list[tuple[int, bool]]) -> None:
    for share, candidate, baseline in count(events).by_share:
        assert (candidate, baseline) == (events.count((share, True)), events.count((share, False)))
        assert 0 < share < BUCKETS
    told = sum(candidate + baseline for _, candidate, baseline in count(events).by_share)
    assert told == sum(0 < share < BUCKETS for share, _ in events)


@given(EVENTS, EVENTS)
def test_merging_is_a_single_stream(first: list[tuple[int, bool]], second: list[tuple[int, bool]]) -> None:
    assert add(count(first), count(second)) == add(count(second), count(first)) == count(first + second)


def test_the_value_is_the_mean_of_likelihood_ratios_as_defined() -> None:
    events = [(1_000, True), (1_000, False), (25_000, True), (25_000, True), (50_000, False)]

    def likelihood(ratio: float) -> float:
        chances = [(from_candidate(share, ratio), candidate) for share, candidate in events]
        return math.prod(chance if candidate else 1 - chance for chance, candidate in chances)

    for sign, value in (
        (1, counts.harm_log_value({0: count(events)}, {0: 1.25})),
        (-1, counts.noninferiority_log_value(count(events), 1.25)),
    ):
        ratios = [likelihood(1.25 * math.exp(sign * each)) / likelihood(1.25) for each in LOG_RATIOS]
        plain = sum(ratios) / len(ratios)
        assert math.isclose(value, math.log(plain if sign < 0 else 0.5 * plain + 0.5), rel_tol=1e-12)


@pytest.mark.parametrize(
    ("margin", "ratio", "harm"), [(1.25, 1.25, True), (1.25, 1.0, True), (2.0, 2.0, False), (2.0, 3.0, False)]
)
def test_no_wealth_is_expected_under_the_null(
    every_path: Callable[..., Iterator[tuple[Path, Fraction]]], *, margin: float, ratio: float, harm: bool
) -> None:
    # Every path of seven errors under a share that reacts to them, a new epoch every two, stopped at a good look.
    expected = 0.0
    for path, likely in every_path(lambda past: (Fraction(from_candidate(share_after(past), ratio)), SURE, SURE), 7):
        looks = []
        for seen in range(1, 8):
            events = events_of(path)[:seen]
            by_epoch = {start // 2: count(events[start : start + 2]) for start in range(0, seen, 2)}
            value = counts.harm_log_value(by_epoch, dict.fromkeys(by_epoch, margin)) if harm else None
            looks.append(math.exp(counts.noninferiority_log_value(count(events), margin) if value is None else value))
        expected += float(likely) * next((look for look in looks if look > 1.5), looks[-1])
    assert expected <= 1.0 + 1e-12
    assert ratio != margin or expected > 1.0 - 1e-12


def test_an_outage_of_both_arms_says_nothing() -> None:
    # Errors in the proportion of the share: however many there are, they are no proof of harm.
    for errors in (4, 400, 40_000):
        assert counts.harm_log_value({0: ArmCounts(((25_000, errors // 4, errors * 3 // 4),))}, {0: 1.25}) < 0.0


def test_thirty_times_the_errors_are_found_with_a_handful() -> None:
    assert counts.harm_log_value({0: ArmCounts(((1_000, 3, 7),))}, {0: 1.25}) > math.log(20)


def test_few_errors_of_a_better_candidate_prove_non_inferiority() -> None:
    assert counts.noninferiority_log_value(ArmCounts(((50_000, 20, 60),)), 1.25) > math.log(20)
    assert counts.noninferiority_log_value(ArmCounts(), 1.25) == 0.0


def test_each_epoch_is_tested_at_its_own_ratio() -> None:
    first, second = ArmCounts(((1_000, 2, 7),)), ArmCounts(((5_000, 4, 7),))
    both = counts.harm_log_value({0: first, 1: second}, {0: 1.25, 1: 4.0})
    growth = {0: counts.harm_growth(first, 1.25), 1: counts.harm_growth(second, 4.0)}
    assert both == restart.log_value(growth) < counts.harm_log_value({0: first, 1: second}, {0: 1.25, 1: 1.25})


def test_where_errors_are_rare_a_difference_allows_a_larger_ratio() -> None:
    assert counts.allowed_ratio(1_000, 100_000, 1.25, 0.003) == pytest.approx(1.3, rel=0.001)
    assert counts.allowed_ratio(5_000, 100_000, 1.25, 0.003) == 1.25
    assert counts.allowed_ratio(10, 100_000, 1.25, 0.003) == pytest.approx(1 + 0.003 / 0.000105, rel=0.001)
    assert counts.allowed_ratio(0, 0, 1.25, 0.003) == 1.25


def test_late_errors_are_found_by_the_copies_that_begin_late() -> None:
    early, late = ArmCounts(((25_000, 100, 900),)), ArmCounts(((25_000, 14, 6),))
    assert counts.harm_log_value({0: early, 3: late}, {0: 1.25, 3: 1.25}) > math.log(20)
    assert counts.harm_log_value({0: add(early, late)}, {0: 1.25}) < 0.0


def test_the_alternatives_are_geometric_beyond_the_margin() -> None:
    ratios = [after / before for before, after in pairwise(LOG_RATIOS)]
    assert max(ratios) / min(ratios) < 1.01
    assert (LOG_RATIOS[0], LOG_RATIOS[-1], len(LOG_RATIOS)) == (0.15, 5.0, 20)
    assert restart.log_value({0: [0.0] * 20}) == pytest.approx(0.0)


def test_the_level_is_kept_by_an_exact_count_of_all_ways_to_cross() -> None:
    """At a constant share the number of the candidate's errors is binomial: an oracle that knows nothing of e-values.

    Of all ways to come to n errors, k of them the candidate's, those that never crossed, one error after the other.
    """
    share, ratio, alpha, errors = 25_000, 1.25, 0.05, 60
    q, never, crossed = from_candidate(share, ratio), {0: 1.0}, 0.0
    alternatives = [from_candidate(share, ratio * math.exp(each)) for each in LOG_RATIOS]
    for n in range(1, errors + 1):
        after: dict[int, float] = {}
        for k, chance in never.items():
            for more, drawn in ((1, q), (0, 1 - q)):
                after[k + more] = after.get(k + more, 0.0) + chance * drawn
        for k in list(after):
            binomial = [math.comb(n, k) * each**k * (1 - each) ** (n - k) for each in (q, *alternatives)]
            plain = sum(binomial[1:]) / len(alternatives) / binomial[0]
            value = counts.harm_log_value({0: ArmCounts(((share, k, n - k),))}, {0: ratio})
            assert math.isclose(value, math.log(0.5 * plain + 0.5), rel_tol=1e-9, abs_tol=1e-9)
            if value >= -math.log(alpha):
                crossed += after.pop(k)
        never = after
    assert math.isclose(crossed + sum(never.values()), 1.0)
    assert 0.005 < crossed <= alpha
