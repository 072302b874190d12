"""Semantic versions as flagd's `sem_ver` compares them: by precedence, build metadata left aside.

A leading "v" is dropped and missing parts are zero, so "v1.2" is 1.2.0. "^" wants the same major version, "~" the same
major and minor one, nothing else.
"""

from __future__ import annotations

import operator
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_PARTS = 3
_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+[0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*)?",
    re.ASCII,
)


class Version(NamedTuple):
    """A version; as a tuple it sorts by precedence. `label`: (1,) for a release, else 0 and the pre-release's parts."""

    major: int
    minor: int
    patch: int
    label: tuple[object, ...]


def parse(value: object) -> Version | None:
    """Read a version from text or a number; None when it is none."""
    return _parse(str(value))


@lru_cache(maxsize=1_024)
def _parse(text: str) -> Version | None:
    if text.startswith(("v", "V")):
        text = text[1:]
    numbers = text.split("-")[0].split("+")[0]
    padded = numbers + ".0" * (_PARTS - 1 - numbers.count(".")) + text[len(numbers) :]
    found = _VERSION.fullmatch(padded)
    if found is None:
        return None
    try:
        return Version(int(found[1]), int(found[2]), int(found[3]), _label(found[4]))
    except ValueError:  # more digits than Python turns into a number
        return None


def _label(prerelease: str | None) -> tuple[object, ...]:
    if prerelease is None:
        return (1,)
    return (0, *((0, int(part), "") if part.isdigit() else (1, 0, part) for part in prerelease.split(".")))


OPERATORS: dict[str, Callable[[Version, Version], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "^": lambda one, other: one.major == other.major,
    "~": lambda one, other: one[:2] == other[:2],
}
