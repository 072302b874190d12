import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.duration import format_duration, parse_duration
from rollout.core.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("30s", 30), ("10m", 600), ("24h", 86_400), (" 90d ", 7_776_000)]
)
def test_lengths_of_time(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "h", "1.5h", "-1h", "1 h", "1w", "1h30m", "1h\nx", "٣h", "9999999999s"])
def test_what_is_none_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(InvalidArgument) as fault:
        parse_duration(text)
    assert "90d" in fault.value.hint


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (3.29, "3.2 s"),
        (12.9, "12 s"),
        (59.99, "59 s"),
        (60, "1 min"),
        (272, "4 min 32 s"),
        (3_600, "1 h"),
        (4_530, "1 h 15 min"),
        (90_000, "1 d 1 h"),
        (7_776_000, "90 d"),
        (-12, "-12 s"),
        (1e15, "1.16e+10 d"),
        (float("inf"), "unknown"),
        (float("nan"), "unknown"),
    ],
)
def test_lengths_of_time_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats())
def test_any_number_can_be_written(seconds: float) -> None:
    assert 0 < len(format_duration(seconds)) < 20
