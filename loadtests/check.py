"""Judges a run against its thresholds; whatever cannot be judged for lack of samples is a breach too."""

import math

from loadtests.report import FeatureReport, Report
from loadtests.scenario import Thresholds


def breaches(report: Report, thresholds: Thresholds) -> list[str]:
    """Return one human sentence for each threshold that doesn't hold; an empty list means the run passed."""
    total, asked = report.total, thresholds
    found = [
        _above("error ratio", total.error_ratio, asked.error_ratio, "{:.2%}"),
        _above("TTFT p95", total.ttft_p95_s, asked.ttft_p95_s, "{:.3f} s"),
        _above("end-to-end p95", total.e2e_p95_s, asked.e2e_p95_s, "{:.3f} s"),
        _below("exact match", total.exact_match_ratio, asked.exact_match_ratio, "{:.2%}"),
        _below("achieved rate", report.achieved_rate / report.asked_rate, asked.achieved_rate_ratio, "{:.1%} of asked"),
        _above("arm flips", report.arm_flips if total.assigned_conversations else None, asked.arm_flips, "{:.0f}"),
        *(_off_share(name, share, report, asked.share_tolerance_sigmas) for name, share in asked.share.items()),
    ]
    return [sentence for sentence in found if sentence is not None]


def _above(what: str, measured: float | None, limit: float | None, form: str) -> str | None:
    if limit is None:
        return None
    if measured is None:
        return f"{what}: no samples to judge (limit {form.format(limit)})"
    # Written so that a NaN is a breach.
    return None if measured <= limit else f"{what} {form.format(measured)} is above the limit {form.format(limit)}"


def _below(what: str, measured: float | None, floor: float | None, form: str) -> str | None:
    if floor is None:
        return None
    if measured is None:
        return f"{what}: no samples to judge (at least {form.format(floor)})"
    return None if measured >= floor else f"{what} {form.format(measured)} is below the floor {form.format(floor)}"


def _off_share(name: str, share: float, report: Report, sigmas: float) -> str | None:
    feature: FeatureReport | None = report.features.get(name)
    measured = None if feature is None else feature.candidate_share
    if feature is None or measured is None:
        return f"{name}: no answer named its arm, so the share {share:.1%} cannot be judged"
    conversations = feature.assigned_conversations
    allowed = sigmas * math.sqrt(share * (1 - share) / conversations)
    if abs(measured - share) <= allowed:
        return None
    return (
        f"{name}: candidate share {measured:.1%} of {conversations} conversations "
        f"is not within {allowed:.1%} of {share:.1%}"
    )
