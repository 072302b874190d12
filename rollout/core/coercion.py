"""How JsonLogic compares values of different types, exactly as openfeature-flagd-core 2.0.0 does it.

Values are None, str, bool, int, float, and tuples of those (JSON's lists). Booleans are the numbers 0 and 1.
Anything else raises TypeError.
"""

from __future__ import annotations

from typing import Final

Number = int | float
_NAN: Final = float("nan")
_INFINITE = frozenset(("inf", "+inf", "-inf"))


def truthy(value: object) -> bool:
    """Tell whether a value counts as true: all but None, 0, NaN, the empty text and the empty list."""
    return bool(value) and value == value  # noqa: PLR0124  only NaN differs from itself


def to_number(value: object) -> Number:
    """Read a value as a number; NaN for what is none."""
    if isinstance(value, (int, float)):
        return value
    if value is None:
        return 0
    if isinstance(value, tuple):
        return 0 if not value else to_number(value[0]) if len(value) == 1 else _NAN
    if not isinstance(value, str):
        raise TypeError(f"a rule can't read a {type(value).__name__}")
    if value.strip().lower() in _INFINITE:
        return _NAN
    try:
        return float(value)
    except ValueError:
        return _NAN


def to_text(value: object) -> str:
    """Write a value as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, int):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return ",".join(map(to_text, value))
    raise TypeError(f"a rule can't read a {type(value).__name__}")


def equal(one: object, other: object) -> bool:
    """Compare as `==` of JsonLogic: numbers by value, None with numbers as 0, lists by identity or as text."""
    if isinstance(one, (int, float)) or isinstance(other, (int, float)):
        return to_number(one) == to_number(other)
    if one is None or other is None:
        return one is other
    if isinstance(one, tuple) and isinstance(other, tuple):
        return one is other
    return to_text(one) == to_text(other)


def comparable(one: object, other: object) -> tuple[Number, Number] | tuple[str, str]:
    """Bring two values to one type for `<` and its like: numbers if one is a number, else text if one is text."""
    is_number = isinstance(one, (int, float)) or isinstance(other, (int, float))
    if not is_number and (isinstance(one, str) or isinstance(other, str)):
        return to_text(one), to_text(other)
    return to_number(one), to_number(other)


def contains(needle: object, haystack: object) -> bool:
    """Tell whether a list has an item, or a text a part; False for any other haystack."""
    if isinstance(haystack, tuple):
        return needle in haystack
    return isinstance(haystack, str) and to_text(needle) in haystack
