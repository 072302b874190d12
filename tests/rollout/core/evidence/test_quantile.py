import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.eprocess import log_sums, log_value
from rollout.core.evidence.quantile import EDGES_S, LatencyCounts, add, counted, within, yardstick_s
from rollout.core.evidence.score import Units, for_harm, for_noninferiority, score
from rollout.core.model import BUCKETS

LATENCIES = st.lists(st.floats(0, 20_000) | st.just(math.inf), max_size=50)


def test_buckets_are_logarithmic_from_a_millisecond_to_hours() -> None:
    assert EDGES_S[0] == 0.001
    assert EDGES_S[16] == 0.002
    assert np.allclose(EDGES_S[1:] / EDGES_S[:-1], 2 ** (1 / 16))
    assert EDGES_S[-1] > 7_200


@given(LATENCIES, LATENCIES)
def test_merging_is_a_single_stream(first: list[float], second: list[float]) -> None:
    windows = [counted(np.array(first)), counted(np.array(second))]
    assert add(windows) == add(windows[::-1]) == counted(np.array(first + second))


@given(st.lists(st.floats(0.001, 7_000), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_yardstick_is_the_quantile_to_within_a_bucket(latencies: list[float], quantile: float) -> None:
    found = yardstick_s(counted(np.array(latencies)), quantile, 1)
    exact = float(np.quantile(latencies, quantile, method="inverted_cdf"))
    assert found is not None
    assert exact <= found * (1 + 1e-12)
    assert found <= exact * 2 ** (1 / 16) * (1 + 1e-12)


def test_too_few_latencies_make_no_yardstick() -> None:
    counts = counted(np.array([0.2] * 99))
    assert yardstick_s(counts, 0.95, 100) is None
    assert yardstick_s(LatencyCounts(), 0.95, 0) is None
    assert yardstick_s(counts, 0.95, 99) is not None


def test_a_baseline_that_does_not_end_makes_no_yardstick() -> None:
    latencies = np.array([0.2] * 90 + [math.inf] * 10)
    assert yardstick_s(counted(latencies), 0.95, 1) is None
    assert yardstick_s(counted(latencies), 0.9, 1) == pytest.approx(0.2, rel=0.05)


def test_the_candidate_has_the_margin_on_top() -> None:
    latencies = np.array([1.0, 1.01, 1.1, 1.11, math.inf, 0.0])
    yardsticks = np.ones(6)
    assert within(latencies, np.zeros(6, bool), yardsticks, 0.1).tolist() == [1, 0, 0, 0, 0, 1]
    assert within(latencies, np.ones(6, bool), yardsticks, 0.1).tolist() == [1, 1, 1, 0, 0, 1]


@pytest.mark.parametrize("latency_s", [-0.1, math.nan])
def test_what_is_no_latency_is_refused(latency_s: float) -> None:
    with pytest.raises(InvalidArgument, match="not a number"):
        counted(np.array([latency_s]))
    with pytest.raises(InvalidArgument, match="not a number"):
        within(np.array([latency_s]), np.array([True]), np.array([1.0]), 0.1)


@pytest.mark.parametrize("bet_on", [for_noninferiority, for_harm])
def test_no_wealth_is_expected_where_the_candidate_is_slower_by_the_margin(
    every_path: Callable[..., Iterator[tuple[tuple[tuple[int, int], ...], Fraction]]],
    bet_on: Callable[..., np.ndarray],  # type: ignore[type-arg]
) -> None:
    """Every path of five answers, each quick or slow, under a yardstick that follows what the baseline did before."""

    def yardstick(past: tuple[tuple[int, int], ...]) -> float:
        return 1.0 + sum(not quick for candidate, quick in past if not candidate)

    def chance(past: tuple[tuple[int, int], ...]) -> tuple[Fraction, Fraction, Fraction]:
        quick = Fraction(8 - len(past), 10)  # of both arms: the candidate passes 1.2 x as often as the baseline x
        return Fraction(25_000 if len(past) % 2 else 5_000, BUCKETS), quick, quick

    expected = 0.0
    for path, likely in every_path(chance, 5):
        pasts = [path[:seen] for seen in range(5)]
        candidate = np.array([each[0] == 1 for each in path])
        x_s = np.array([yardstick(past) for past in pasts])
        latency_s = x_s * np.where(candidate, 1.2, 1.0) * np.array([0.999 if quick else 1.5 for _, quick in path])
        shares = np.array([int(chance(past)[0] * BUCKETS) for past in pasts])
        units = Units(shares, candidate, within(latency_s, candidate, x_s, 0.2), np.full(5, 0.9))
        looks = [math.exp(log_value(log_sums(bet_on(score(units), 0.0)[:seen]))) for seen in range(1, 6)]
        expected += float(likely) * next((value for value in looks if value > 1.01), looks[-1])
    assert 1.0 - 1e-8 < expected <= 1.0
