"""How large the effect behind a gate is, when it may be decided, and how that is told in one line.

What is extrapolated is how fast *new* units have come lately: ids that come again were counted before, so the average
since the step began promises too much where the same people come back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.duration import format_duration
from rollout.core.evidence import interval as intervals
from rollout.core.gates import Estimate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rollout.core.evidence.interval import Interval, Moments

LATELY_S = 600.0
"""Epochs that began since then are not folded yet."""
_SAID_FROM_S = 1.0


class Rate(NamedTuple):
    """What comes new in a second: units, and their information (see `Moments.n_eff`)."""

    units: float = 0.0
    n_eff: float = 0.0


class Asked(NamedTuple):
    """What a gate asks. `margin`: as written; `in_outcome`: as a difference of outcomes; `rate`: of what comes new.

    `units`: that are needed at least; `log_value`: of the e-value that decides.
    """

    margin: float
    in_outcome: float
    alpha: float
    rate: Rate
    harm_value: float
    units: int = 0
    log_value: float = 0.0


class Words(NamedTuple):
    """How it is told. `in_time`: the margin is a part of the baseline's time; `more`: what else there is to say."""

    effect: str = "effect"
    nothing: str = "no unit has come of age"
    more: str = ""
    in_time: bool = False
    floor: bool = False


def rate_of(parts: Iterable[tuple[float, Moments]], scope: Moments, since_s: float, now_s: float) -> Rate:
    """What came lately. `parts`: when an epoch began, and its sums; `scope`: all since `since_s`, of a young step."""
    if now_s - since_s <= LATELY_S:
        return _per_s(scope.units, scope.n_eff, now_s - since_s)
    lately = [(began_s, each) for began_s, each in parts if began_s >= now_s - LATELY_S]
    passed_s = now_s - min((began_s for began_s, _ in lately), default=since_s)
    return _per_s(sum(each.units for _, each in lately), sum(each.n_eff for _, each in lately), passed_s)


def estimate_of(moments: Moments, asked: Asked, *, excluded: float | None, proven: bool) -> Estimate:
    """What can be said; `excluded`: the smallest margin that is, where the moments can't tell (latency)."""
    effect = moments.estimate
    if effect is None:
        return Estimate(margin=asked.margin, harm_value=asked.harm_value)
    if asked.in_outcome:
        excluded = intervals.smallest_margin_excluded(moments, asked.alpha)
    left_s = _units_left_s(moments, asked, 0.0 if proven else _left_s(moments, asked))
    found = intervals.interval(moments, asked.alpha)
    return between(effect, found, asked.margin, excluded, expected_s=left_s, harm_value=asked.harm_value)


def between(
    effect: float,
    bounds: Interval,
    margin: float,
    excluded: float | None,
    *,
    expected_s: float | None = None,
    harm_value: float | None = None,
    by_bound: bool = False,
) -> Estimate:
    """An effect with its interval. A mean of weighted outcomes can stray beyond [-1, 1], which no effect does."""
    return Estimate(
        effect=max(-1.0, min(1.0, effect)),
        lower=bounds.lower,
        upper=bounds.upper,
        margin=margin,
        excluded=None if excluded is None else max(0.0, excluded),
        expected_s=expected_s,
        harm_value=harm_value,
        by_bound=by_bound,
    )


def text_of(estimate: Estimate | None, words: Words) -> str:
    """One line for people."""
    if estimate is None or estimate.effect is None:
        return words.nothing
    sign = "" if words.floor else "+"
    left_s = estimate.expected_s
    bounds = f"between {estimate.lower:{sign}.4f} and {estimate.upper:{sign}.4f}"
    parts = (
        f"{words.effect} {estimate.effect:{sign}.4f}, {bounds}",
        _margin(estimate, words),
        _excluded(estimate, words),
        words.more,
        "" if left_s is None or left_s < _SAID_FROM_S else f"decided in about {format_duration(left_s)}",
    )
    return ", ".join(part for part in parts if part)


def _per_s(units: float, n_eff: float, passed_s: float) -> Rate:
    return Rate(units / passed_s, n_eff / passed_s) if passed_s > 0 else Rate()


def _left_s(moments: Moments, asked: Asked) -> float | None:
    """By the rule of thumb; where that says that it should have been, by how far the e-value has come."""
    left_s = intervals.decision_expected_s(moments, asked.in_outcome, asked.alpha, asked.rate.n_eff)
    if left_s is None or left_s > 0.0:
        return left_s
    if asked.log_value <= 0.0:
        return None
    missing = max(0.0, -math.log(asked.alpha) / asked.log_value - 1.0)
    return missing * moments.n_eff / asked.rate.n_eff


def _units_left_s(moments: Moments, asked: Asked, left_s: float | None) -> float | None:
    missing = asked.units - moments.units
    if left_s is None or missing <= 0:
        return left_s
    return max(left_s, missing / asked.rate.units) if asked.rate.units > 0 else None


def _margin(estimate: Estimate, words: Words) -> str:
    if words.in_time:
        return f"margin {estimate.margin:+.0%} of the baseline's time"
    return f"{'floor' if words.floor else 'margin'} {estimate.margin:.4g}"


def _excluded(estimate: Estimate, words: Words) -> str:
    if words.floor:
        return ""
    if estimate.excluded is None:
        return "no margin is excluded yet"
    return (
        f"{estimate.excluded:+.0%} and slower is excluded"
        if words.in_time
        else (f"{estimate.excluded:.4f} and worse is excluded")
    )
