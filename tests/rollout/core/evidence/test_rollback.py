import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import error_bets, restart
from rollout.core.evidence.eprocess import log_sums
from rollout.core.evidence.fixed_point import real
from rollout.core.evidence.plans import ErrorCounts
from rollout.core.evidence.rollback import HarmValue, attempt_alpha, combined
from rollout.core.evidence.score import Units, for_harm, score

VALUES = st.lists(
    st.tuples(st.floats(-20, 20), st.integers(1, 9), st.sampled_from([10.0, 600.0, 86_400.0])), min_size=1, max_size=8
)


def metrics(rows: list[tuple[float, int, float]], age_s: float | None = None) -> list[HarmValue]:
    whole = sum(weight for _, weight, _ in rows)
    return [
        HarmValue(f"m{index}", value, weight / whole, age if age_s is None else age_s)
        for index, (value, weight, age) in enumerate(rows)
    ]


@given(VALUES)
def test_metrics_of_one_age_are_averaged(rows: list[tuple[float, int, float]]) -> None:
    values = metrics(rows, age_s=10.0)
    average = math.fsum(each.weight * math.exp(each.log_value) for each in values)
    assert combined(values).log_value == pytest.approx(math.log(average), abs=1e-9)


@given(VALUES)
def test_ages_hold_shares_of_alpha_and_are_never_above_the_average(rows: list[tuple[float, int, float]]) -> None:
    values = metrics(rows)
    parts = [each.weight * math.exp(each.log_value) for each in values]
    found = math.exp(combined(values).log_value)
    assert max(parts) * (1 - 1e-9) <= found <= math.fsum(parts) * (1 + 1e-9)
    assert found == pytest.approx(
        max(
            math.fsum(part for part, each in zip(parts, values, strict=True) if each.age_s == age)
            for age in {each.age_s for each in values}
        )
    )


@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_the_metrics_is_no_matter(rows: list[tuple[float, int, float]], random) -> None:
    values = metrics(rows)
    shuffled = values.copy()
    random.shuffle(shuffled)
    assert combined(shuffled).log_value == combined(values).log_value


def test_the_metric_that_leads_is_named() -> None:
    values = [
        HarmValue("errors", 2.0, 0.5, 10.0),
        HarmValue("ttft_p95", 1.0, 0.3, 10.0),
        HarmValue("ask", 9.0, 0.2, 60.0),
    ]
    assert combined(values).leader == "ask"
    assert combined(values).others == ()  # of another age
    together = combined([values[1], values[0], values[2]._replace(log_value=0.0)])
    assert (together.leader, together.others) == ("errors", ("ttft_p95",))
    quiet = [values[0], values[1]._replace(log_value=-1.0), values[2]]
    assert combined([*quiet[:2], values[2]._replace(log_value=0.0)]).others == ()


def test_values_beyond_what_a_float_holds_are_combined() -> None:
    assert combined([HarmValue("errors", 5_000.0, 1.0, 10.0)]).log_value == 5_000.0


@pytest.mark.parametrize("weights", [(0.5, 0.4), (1.0, 0.0), (1.5, -0.5)])
def test_weights_that_are_no_shares_of_alpha_are_refused(weights: tuple[float, float]) -> None:
    with pytest.raises(InvalidArgument, match="add up to one"):
        combined([HarmValue(str(weight), 0.0, weight, 10.0) for weight in weights])


def test_no_metric_at_all_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="add up to one"):
        combined([])


def test_all_attempts_together_use_one_alpha() -> None:
    assert attempt_alpha(0.05, 1) == pytest.approx(0.05 * 6 / math.pi**2)
    assert math.fsum(attempt_alpha(0.05, attempt) for attempt in range(1, 20_000)) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize("stopped_at", [9.0, 1.05])
def test_no_wealth_is_expected_of_metrics_of_one_age_together(
    every_path: Callable[..., Iterator[tuple[tuple[tuple[int, int], ...], Fraction]]], stopped_at: float
) -> None:
    """Every path of six units of equal arms: errors by their counts and the same outcomes by their score, restarted."""
    share, good = 25_000, Fraction(3, 4)
    expected = 0.0
    for path, likely in every_path(lambda _: (Fraction(1, 4), good, good), 6):
        columns = zip(*((share, each[0] == 1, float(each[1]), 0.75) for each in path), strict=True)
        x = for_harm(score(Units(*map(np.array, columns))), 0.0)
        looks = []
        for seen in range(1, 7):
            epochs = [slice(start, min(start + 2, seen)) for start in range(0, seen, 2)]
            growth = {epoch: [real(each) for each in log_sums(x[part])] for epoch, part in enumerate(epochs)}
            errors = {epoch: {share: _errors(path[part])} for epoch, part in enumerate(epochs)}
            values = [HarmValue("errors", error_bets.log_value(errors, 0.0), 2 / 3, 30.0)]
            values.append(HarmValue("form", restart.log_value(growth), 1 / 3, 30.0))
            looks.append(math.exp(combined(values).log_value))
        expected += float(likely) * next((value for value in looks if value >= stopped_at), looks[-1])
    assert 1.0 - 1e-8 < expected <= 1.0 + 1e-12


def _errors(path: tuple[tuple[int, int], ...]) -> ErrorCounts:
    candidates = sum(candidate for candidate, _ in path)
    failed = sum(not good for _, good in path)
    of_candidate = sum(candidate and not good for candidate, good in path)
    return ErrorCounts(of_candidate, failed - of_candidate, candidates, len(path) - candidates)
