import math
from typing import Any

import pytest
from hypothesis import given

from rollout.core.coercion import comparable, contains, equal, to_number, to_text, truthy
from tests.rollout.core.strategies import attributes

NAN = float("nan")


@pytest.mark.parametrize("value", [None, False, 0, 0.0, NAN, "", ()])
def test_what_counts_as_false(value: object) -> None:
    assert truthy(value) is False


@pytest.mark.parametrize("value", [True, 1, -0.5, "0", "false", ("",)])
def test_all_else_counts_as_true(value: object) -> None:
    assert truthy(value) is True


@pytest.mark.parametrize(
    ("value", "number"),
    [(True, 1), (7, 7), (2.5, 2.5), (None, 0), ((), 0), (("3",), 3), (" 4 ", 4), ("1e2", 100), ("infinity", math.inf)],
)
def test_numbers_of_values(value: object, number: float) -> None:
    assert to_number(value) == number


@pytest.mark.parametrize("value", ["", "x", "Inf", " -inf", ("1", "2"), "nan"])
def test_what_is_no_number(value: object) -> None:
    assert math.isnan(to_number(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (2.0, "2"), (0.1, "0.1"), (3, "3"), (True, "True"), (None, "null"), (("a", "b"), "a,b")],
)
def test_texts_of_values(value: object, text: str) -> None:
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("one", "other"), [(1, "1"), (None, 0), (None, None), (True, "1"), (("a", "b"), "a,b"), ("a", "a"), (0, "0.0")]
)
def test_what_is_loosely_equal(one: object, other: object) -> None:
    assert equal(one, other)
    assert equal(other, one)


@pytest.mark.parametrize(
    ("one", "other"), [(None, "null"), (NAN, NAN), ("1", "1.0"), (("a",), tuple("a")), ((), None), (2, "two")]
)
def test_what_is_not(one: object, other: object) -> None:
    assert not equal(one, other)


def test_a_list_equals_itself() -> None:
    groups = ("a",)
    assert equal(groups, groups)


def test_the_type_of_a_comparison() -> None:
    assert comparable(2, "10") == (2, 10)
    assert comparable("b", None) == ("b", "null")
    assert comparable((), None) == (0, 0)


def test_items_and_parts() -> None:
    assert contains("a", ("a", "b"))
    assert contains(1, "213")
    assert not contains("a", None)
    assert not contains("x", "abc")


@pytest.mark.parametrize("read", [to_number, to_text])
def test_what_is_not_json_is_refused(read: Any) -> None:
    with pytest.raises(TypeError, match="can't read a bytes"):
        read(b"x")


@given(attributes, attributes)
def test_any_two_values_can_be_compared(one: object, other: object) -> None:
    left, right = comparable(one, other)
    assert isinstance(left, str) == isinstance(right, str)
    assert equal(one, other) in {True, False}
