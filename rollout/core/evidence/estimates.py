"""How large the effect behind a gate is, and how that is told in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rollout.core.duration import format_duration
from rollout.core.evidence import interval as intervals
from rollout.core.gates import Estimate

if TYPE_CHECKING:
    from rollout.core.evidence.interval import Moments


class Asked(NamedTuple):
    """What a gate asks. `margin`: as written; `in_outcome`: as a difference of outcomes; `passed_s`: of its scope.

    `units`: that are needed at least.
    """

    margin: float
    in_outcome: float
    alpha: float
    passed_s: float
    harm_value: float
    units: int = 0


def estimate_of(moments: Moments, asked: Asked, *, excluded: float | None, proven: bool) -> Estimate:
    """What can be said; `excluded`: the smallest margin that is, where the moments can't tell (latency)."""
    effect = moments.estimate
    if effect is None:
        return Estimate(margin=asked.margin, harm_value=asked.harm_value)
    found = intervals.interval(moments, asked.alpha)
    if asked.in_outcome:
        excluded = intervals.smallest_margin_excluded(moments, asked.alpha)
    rate = moments.n_eff / asked.passed_s if asked.passed_s > 0 else 0.0
    left_s = 0.0 if proven else intervals.decision_expected_s(moments, asked.in_outcome, asked.alpha, rate)
    if left_s is not None:
        left_s = max(left_s, asked.passed_s * (asked.units / moments.units - 1))
    return Estimate(
        effect, found.lower, found.upper, asked.margin,
        None if excluded is None else max(0.0, excluded), left_s, asked.harm_value,
    )  # fmt: skip


def text_of(estimate: Estimate, asked: Asked) -> str:
    """One line for people."""
    if estimate.effect is None:
        return "no unit has come of age"
    parts = (
        f"effect {estimate.effect:+.4f}, between {estimate.lower:+.4f} and {estimate.upper:+.4f}",
        f"margin {asked.margin:g}" if asked.in_outcome else f"margin {asked.margin:+.0%} of the baseline's time",
        "no margin is excluded yet" if estimate.excluded is None else f"{_worse(estimate.excluded, asked)} is excluded",
        "" if estimate.expected_s is None else f"decided in about {format_duration(estimate.expected_s)}",
    )
    return ", ".join(part for part in parts if part)


def _worse(excluded: float, asked: Asked) -> str:
    return f"{excluded:.4f} and worse" if asked.in_outcome else f"{excluded:+.0%} and slower"
