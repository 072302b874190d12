import math

import pytest
from msgspec.structs import replace

from rollout.core.evidence.arms import arms_of, sample_ratio_of, units_key
from rollout.core.gates import Result
from rollout.core.ramp_model import Progress
from rollout.core.sums import SumKey

PROGRESS = Progress(attempt=2, ramp_began_s=1_000.0)


def sums(*rows: tuple[int, int, int]) -> dict[SumKey, tuple[int, ...]]:
    return {units_key("draft", PROGRESS, share): (candidate, baseline) for share, candidate, baseline in rows}


def test_units_are_found_by_share_and_of_this_attempt_alone() -> None:
    given = sums((50_000, 5, 6), (1_000, 1, 99), (0, 0, 7), (100_000, 7, 0))
    given[units_key("ask", PROGRESS, 2_000)] = (1, 1)
    given[units_key("draft", replace(PROGRESS, attempt=1), 2_000)] = (1, 1)
    given[SumKey("draft", 2, "requests.1")] = (1, 1)
    assert arms_of("draft", PROGRESS, given).by_share == ((1_000, 1, 99), (50_000, 5, 6))


def test_arms_of_the_promised_sizes_pass() -> None:
    verdict = sample_ratio_of("draft", PROGRESS, sums((1_000, 12, 988), (50_000, 510, 490)), 2_000.0)
    assert verdict is not None
    assert (verdict.result, verdict.samples, verdict.from_s) == (Result.PASS, 2_000, 1_000.0)
    assert verdict.reason == "522 of 2000 units are the candidate's, 510 were expected"
    assert verdict.limit == pytest.approx(1_000)


def test_an_arm_that_loses_units_is_found() -> None:
    verdict = sample_ratio_of("draft", PROGRESS, sums((50_000, 4_500, 5_000)), 2_000.0)
    assert verdict is not None
    assert verdict.result is Result.FAIL
    assert verdict.value is not None
    assert math.isfinite(verdict.value)


def test_nothing_counted_says_nothing() -> None:
    assert sample_ratio_of("draft", PROGRESS, {}, 2_000.0) is None


@pytest.mark.parametrize("name", ["units.x", "units.", "units.50000.1", "units.-1"])
def test_a_name_of_another_form_is_a_fault_that_says_so(name: str) -> None:
    verdict = sample_ratio_of("draft", PROGRESS, {SumKey("draft", 2, name): (1, 1)}, 2_000.0)
    assert verdict is not None
    assert (verdict.result, verdict.from_s) == (Result.ERROR, 1_000.0)
    assert verdict.reason == f"the store's sum {name!r} can't be read"


@pytest.mark.parametrize("row", [(), (1,), (1, 2, 3), (-1, 2)])
def test_so_are_counts_of_another_form(row: tuple[int, ...]) -> None:
    verdict = sample_ratio_of("draft", PROGRESS, {units_key("draft", PROGRESS, 50_000): row}, 2_000.0)
    assert verdict is not None
    assert verdict.result is Result.ERROR
