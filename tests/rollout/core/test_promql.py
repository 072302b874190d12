"""Nothing but one fresh float sample of one series in a complete answer is a value."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.promql import (
    AGE_MAX_S,
    EXPRESSION_MAX_CHARS,
    SAMPLES_MAX,
    Expected,
    MetricQuery,
    doubts,
    judge,
    qualified,
    since,
)
from rollout.core.readings import Reading, ReadingKind, measured, no_data, unusable

OK, NO_DATA, ERROR = ReadingKind.OK, ReadingKind.NO_DATA, ReadingKind.ERROR
NOW_S = 1_000.0
EXPECTED = Expected(NOW_S, 120.0)


def series(text: object = "0.25", at_s: object = NOW_S) -> dict[str, Any]:
    return {"metric": {"job": "gateway"}, "value": [at_s, text]}


def answer(*result: object, kind: str = "vector", **more: object) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": list(result)}, **more}


def judged(tree: object, status: int = 200, expected: Expected = EXPECTED) -> Reading:
    return judge(status, json.dumps(tree).encode(), expected)


def test_one_fresh_sample_of_one_series_is_a_value() -> None:
    assert judged(answer(series())) == measured(0.25, NOW_S)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0.0), ("-3", -3.0), ("+1.5", 1.5), (".5", 0.5), ("2.", 2.0), ("1e-07", 1e-7), ("1E+3", 1000.0)],
)
def test_numbers_as_prometheus_writes_them(text: str, value: float) -> None:
    assert judged(answer(series(text))).value == value


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("NaN", NO_DATA, "NaN"),
        ("+Inf", ERROR, "is infinite"),
        ("-Inf", ERROR, "is infinite"),
        ("Inf", ERROR, "is infinite"),
        ("1e999", ERROR, "no finite number"),
        ("nan", ERROR, "no finite number"),
        ("infinity", ERROR, "no finite number"),
        ("1_000", ERROR, "no finite number"),
        ("0x10", ERROR, "no finite number"),
        (" 1", ERROR, "no finite number"),
        ("１", ERROR, "no finite number"),  # noqa: RUF001  a digit, but none of ours
        ("", ERROR, "no finite number"),
        (0.25, ERROR, "can't be read"),
        (None, ERROR, "can't be read"),
        (True, ERROR, "can't be read"),
    ],
)
def test_what_is_no_finite_number_is_no_value(text: object, kind: ReadingKind, told: str) -> None:
    reading = judged(answer(series(text)))
    assert reading.kind is kind
    assert told in reading.reason


def test_an_empty_vector_is_no_data() -> None:
    assert judged(answer()) == no_data("no series matches the query")


def test_several_series_are_an_error() -> None:
    reading = judged(answer(series("0"), series("1")))
    assert reading.kind is ERROR
    assert "2 series where one was asked for" in reading.reason


@pytest.mark.parametrize(
    ("at_s", "kind"),
    [
        (NOW_S - 120, OK),
        (NOW_S - 120.5, NO_DATA),
        (0, NO_DATA),
        (-1e300, NO_DATA),
        (NOW_S + 10, OK),
        (NOW_S + 10.5, ERROR),
        ("1000", ERROR),
        (True, ERROR),
        (None, ERROR),
    ],
)
def test_the_time_of_an_answer_must_be_about_now(at_s: object, kind: ReadingKind) -> None:
    assert judged(answer(series(at_s=at_s))).kind is kind


def test_a_stale_answer_keeps_its_time() -> None:
    assert judged(answer(series(at_s=500))) == no_data("the answer is 500 s old, the limit is 120 s", 500.0)


def test_a_clock_that_is_no_number_makes_nothing_fresh() -> None:
    assert judged(answer(series()), expected=Expected(math.nan, 120.0)).kind is ERROR


@pytest.mark.parametrize(
    "tree",
    [
        answer(NOW_S, "1", kind="scalar"),
        answer(NOW_S, "text", kind="string"),
        answer({"metric": {}, "values": [[NOW_S, "1"]]}, kind="matrix"),
        answer(series(), kind="Vector"),
        answer({"metric": {}}),
        answer({"metric": {}, "histogram": [NOW_S, {"count": "1", "sum": "1", "buckets": []}]}),
        answer(series() | {"histogram": [NOW_S, {}]}),
        answer({"metric": {}, "value": [NOW_S]}),
        answer({"metric": {}, "value": [NOW_S, "1", "2"]}),
        answer({"metric": {}, "value": "1"}),
        answer("1"),
        {"status": "success", "data": {"resultType": "vector", "result": series()}},
        {"status": "success", "data": {"resultType": "vector"}},
        {"status": "success", "data": {"result": [series()]}},
        {"status": "success", "data": None},
        {"status": "success"},
        {"data": answer(series())["data"]},
        {"status": True},
        [answer(series())],
        "success",
        None,
    ],
)
def test_any_other_shape_is_an_error(tree: object) -> None:
    reading = judged(tree)
    assert reading.kind is ERROR
    assert reading.reason


@pytest.mark.parametrize("more", [{"warnings": ["store 3 did not answer"]}, {"isPartial": True}])
def test_a_partial_answer_is_an_error(more: dict[str, object]) -> None:
    reading = judged(answer(series(), **more))
    assert reading.kind is ERROR
    assert "may be incomplete" in reading.reason
    assert judged(answer(**more)).kind is ERROR


def test_annotations_without_weight_go_along() -> None:
    more = {"infos": ["metric might not be a counter"], "warnings": [], "isPartial": False, "stats": {}}
    assert judged(answer(series(), **more)) == measured(0.25, NOW_S, note="metric might not be a counter")


@pytest.mark.parametrize(
    ("status", "tree", "told"),
    [
        (400, {"status": "error", "errorType": "bad_data", "error": "parse error"}, "HTTP 400: bad_data: parse error"),
        (422, {"status": "error", "errorType": "execution", "error": "too many samples"}, "too many samples"),
        (
            503,
            {"status": "error", "errorType": "timeout", "error": "query timed out"},
            "HTTP 503: timeout: query timed",
        ),
        (503, "Service Unavailable", "HTTP 503: no answer of Prometheus' kind"),
        (401, None, "other credentials"),
        (403, None, "don't suffice"),
        (404, None, "is this its address?"),
        (302, answer(series()), "redirects are not followed"),
        (201, answer(series()), "HTTP 201"),
        (500, answer(series()), "HTTP 500"),
        (200, {"status": "error", "errorType": "timeout", "error": "late"}, "timeout: late"),
        (200, {"status": "maybe"}, "status is 'maybe'"),
    ],
)
def test_a_refusal_is_an_error_that_says_why(status: int, tree: object, told: str) -> None:
    reading = judged(tree, status)
    assert reading.kind is ERROR
    assert told in reading.reason


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"<html>", b"\xff", b'{"status":"success","data":' + b"[" * 20_000, b'{"status":NaN}', b"[" * 20_000],
)
def test_bytes_that_are_no_json_are_an_error(body: bytes) -> None:
    assert judge(200, body, EXPECTED).kind is ERROR


def test_a_result_nested_without_end_is_an_error() -> None:
    deep = b"[" * 5_000 + b"]" * 5_000
    for body in (
        b'{"x":' + deep + b"}",
        b'{"status":"success","data":{"resultType":"vector","result":[{"x":' + deep + b"}]}}",
    ):
        assert judge(200, body, EXPECTED).kind is ERROR


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(100, 599), st.binary() | json_values.map(lambda tree: json.dumps(answer(tree, tree)).encode()))
def test_no_answer_raises_or_passes_by_accident(status: int, body: bytes) -> None:
    assert judge(status, body, EXPECTED).kind is not OK


@given(json_values)
def test_whatever_stands_for_a_series_is_one_or_is_refused(tree: Any) -> None:
    assert judged(answer(tree)).kind is not OK
    assert judged(answer({"metric": {}, "value": tree})).kind is not OK


@given(st.floats(), st.floats(0, 2_000))
def test_a_value_passes_just_when_it_is_finite_and_fresh(value: float, at_s: float) -> None:
    text = "NaN" if math.isnan(value) else repr(value).replace("inf", "Inf")
    good = math.isfinite(value) and NOW_S - 120 <= at_s <= NOW_S + 10
    assert (judged(answer(series(text, at_s))).kind is OK) == good


RATE = MetricQuery("rate(a[30s])", 120.0)


def test_a_value_takes_the_time_of_its_newest_sample_and_its_count() -> None:
    value = measured(0.25, NOW_S, note="noted")
    joined = qualified(RATE, NOW_S, value, measured(940.0, NOW_S), measured(31.9, NOW_S))
    assert joined == measured(0.25, 940.0, 31, "noted", from_s=940.0)
    assert qualified(RATE, NOW_S, value, None, None) == measured(0.25, NOW_S, note="noted", from_s=NOW_S - 30)


@pytest.mark.parametrize(
    ("expression", "newest_s", "from_s"),
    [
        ("rate(a[30s])", None, NOW_S - 30),
        ("rate(a[30s])", NOW_S - 5, NOW_S - 30),
        ("rate(a[30s])", NOW_S - 60, NOW_S - 60),
        ("rate(a[30s])", NOW_S + 5, NOW_S - 30),
        ("rate(a[1y])", None, 0.0),
        ("a @ 5", None, 0.0),
        ("a", None, NOW_S - 120),
        ("a", NOW_S - 7, NOW_S - 7),
        ("a", NOW_S, NOW_S),
        ("a", NOW_S + 7, NOW_S),
    ],
)
def test_a_value_says_how_old_its_oldest_sample_may_be(expression: str, newest_s: float | None, from_s: float) -> None:
    newest = None if newest_s is None else measured(newest_s, NOW_S)
    reading = qualified(MetricQuery(expression, 120.0), NOW_S, measured(1.0, NOW_S), newest, None)
    assert (reading.at_s, reading.from_s) == (newest_s or NOW_S, from_s)


@pytest.mark.parametrize(
    ("value", "newest", "samples", "wanted"),
    [
        (no_data("empty"), None, None, no_data("empty")),
        (unusable("late"), measured(NOW_S, NOW_S), None, unusable("late")),
        (measured(1.0, NOW_S), no_data("empty", 3.0), None, no_data("newest: empty", 3.0)),
        (measured(1.0, NOW_S), unusable("late"), None, unusable("newest: late")),
        (measured(1.0, NOW_S), None, unusable("late"), unusable("samples: late")),
        (
            measured(1.0, NOW_S),
            measured(500.0, NOW_S),
            None,
            no_data("the newest sample is 500 s old, the limit is 120 s", 500.0),
        ),
        (
            measured(1.0, NOW_S),
            measured(2_000.0, NOW_S),
            None,
            unusable("the newest sample lies 1000 s in the future; compare the clocks of both hosts"),
        ),
        (measured(1.0, NOW_S), None, measured(-1.0, NOW_S), unusable("samples: -1 can't be a number of observations")),
        (
            measured(1.0, NOW_S),
            None,
            measured(2.0 * SAMPLES_MAX, NOW_S),
            unusable("samples: 1.80144e+16 can't be a number of observations"),
        ),
    ],
)
def test_a_doubtful_part_leaves_no_value(
    value: Reading, newest: Reading | None, samples: Reading | None, wanted: Reading
) -> None:
    assert qualified(RATE, NOW_S, value, newest, samples) == wanted


@pytest.mark.parametrize(
    "fields",
    [
        {"expression": ""},
        {"expression": " \n"},
        {"expression": "up\0"},
        {"expression": "\ud800"},
        {"expression": "x" * (EXPRESSION_MAX_CHARS + 1)},
        {"expression": "up", "newest": "x" * (EXPRESSION_MAX_CHARS + 1)},
        {"expression": "up", "samples": "\x1b"},
        {"expression": "up", "max_age_s": 0.0},
        {"expression": "up", "max_age_s": -1.0},
        {"expression": "up", "max_age_s": math.nan},
        {"expression": "up", "max_age_s": AGE_MAX_S + 1},
    ],
)
def test_a_query_that_cannot_be_asked_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expression|max_age_s"):
        MetricQuery(**fields)


def test_elapsed_time_is_filled_in_and_never_exceeded() -> None:
    query = MetricQuery(
        'rate(a{x="$elapsed"}[$elapsed]) / rate(b[ $elapsed ])\n',
        60.0,
        "max_over_time(timestamp(a)[$elapsed:5s])",
        "increase(a[$elapsed])",
    )
    assert since(query, 92.9) == MetricQuery(
        'rate(a{x="$elapsed"}[90s]) / rate(b[90s])\n',
        60.0,
        "max_over_time(timestamp(a)[90s:5s])",
        "increase(a[90s])",
    )
    assert since(MetricQuery("a[$elapsed]"), 2.2).expression == "a[1s]"
    assert since(MetricQuery("a[$elapsed]"), 8, skew_s=0.5).expression == "a[7s]"
    assert since(MetricQuery("a[$elapsed]".rjust(EXPRESSION_MAX_CHARS)), 1e12).expression.endswith(" a[9999999s]")


@pytest.mark.parametrize(
    ("query", "warned"),
    [
        (MetricQuery("a"), ()),
        (MetricQuery("sum(rate(a[5m]))"), ("range",)),
        (MetricQuery("sum(rate(a[5m]))", newest="max(timestamp(a))"), ()),
        (MetricQuery("sum(a) or vector(0)"), ("vector",)),
        (MetricQuery("sum(a) OR on() vector (0)"), ("vector",)),
        (MetricQuery("sum(a) or vector(0)", newest="max(timestamp(up))"), ()),
        (MetricQuery("absent(a)"), ("absent",)),
        (MetricQuery("absent(a) or vector(0)"), ("vector", "absent")),
    ],
)
def test_queries_that_mislead_are_named(query: MetricQuery, warned: tuple[str, ...]) -> None:
    found = doubts(query)
    assert len(found) == len(warned)
    assert all(word in line for word, line in zip(warned, found, strict=True))
