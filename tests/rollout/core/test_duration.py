import pytest

from rollout.core.duration import parse_duration
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
