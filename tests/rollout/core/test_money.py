import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.errors import InvalidArgument
from rollout.core.money import format_usd, parse_usd, shown_usd


@pytest.mark.parametrize(
    ("text", "microusd"),
    [("0", 0), ("250", 250_000_000), ("12.50", 12_500_000), ("0.000001", 1), (" 1.5 ", 1_500_000)],
)
def test_amounts(text: str, microusd: int) -> None:
    assert parse_usd(text) == microusd


@pytest.mark.parametrize("text", ["", "-1", "1e3", "1,5", "$1", "0.0000001", ".5", "5.", "nan", "٣", "9999999999"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="US dollars"):
        parse_usd(text)


@given(st.integers(0, 10**14))
def test_an_amount_is_written_as_it_is_read(microusd: int) -> None:
    assert parse_usd(format_usd(microusd)) == microusd


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (0.0, "$0"),
        (1_234_567.8, "$1,234,568"),
        (9_876.543, "$9,876.54"),
        (1.0, "$1.00"),
        (0.123456, "$0.123"),
        (0.0000123456, "$0.0000123"),
        (-0.05, "-$0.0500"),
        (1e-20, "$0.000000000000"),
    ],
)
def test_people_are_shown_digits_that_say_something(usd: float, shown: str) -> None:
    assert shown_usd(usd) == shown
