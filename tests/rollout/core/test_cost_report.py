"""What operators are shown: arms in dollars, savings with intervals, and words where figures mean little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from rollout.core.cost import CostSums, Gpus, Pricing, TokenPrice, add, one, token_price
from rollout.core.cost_report import CostReport, ShadowCost, cost_report
from rollout.core.cost_sums import cost_key, shadow_key, vector_of
from rollout.core.model import Arm, FeatureFlag
from rollout.core.ramp_model import Cause, Phase, Progress, RolledBack

if TYPE_CHECKING:
    from rollout.core.sums import SumKey

PROGRESS = Progress(phase=Phase.RUNNING, attempt=1, ramp_began_s=1_000.0)
FLAG = FeatureFlag(feature="draft", candidate="inhouse", baseline="partner", share_millipct=10_000, progress=PROGRESS)
PARTNER = token_price(2.5, 10.0)
PRICES = {"partner": Pricing(PARTNER), "inhouse": Pricing(gpus=Gpus(1, 100_000))}
HOUR_S = 3_600.0
Stored = dict["SumKey", tuple[int, ...]]


def many(count: int, price: TokenPrice, *, prompt: int | None = 1_000, accepted: bool = True) -> CostSums:
    completion = None if prompt is None else 100
    return add([one(price, prompt, completion, accepted=accepted)] * count)


def stored(share: int, candidate: CostSums, baseline: CostSums, progress: Progress = PROGRESS) -> Stored:
    return {
        cost_key("draft", progress, share, Arm.CANDIDATE): vector_of(candidate),
        cost_key("draft", progress, share, Arm.BASELINE): vector_of(baseline),
    }


def after(hours: float, sums: Stored, flag: FeatureFlag = FLAG) -> CostReport:
    return cost_report(flag, sums, PRICES, 1_000.0 + hours * HOUR_S)


def test_an_arm_costs_its_tokens_and_its_gpus() -> None:
    report = after(2, stored(10_000, many(100, TokenPrice()), many(900, PARTNER)))
    ours, theirs = report.candidate, report.baseline
    assert (ours.upstream, ours.requests, ours.tokens_usd, ours.gpu_usd) == ("inhouse", 100, 0.0, 0.2)
    assert ours.per_request_usd == pytest.approx(0.002)
    assert ours.per_million_tokens_usd == pytest.approx(0.2 * 1e6 / 110_000)
    assert (theirs.prompt_tokens, theirs.completion_tokens, theirs.gpu_usd) == (900_000, 90_000, 0.0)
    assert theirs.tokens_usd == pytest.approx(900 * 0.0035)
    assert theirs.per_accepted_usd == pytest.approx(0.0035)
    assert (report.since_s, report.until_s) == (1_000.0, 1_000.0 + 2 * HOUR_S)


def test_savings_are_less_the_gpus_and_go_by_the_day() -> None:
    report = after(2, stored(10_000, many(100, TokenPrice()), many(900, PARTNER)))
    assert report.saved is not None
    assert report.saved_in_full is not None
    assert report.saved.usd == pytest.approx(100 * 0.0035 - 0.2)
    assert report.saved.lower_usd == pytest.approx(report.saved.usd)
    assert report.saved_in_full.usd == pytest.approx(1_000 * 0.0035 - 0.2)
    assert report.saved_in_full.per_day_usd == pytest.approx(12 * 3.3)


def test_at_full_share_the_gpus_of_a_baseline_of_ones_own_are_free_again() -> None:
    prices = PRICES | {"partner": Pricing(PARTNER, Gpus(1, 300_000))}
    sums = stored(10_000, many(100, TokenPrice()), many(900, PARTNER))
    report = cost_report(FLAG, sums, prices, 1_000.0 + HOUR_S)
    assert report.saved is not None
    assert report.saved_in_full is not None
    assert report.baseline.gpu_usd == 0.3
    assert report.saved.usd == pytest.approx(0.35 - 0.1)
    assert report.saved_in_full.usd == pytest.approx(3.5 - 0.1 + 0.3)


def test_a_rolled_back_ramp_costs_no_more() -> None:
    gone = RolledBack(by=Cause.GATE, at_s=1_000.0 + HOUR_S, cooldown_ends_s=0.0, staged_s=0.0, to_share=0)
    flag = replace(FLAG, progress=replace(PROGRESS, phase=Phase.ROLLED_BACK, rolled_back=gone))
    report = after(50, stored(10_000, many(1, TokenPrice()), many(1, PARTNER)), flag)
    assert report.candidate.gpu_usd == 0.1
    assert report.until_s == 1_000.0 + HOUR_S


def test_before_any_ramp_there_is_nothing_and_it_says_so() -> None:
    report = after(5, {}, replace(FLAG, progress=Progress()))
    assert (report.attempt, report.since_s, report.saved, report.saved_in_full) == (0, None, None, None)
    assert (report.candidate.gpu_usd, report.candidate.per_request_usd) == (0.0, None)
    assert "no ramp has begun" in report.warnings[0]


def test_a_ramp_that_begins_just_now_has_no_day_to_reckon_with() -> None:
    report = after(0, stored(10_000, many(1, TokenPrice()), many(1, PARTNER)))
    assert report.saved is not None
    assert (report.saved.per_day_usd, report.saved.lower_usd) == (None, None)


def test_shadow_calls_are_told_apart() -> None:
    sums = {shadow_key("draft", PROGRESS): vector_of(add([many(2, PARTNER), many(1, PARTNER, prompt=None)]))}
    report = after(1, sums)
    assert report.shadows == ShadowCost(3, 1, pytest.approx(0.007))
    assert (report.candidate.requests, report.baseline.requests) == (0, 0)


@pytest.mark.parametrize(("missing", "warned"), [(1, False), (2, True)])
def test_requests_without_token_counts_are_warned_of(missing: int, *, warned: bool) -> None:
    sums = stored(10_000, many(100, TokenPrice()), add([many(missing, PARTNER, prompt=None), many(99, PARTNER)]))
    warnings = [line for line in after(1, sums).warnings if "without token counts" in line]
    assert bool(warnings) is warned
    assert all("2.0% of the baseline's requests" in line for line in warnings)


def test_an_upstream_without_a_price_and_shares_without_a_baseline_are_warned_of() -> None:
    sums = stored(10_000, many(2, PARTNER), many(2, PARTNER)) | stored(100_000, many(7, PARTNER), CostSums())
    report = cost_report(FLAG, sums, {"partner": Pricing(PARTNER)}, 2_000.0)
    unpriced, extrapolated = report.warnings
    assert unpriced == "the candidate's upstream 'inhouse' has no price: it counts as free"
    assert extrapolated.startswith("7 requests came when nobody got the baseline")
    assert after(1, stored(10_000, many(2, PARTNER), many(2, PARTNER))).warnings == (
        "GPU time is all of 'inhouse', whatever else it serves",
    )
