"""Verdicts: what a measurement says about a gate, and when failures count.

| measured                                             | verdict                                    |
| ---------------------------------------------------- | ------------------------------------------ |
| nothing, empty, NaN, too old                         | NO_DATA                                    |
| an error, ±Inf, several series, a time to come, another gate's or the wrong kind of measurement | ERROR |
| too few samples, a PASS measured from before the step | INCONCLUSIVE                              |
| a number against its limit, or the evidence's answer | PASS, FAIL; of evidence also INCONCLUSIVE  |

Only a finite, fresh, single number can be PASS or FAIL. The worst verdict wins, in the order of `Result`.
"""

from __future__ import annotations

from math import isfinite, isnan
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from rollout.core.ramp_model import FailureRule, Gate, GateKind, GateRecord
from rollout.core.verdict import Estimate, Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "BLIND", "CLOCK_SKEW_S", "NOT_ASKED", "Estimate", "Reading", "Result", "Verdict", "counted", "fails_limit",
    "has_failed", "judge", "remember", "worst",
]  # fmt: skip

CLOCK_SKEW_S = 5.0
"""How far ahead of ours the clock of a metric source may be."""

NOT_ASKED = "not asked"
"""What the reason of a PASS begins with that nothing was measured for."""

_EMPTY = "the answer is empty"
_NOT_YET = "not yet: the answer is empty, as is usual when a {} has just begun"
"""Counters need two scrapes before they can be seen to grow."""

_FIRST_FAIL = FailureRule(count=1)
_FRESH = GateRecord()


_SEVERITY = {result: position for position, result in enumerate(Result)}
BLIND = frozenset({Result.NO_DATA, Result.ERROR})


class Reading(NamedTuple):
    """One measurement for a threshold, as its source gives it; nothing in it is trusted.

    `at_s`: when it was measured; `from_s`: since when, by default the gate's window before that. `series`: how many
    numbers the query gave. `error`: why there is none.
    """

    value: float | None = None
    at_s: float | None = None
    from_s: float | None = None
    samples: int | None = None
    series: int = 1
    error: str = ""


class _Number(NamedTuple):
    value: float
    limit: float
    at_s: float


def judge(gate: Gate, measured: Reading | Verdict | None, *, now_s: float, since_s: float) -> Verdict:
    """Judge one gate at `now_s`; what makes it PASS must all have been measured after `since_s`."""
    if measured is None:
        return _verdict(gate, Result.NO_DATA, "nothing was measured", now_s)
    if isinstance(measured, Verdict):
        verdict = _checked(gate, measured, now_s)
    elif gate.source == "evidence" or gate.kind is not GateKind.THRESHOLD:
        verdict = _verdict(gate, Result.ERROR, f"{gate.kind} needs the evidence's verdict, not a number", now_s)
    else:
        verdict = _compared(gate, measured, now_s)
        if verdict.reason == _EMPTY and 0 <= now_s - since_s < gate.max_age_s:
            verdict = replace(verdict, reason=_NOT_YET.format(gate.scope))
    in_time = verdict.from_s is not None and since_s <= verdict.from_s <= verdict.at_s  # false for NaN
    if verdict.result is Result.PASS and not in_time:
        return replace(verdict, result=Result.INCONCLUSIVE, reason=f"measured from before this {gate.scope} began")
    return verdict


def worst(verdicts: Iterable[Verdict]) -> Result:
    """Return the worst result; of no verdicts PASS, since then nothing was asked."""
    return max((verdict.result for verdict in verdicts), key=_SEVERITY.__getitem__, default=Result.PASS)


def remember(
    gate: Gate, record: GateRecord | None, verdict: Verdict, *, now_s: float, absent_max_s: float
) -> GateRecord | None:
    """Note a verdict in what is remembered of its gate; None when there is nothing worth remembering.

    A measurement counts once, however often it is looked at. PASS and INCONCLUSIVE end a row of FAILs; absence alone
    neither adds to it nor ends it, unless the last FAIL is more than `absent_max_s` old by then.
    """
    before = record or _FRESH
    if verdict.result is Result.FAIL:
        return before if before.counted_s == verdict.at_s else _with_fail(gate, before, verdict.at_s)
    lapsed = bool(before.fails_s) and abs(now_s - before.fails_s[-1]) > absent_max_s
    if verdict.result in BLIND and not lapsed:
        return record
    return GateRecord(fails_s=before.fails_s) if before.fails_s and _rule(gate).within else None


def has_failed(gate: Gate, record: GateRecord | None, verdict: Verdict) -> bool:
    """Whether a gate that says FAIL has done so as often as its rule asks."""
    return verdict.result is Result.FAIL and counted(gate, record) >= _rule(gate).count


def counted(gate: Gate, record: GateRecord | None) -> int:
    """Return how many FAILs count against the gate's rule."""
    before = record or _FRESH
    return before.streak if _rule(gate).within is None else len(before.fails_s)


def fails_limit(gate: Gate) -> int:
    """Return how many FAILs the gate's rule asks for; without a rule the first one counts."""
    return _rule(gate).count


def _rule(gate: Gate) -> FailureRule:
    return gate.failure or _FIRST_FAIL


def _with_fail(gate: Gate, before: GateRecord, at_s: float) -> GateRecord:
    rule = _rule(gate)
    within_s = rule.within_s
    recent = () if within_s is None else tuple(each for each in before.fails_s if abs(at_s - each) <= within_s)
    return GateRecord(before.streak + 1, (*recent, at_s)[-rule.count :], at_s)


def _verdict(gate: Gate, result: Result, reason: str, at_s: float) -> Verdict:
    return Verdict(gate.name, result, reason, at_s, metric=gate.metric or gate.query, limit=_limit(gate))


def _limit(gate: Gate) -> float | None:
    """What a reading is held against. Evidence has limits of its own, which only its verdicts know."""
    return gate.limit if gate.source == "promql" else None


def _blind(gate: Gate, given: Verdict, now_s: float) -> Verdict:
    """Evidence that says nothing, or nothing good: what it waits for is shown all the same."""
    limit = given.limit if given.limit is not None and isfinite(given.limit) else None
    blank = _verdict(gate, given.result, given.reason, now_s)
    return replace(blank, limit=limit, samples=given.samples, estimate=given.estimate)


def _checked(gate: Gate, given: Verdict, now_s: float) -> Verdict:
    """Pass on a ready verdict, or say why it can't be believed."""
    if gate.source == "promql":
        return _verdict(gate, Result.ERROR, "a query needs a number, not a verdict", now_s)
    if given.gate != gate.name:
        return _verdict(gate, Result.ERROR, f"it is the verdict of {given.gate!r}", now_s)
    if given.result in BLIND:
        return _blind(gate, given, now_s)
    doubt = _doubt_of_time(gate, given.at_s, now_s)
    told = given.result is Result.INCONCLUSIVE if given.value is None else isfinite(given.value)
    if doubt is None and not told:
        doubt = Result.ERROR, f"its value is {given.value}"
    return given if doubt is None else _verdict(gate, *doubt, now_s)


def _compared(gate: Gate, reading: Reading, now_s: float) -> Verdict:
    number = _number(gate, reading, now_s)
    if not isinstance(number, _Number):
        return _verdict(gate, *number, now_s)
    value, limit, at_s = number
    met = value <= limit if gate.direction == "lower" else value >= limit
    enough = (reading.samples or 0) >= gate.min_samples
    result = Result.INCONCLUSIVE if not enough else Result.PASS if met else Result.FAIL
    bound = "at most" if gate.direction == "lower" else "at least"
    reason = f"{bound} {limit:g} wanted" if enough else f"{reading.samples} of {gate.min_samples} samples"
    from_s = at_s - gate.window_s if reading.from_s is None else reading.from_s
    return replace(_verdict(gate, result, reason, at_s), value=value, samples=reading.samples, from_s=from_s)


def _number(gate: Gate, reading: Reading, now_s: float) -> _Number | tuple[Result, str]:
    """Return what can be compared, or why nothing can."""
    doubt = _doubt_of_answer(reading)
    if doubt is not None:
        return doubt
    if reading.value is None or isnan(reading.value):
        return Result.NO_DATA, _EMPTY if reading.value is None else "the value is NaN"
    if not isfinite(reading.value) or gate.limit is None or not isfinite(gate.limit):
        return Result.ERROR, f"{reading.value} can't be compared with {gate.limit}"
    if reading.samples is None and gate.min_samples:
        return Result.NO_DATA, "the number of samples is unknown"
    if reading.at_s is None:
        return Result.ERROR, "it doesn't say when it was measured"
    return _doubt_of_time(gate, reading.at_s, now_s) or _Number(float(reading.value), gate.limit, reading.at_s)


def _doubt_of_answer(reading: Reading) -> tuple[Result, str] | None:
    if reading.error:
        return Result.ERROR, reading.error
    if reading.series > 1:
        return Result.ERROR, f"{reading.series} series where one was asked for"
    return (Result.NO_DATA, _EMPTY) if reading.series < 1 else None


def _doubt_of_time(gate: Gate, at_s: float, now_s: float) -> tuple[Result, str] | None:
    if not isfinite(at_s):
        return Result.ERROR, f"measured at {at_s}"
    if at_s > now_s + CLOCK_SKEW_S:
        return Result.ERROR, f"measured {at_s - now_s:.0f} s in the future"
    if now_s - at_s > gate.max_age_s:
        return Result.NO_DATA, f"measured {now_s - at_s:.0f} s ago, at most {gate.max_age} allowed"
    return None
