import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.cli.explaining import attributes_of
from rollout.core.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("pro", "pro"),
        ("", ""),
        ("a=b", "a=b"),
        ("3", 3),
        ("-2.5", -2.5),
        ("true", True),
        ('"3"', "3"),
        ('["a","b"]', ["a", "b"]),
        ("[1]", "[1]"),
        ("null", "null"),
        ("{}", "{}"),
        ("NaN", "NaN"),
        ("1e999", "1e999"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_values_are_json_where_a_rule_can_read_that_and_else_text(text: str, value: object) -> None:
    assert attributes_of([f"plan={text}"]) == {"plan": value}


def test_several_are_told_apart() -> None:
    assert attributes_of(["plan=pro", "seats=3"]) == {"plan": "pro", "seats": 3}
    assert attributes_of([]) == {}


@pytest.mark.parametrize("pairs", [["plan"], ["=pro"], ["plan=a", "plan=b"]])
def test_what_cannot_be_meant_is_refused(pairs: list[str]) -> None:
    with pytest.raises(InvalidArgument) as fault:
        attributes_of(pairs)
    assert fault.value.hint


@given(st.text())
def test_any_value_is_one(text: str) -> None:
    (value,) = attributes_of([f"a={text}"]).values()
    assert isinstance(value, str | bool | int | float | list)
