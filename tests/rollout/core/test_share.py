import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.errors import InvalidArgument
from rollout.core.model import BUCKETS
from rollout.core.share import format_share, parse_share


@pytest.mark.parametrize(
    ("text", "millipct"),
    [
        ("25%", 25_000),
        ("25", 25_000),
        ("100", BUCKETS),
        ("12.5%", 12_500),
        ("0.001%", 1),
        ("0%", 0),
        ("100%", BUCKETS),
        (" 1.05% ", 1_050),
    ],
)
def test_percentages_are_read_exactly(text: str, millipct: int) -> None:
    assert parse_share(text) == millipct


@pytest.mark.parametrize(
    "text", ["", "0.25", "12.5", "25 %", "-1%", "+1%", "0.0001%", "1e1%", "nan%", "%", ".5%", "5.%", "\u0661%", "1,5%"]
)
def test_what_is_not_a_percentage_in_thousandths_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a share"):
        parse_share(text)


@pytest.mark.parametrize("text", ["100.001%", "101%", "101", "999%"])
def test_more_than_everybody_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="more than 100%"):
        parse_share(text)


@given(st.integers(0, BUCKETS))
def test_a_share_survives_writing_and_reading(millipct: int) -> None:
    assert parse_share(format_share(millipct)) == millipct


def test_a_share_is_written_short() -> None:
    assert [format_share(value) for value in (0, 1, 12_500, 25_000, BUCKETS)] == [
        "0%",
        "0.001%",
        "12.5%",
        "25%",
        "100%",
    ]
