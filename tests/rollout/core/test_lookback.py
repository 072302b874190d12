import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.lookback import lookback_s

M, H = 60.0, 3_600.0


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ("", 0),
        ("up", 0),
        ("up{job=\"x[5m]\",a='offset 5m',b=`[5m]`} # [5m]", 0),
        (r'up{job="\"[5m]"}', 0),
        ("rate(x[5m])", 5 * M),
        ('rate(x{a="b"}[5m])', 5 * M),
        ("rate(x[ 1h30m ])", 1.5 * H),
        ("x offset 500ms", 0.5),
        ("x OFFSET 1d", 24 * H),
        ("x offset -1d", 0),
        ("rate(x[5m] offset 1h)", H + 5 * M),
        ("sum by (job) (rate(x[5m]))", 5 * M),
        ("sum(rate(x[5m])) by (job)", 5 * M),
        ("sum(rate(x[5m])) / sum(rate(y[10m]))", 10 * M),
        ("sum(rate(x[10m])) / sum(rate(y[5m]))", 10 * M),
        ("rate(x[5m]) + y", 5 * M),
        ("y + rate(x[5m]) * on (job) group_left z offset 1m", 5 * M),
        ("max_over_time(rate(x[5m])[1h:1m])", H + 5 * M),
        ("max_over_time(rate(x[5m])[1h:])", H + 5 * M),
        ("max_over_time((rate(x[5m]) / rate(y[2m]))[1h:1m] offset 10m)", H + 15 * M),
        ("avg_over_time(max_over_time(x[1m])[2m:1m]) or vector(0)", 3 * M),
        ("histogram_quantile(0.95, sum by (le) (rate(x_bucket[2w])))", 14 * 24 * H),
        ("{__name__=~'x|y'}[1y]", 365 * 24 * H),
        ("count by (offset) (x)", 0),
        ("offset_total offset 5m", 5 * M),
        ("job:errors:rate5m", 0),
        ("-x[5m]", 5 * M),
    ],
)
def test_how_far_an_expression_looks_back(expression: str, seconds: float) -> None:
    assert lookback_s(expression) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "expression",
    [
        "x @ 1609746000",
        "rate(x[5m] @ start())",
        "rate(x[$elapsed])",
        "rate(x[300])",
        "x[5m * 2]",
        "(x[5m]",
        "x[5m])",
        "x]",
    ],
)
def test_what_cannot_be_followed_looks_back_without_end(expression: str) -> None:
    assert lookback_s(expression) == math.inf


@given(st.text(alphabet="x(){}[]:@#\"'`,/ 5mh\nofset$", max_size=60))
def test_any_text_has_a_lookback(text: str) -> None:
    assert lookback_s(text) >= 0


def in_subquery(drawn: tuple[str, int], window_s: int) -> tuple[str, int]:
    return f"max_over_time(({drawn[0]})[{window_s}s:1s])", drawn[1] + window_s


def shifted(drawn: tuple[str, int], shift_m: int) -> tuple[str, int]:
    return f"({drawn[0]}) offset {shift_m}m", drawn[1] + 60 * shift_m


def joined(left: tuple[str, int], right: tuple[str, int]) -> tuple[str, int]:
    return f"{left[0]} / on (job) {right[0]}", max(left[1], right[1])


def summed(drawn: tuple[str, int]) -> tuple[str, int]:
    return f"sum by (job) ({drawn[0]})", drawn[1]


EXPRESSIONS = st.recursive(
    st.sampled_from([("x", 0), ('y{a="[5m]"}', 0), ("rate(z[30s])", 30)]),
    lambda inner: (
        st.builds(in_subquery, inner, st.integers(1, 99))
        | st.builds(shifted, inner, st.integers(1, 99))
        | st.builds(joined, inner, inner)
        | st.builds(summed, inner)
    ),
    max_leaves=6,
)


@given(EXPRESSIONS)
def test_operands_side_by_side_take_the_farthest_and_nested_ones_add_up(drawn: tuple[str, int]) -> None:
    text, seconds = drawn
    assert lookback_s(text) == seconds
