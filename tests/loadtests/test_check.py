import math

import pytest

from loadtests.check import breaches
from loadtests.report import Report, Sample, sum_up
from loadtests.scenario import Thresholds

STRICT = Thresholds(
    error_ratio=0.0,
    ttft_p95_s=1.0,
    e2e_p95_s=2.0,
    exact_match_ratio=0.9,
    achieved_rate_ratio=0.9,
    arm_flips=0,
    share={"f": 0.25},
)


def report(*, e2e_s: float = 1.0, ttft_s: float = 0.5, candidates: int = 25, asked_rate: float = 100.0) -> Report:
    samples = [
        Sample("f", f"c{n}", None, e2e_s, ttft_s, "candidate" if n < candidates else "baseline", matched=True)
        for n in range(100)
    ]
    return sum_up(samples, 1.0, asked_rate)


def test_a_good_run_has_no_breach() -> None:
    assert breaches(report(), STRICT) == []


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (report(ttft_s=1.2), "TTFT p95 1.200 s is above the limit 1.000 s"),
        (report(e2e_s=2.5), "end-to-end p95 2.500 s is above the limit 2.000 s"),
        (report(ttft_s=math.nan), "TTFT p95 nan s is above the limit 1.000 s"),
        (report(asked_rate=200), "achieved rate 50.0% of asked is below the floor 90.0% of asked"),
        (report(candidates=90), "f: candidate share 90.0% of 100 conversations is not within 17.3% of 25.0%"),
    ],
)
def test_each_breach_is_one_sentence_with_its_numbers(found: Report, sentence: str) -> None:
    assert breaches(found, STRICT) == [sentence]


def test_errors_wrong_answers_and_flips_are_breaches() -> None:
    samples = [
        Sample("f", "c", "status 500", assigned="candidate"),
        Sample("f", "c", None, 1, 1, "baseline", matched=False),
    ]
    found = breaches(sum_up(samples, 1.0, 2.0), Thresholds(exact_match_ratio=0.5, arm_flips=0))
    assert found == [
        "error ratio 50.00% is above the limit 0.00%",
        "exact match 0.00% is below the floor 50.00%",
        "arm flips 1 is above the limit 0",
    ]


def test_a_run_without_samples_breaches_everything_that_was_asked() -> None:
    found = breaches(sum_up([], 1.0, 10.0), STRICT)
    assert len(found) == 7
    assert all("cannot be judged" in line or "no samples" in line or "achieved rate" in line for line in found)


def test_what_was_not_asked_is_not_judged_except_errors() -> None:
    assert breaches(report(e2e_s=1e9), Thresholds()) == []
    assert breaches(sum_up([Sample("f", "c", "status 500")], 1.0, 1.0), Thresholds()) != []


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_at_0_and_100_percent_a_single_stray_conversation_is_a_breach(share: float) -> None:
    right = report(candidates=round(share * 100))
    assert breaches(right, Thresholds(share={"f": share})) == []
    stray = report(candidates=1 if share == 0 else 99)
    assert len(breaches(stray, Thresholds(share={"f": share}))) == 1
