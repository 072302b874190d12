"""What Prometheus answers to an instant query -> Reading.

A gate must never take for a measurement what is none, so the rule is: exactly one float sample of one series, fresh, in
a complete answer. An empty vector, NaN and a stale timestamp are NO_DATA; infinities, several series, other result
types, warnings, partial answers, refusals and everything unreadable are ERROR.

An instant query carries the time of its *evaluation*, not of its newest sample, so a stale timestamp only shows a
cached answer or a wrong clock. How old the data is shows `MetricQuery.newest`, where it is given.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import msgspec

from rollout.core.lookback import lookback_s
from rollout.core.readings import Reading, ReadingKind, measured, no_data, unusable

EXPRESSION_MAX_CHARS = 4_000
AGE_MAX_S = 86_400.0
AHEAD_MAX_S = 10.0
SAMPLES_MAX = 2**53
SKEW_S = 2.0

_HTTP_OK = 200
_WINDOW_MAX_S = 9_999_999  # no longer than the word it replaces, so that an expression stays within its limit
_ELAPSED = re.compile(r"\[\s*\$elapsed\s*(?=[\]:])")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_INFINITIES = {"+Inf", "-Inf", "Inf"}
_FILLED = re.compile(r"\bor\s+(?:(?:on|ignoring)\s*\([^)]*\)\s*)?vector\s*\(", re.IGNORECASE)
_REFUSALS = {401: "it wants other credentials", 403: "the credentials don't suffice", 404: "is this its address?"}
_REDIRECTS = range(300, 400)


class MetricQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One metric in PromQL. In the expressions `[$elapsed]` stands for the time since the ramp's step began.

    `newest`: expression for the Unix time of the newest sample behind it, as in `max(timestamp(requests_total))`.
    `samples`: expression for the number of observations behind it. Each of the three must give one series.
    """

    expression: str
    max_age_s: float = 120.0
    newest: str = ""
    samples: str = ""

    def __post_init__(self) -> None:
        """Refuse what can't be asked: ValueError."""
        if not self.expression.strip():
            raise ValueError("a PromQL query needs an expression")
        for text in (self.expression, self.newest, self.samples):
            _check_text(text)
        if not 0 < self.max_age_s <= AGE_MAX_S:
            raise ValueError(f"max_age_s must lie between 0 and {AGE_MAX_S:g}")


def since(query: MetricQuery, elapsed_s: float, skew_s: float = SKEW_S) -> MetricQuery:
    """Fill in `[$elapsed]`: whole seconds, at least one, so that no sample from before the step counts.

    `skew_s`: how far the server's clock may lag behind ours; the window begins so much later.
    """
    window = f"[{min(max(1, math.floor(elapsed_s - skew_s)), _WINDOW_MAX_S)}s"
    filled = [_ELAPSED.sub(window, text) for text in (query.expression, query.newest, query.samples)]
    return MetricQuery(filled[0], query.max_age_s, filled[1], filled[2])


def doubts(query: MetricQuery) -> tuple[str, ...]:
    """Warn of what is valid and still likely to mislead a gate."""
    found = []
    if _FILLED.search(query.expression) and not query.newest:
        found.append(
            '"or vector(…)" turns absent data into a number: give `newest`, or absence looks like a measurement'
        )
    elif "[" in query.expression and not query.newest:
        found.append("a range goes on answering after its series has ended: give `newest` to notice that")
    if "absent" in query.expression:
        found.append('"absent" has a value when there is no data: a gate on it passes or fails by absence alone')
    return tuple(found)


class Expected(NamedTuple):
    """What makes an answer good at Unix time `now_s`."""

    now_s: float
    max_age_s: float
    max_ahead_s: float = AHEAD_MAX_S


def judge(status: int, body: bytes, expected: Expected) -> Reading:
    """Read one answer of /api/v1/query, with its HTTP status; never raises."""
    answer = _decode(body)
    if status != _HTTP_OK:
        return unusable(f"HTTP {status}: {_refusal(status, answer)}")
    if isinstance(answer, str):
        return unusable(f"the answer can't be read: {answer}")
    if answer.status != "success":
        return unusable(_told(answer) or f"the answer's status is {answer.status!r}")
    if answer.warnings or answer.is_partial:
        return unusable(f"the answer may be incomplete: {(answer.warnings or ['it says so itself'])[0]}")
    return _of_data(answer, expected)


def qualified(
    query: MetricQuery, now_s: float, value: Reading, newest: Reading | None, samples: Reading | None
) -> Reading:
    """Join a value to what was asked about its data; a part that could not be read leaves no good value."""
    for name, part in (("", value), ("newest: ", newest), ("samples: ", samples)):
        if part is not None and part.kind is not ReadingKind.OK:
            return msgspec.structs.replace(part, reason=name + part.reason)
    asked_s = at_s = _number(value.at_s)
    if newest is not None:
        at_s = _number(newest.value)
        late = _mistimed("the newest sample", at_s, Expected(now_s, query.max_age_s))
        if late is not None:
            return late
    count = None if samples is None else _number(samples.value)
    if count is not None and not 0 <= count <= SAMPLES_MAX:
        return unusable(f"samples: {count:g} can't be a number of observations")
    whole = None if count is None else int(count)
    from_s = _begin(query, asked_s, None if newest is None else at_s)
    return measured(_number(value.value), at_s, whole, value.reason, from_s=min(from_s, at_s))


def _begin(query: MetricQuery, asked_s: float, newest_s: float | None) -> float:
    """Tell how old the oldest sample may be. Of a plain selector only that it isn't older than allowed is known."""
    reach_s = lookback_s(query.expression)
    reach_s = max(reach_s, asked_s - newest_s) if newest_s is not None else reach_s or query.max_age_s
    return asked_s - min(max(reach_s, 0.0), asked_s)


class _Answer(msgspec.Struct, frozen=True):
    """The envelope; `isPartial` is what VictoriaMetrics says when a part of its storage did not answer."""

    status: str
    data: _Data | None = None
    error_type: str = msgspec.field(default="", name="errorType")
    error: str = ""
    warnings: list[str] | None = None
    infos: list[str] | None = None
    is_partial: bool = msgspec.field(default=False, name="isPartial")


class _Data(msgspec.Struct, frozen=True):
    result_type: str = msgspec.field(name="resultType")
    result: msgspec.Raw


class _Series(msgspec.Struct, frozen=True):
    value: tuple[float, str] | None = None
    histogram: msgspec.Raw | None = None


def _decode(body: bytes) -> _Answer | str:
    try:
        return msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        return str(fault)


def _refusal(status: int, answer: _Answer | str) -> str:
    if status in _REDIRECTS:
        return "redirects are not followed; give the address it leads to"
    told = "" if isinstance(answer, str) else _told(answer)
    return told or _REFUSALS.get(status, "no answer of Prometheus' kind")


def _told(answer: _Answer) -> str:
    return ": ".join(part for part in (answer.error_type, answer.error) if part)


def _of_data(answer: _Answer, expected: Expected) -> Reading:
    if answer.data is None:
        return unusable("the answer holds no data")
    if answer.data.result_type != "vector":
        return unusable(f"the result is a {answer.data.result_type}; a gate needs a vector of one series")
    try:
        series = msgspec.json.decode(answer.data.result, type=list[_Series])
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        return unusable(f"the result can't be read: {fault}")
    if not series:
        return no_data("no series matches the query")
    if len(series) > 1:
        return unusable(f"{len(series)} series where one was asked for; aggregate them, as with sum(…) or max(…)")
    return _of_series(series[0], "; ".join(answer.infos or ()), expected)


def _of_series(series: _Series, note: str, expected: Expected) -> Reading:
    if series.value is None or series.histogram is not None:
        return unusable("the series holds no float sample; take histogram_quantile(…) or histogram_fraction(…) of it")
    at_s, text = series.value
    late = _mistimed("the answer", at_s, expected)
    if late is not None:
        return late
    if text == "NaN":
        return no_data("the value is NaN, as with a ratio of nothing to nothing", at_s)
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    if not math.isfinite(value):
        known = "is infinite" if text in _INFINITIES else "is no finite number"
        return unusable(f"the value {text[:40]!r} {known}")
    return measured(value, at_s, note=note)


def _mistimed(what: str, at_s: float, expected: Expected) -> Reading | None:
    age_s = expected.now_s - at_s
    if age_s > expected.max_age_s:
        return no_data(f"{what} is {age_s:.0f} s old, the limit is {expected.max_age_s:g} s", at_s)
    if not age_s >= -expected.max_ahead_s:  # so put that a clock that is no number is refused too
        return unusable(f"{what} lies {-age_s:.0f} s in the future; compare the clocks of both hosts")
    return None


def _number(value: float | None) -> float:
    """A field that a good reading always has (`Reading` sees to it)."""
    return math.nan if value is None else value


def _check_text(text: str) -> None:
    if len(text) > EXPRESSION_MAX_CHARS:
        raise ValueError(f"an expression is longer than {EXPRESSION_MAX_CHARS} characters")
    if not all(sign.isprintable() or sign in "\n\t" for sign in text):
        raise ValueError("an expression holds characters that can't be printed")
