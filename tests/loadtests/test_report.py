import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.report import Sample, quantile, sum_up


@pytest.mark.parametrize(("q", "value"), [(0.0, 1), (0.5, 2), (0.75, 3), (0.76, 4), (0.95, 4), (1.0, 4)])
def test_quantiles_are_nearest_rank(q: float, value: float) -> None:
    assert quantile([4, 2, 1, 3], q) == value


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.floats(min_value=0, max_value=1))
def test_a_quantile_is_one_of_the_values(values: list[float], q: float) -> None:
    assert quantile(values, q) in values


def test_no_values_have_no_quantile() -> None:
    assert quantile([], 0.5) is None


def test_failures_count_as_errors_and_not_as_fast_answers() -> None:
    samples = [
        Sample("f", "c1", None, 2.0, 0.5, "candidate", matched=True),
        Sample("f", "c2", "status 500"),
        Sample("f", "c3", "truncated: no end marker", 0.1, 0.1, "baseline"),
        Sample("g", "c4", None, 4.0, None, "baseline", matched=False),
    ]
    report = sum_up(samples, 2.0, 4.0)
    assert report.total.requests == 4
    assert report.total.error_ratio == 0.5
    assert report.features["f"].e2e_p95_s == 2.0
    assert report.total.e2e_p95_s == 4.0
    assert report.total.exact_match_ratio == 0.5
    assert report.achieved_rate == 2.0
    assert report.problems == {"status 500": 1, "truncated: no end marker": 1}
    assert report.breaches == ()


def test_shares_are_of_conversations_and_a_change_of_arm_is_a_flip() -> None:
    samples = [Sample("f", f"c{n}", assigned="candidate" if n < 3 else "baseline") for n in range(10) for _ in range(2)]
    report = sum_up(samples, 1.0, 1.0)
    assert report.features["f"].candidate_share == 0.3
    assert report.arm_flips == 0
    flipped = sum_up([*samples, Sample("f", "c0", assigned="baseline")], 1.0, 1.0)
    assert flipped.arm_flips == 1


def test_an_empty_run_has_no_ratios() -> None:
    total = sum_up([], 1.0, 1.0).total
    assert (total.error_ratio, total.exact_match_ratio, total.candidate_share) == (None, None, None)
