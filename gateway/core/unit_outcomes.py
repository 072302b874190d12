"""From what a unit's first request came to at its age to outcomes in [0, 1], one for each series of its flag.

| metric | outcome |
| --- | --- |
| `errors` | 1: the assigned arm gave an answer, 0: it did not, see decision 15 |
| `ttft_*`, `itl_*`, `total_*` | 1: within the bound, 0: beyond it |
| `form` | of the sample: 1: no free check found a fault, 0: one did |
| `thumbs` | mean of callers' ratings at an age of its own, 0.5 where there is none |

*Latency* is the caller's wait, from arrival on, whoever answered in the end: a fallback's answer counts for the arm
that was assigned, with all the time that it took. What is known of it is an interval:

| of the first request, at its age | first token | mean gap | whole answer |
| --- | --- | --- | --- |
| answered | then; not streamed: with the whole answer | if it has two tokens, else left out | then |
| failed, timed out, cut off; left after 10 s in which nothing began | never | never | never |
| caller left, or still under way | then, if it came; else after that | left out | after that |
| caller stopped reading; the gateway ended | left out | left out | left out |

It is within a bound if it certainly is, beyond it if it certainly is, else *left out*: scored at its prediction, which
adds nothing to the contrast whatever the arm does to callers' patience. So whoever leaves after the bound has shown
that it was passed, and whoever leaves before has shown nothing: no arm gains by making callers leave. Nothing that is
under way at its age is undecided, for a bound beyond the age is not measured at all (`BEYOND`).

A unit is *absent* from a series for reasons known before its arm was drawn, and only for those: no yardstick was in
force when it arrived, it asked for no stream (and has no gaps), its request is outside of the sample.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from gateway.core.units import End
from rollout.core.evidence.names import ERRORS, FORM, ITL, LATENCY, TTFT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.core.units import Unit
    from rollout.core.evidence.plans import Series

Outcome: TypeAlias = float | None
"""In [0, 1]; None: left out; or one of these, which are below zero:"""
ABSENT = -1.0
BEYOND = -2.0
"""Absent, because the bound lies beyond the age at which the unit is looked at."""
UNRATED = 0.5


class Span(NamedTuple):
    """What is known of a latency."""

    at_least_s: float
    at_most_s: float


_NEVER = Span(inf, inf)


def outcomes_of(
    unit: Unit, series: Sequence[Series], yardsticks_s: Mapping[str, float], form: Outcome
) -> tuple[Outcome, ...]:
    """One for each of `series`. `yardsticks_s`: by metric, in force when the unit arrived; `form`: as `form_of`.

    A unit is absent from `thumbs`: that has an age of its own.
    """
    return tuple([_outcome(unit, each, yardsticks_s, form) for each in series])


def form_of(*, sampled: bool, flawed: bool | None) -> Outcome:
    """The outcome of free checks. `sampled`: known before the draw; `flawed`: None if it was not checked after all."""
    if not sampled:
        return ABSENT
    return None if flawed is None else float(not flawed)


def thumbs_of(ratings: Sequence[float]) -> float:
    """The outcome of what callers said of any request of a unit, each in [0, 1]."""
    return sum(ratings) / len(ratings) if ratings else UNRATED


def span_of(unit: Unit, part: str) -> Span | None:
    """What is known of one of the latencies; None if that is nothing."""
    if unit.end is End.OUTSIDE:
        return None
    if unit.end is End.FAILED:
        return _NEVER
    if part == ITL:
        return _exactly(unit.gap_s) if unit.end is End.ANSWERED else None
    if part == TTFT and unit.ttft_s is not None:
        return _exactly(unit.ttft_s)
    return _exactly(unit.total_s) if unit.end is End.ANSWERED else Span(unit.total_s, inf)


def _exactly(seconds: float | None) -> Span | None:
    return None if seconds is None else Span(seconds, seconds)


def _outcome(unit: Unit, series: Series, yardsticks_s: Mapping[str, float], form: Outcome) -> Outcome:
    metric = series.metric
    if metric in LATENCY:
        return _latency(unit, series, series.limit_s or yardsticks_s.get(metric))
    if metric == ERRORS:
        return unit.success
    return form if metric == FORM else ABSENT


def _latency(unit: Unit, series: Series, yardstick_s: float | None) -> Outcome:
    part = LATENCY[series.metric].part
    if yardstick_s is None or (part == ITL and not unit.stream):
        return ABSENT
    widest_s = (1.0 + series.margin) * yardstick_s
    if widest_s > unit.age_s:
        return BEYOND
    span, bound_s = span_of(unit, part), widest_s if unit.candidate else yardstick_s
    if span is None:
        return None
    if span.at_most_s <= bound_s:
        return 1.0
    return 0.0 if span.at_least_s > bound_s else None
