r"""Patterns of an operator's own for redaction, such as customer numbers: a subset that can't take long.

Literal signs, `.`, classes (`[0-9A-F]`, `\d`, `\w`, `\s`) and `\b`, each perhaps with `?`, `{m}` or
`{m,n}`: no groups, no alternatives, no open repetition. With those a pattern may take time that grows with a power of
the text.
"""

from __future__ import annotations

import re

from gateway.core.redaction import Finder

LENGTH_MAX = 200
WAYS_MAX = 1_000
_REPEATED_MAX = 100
_ATOM = re.compile(
    r"(?P<atom>\[\^?\]?[^\]\\\[]*(?:\\[dwsDWS\]\\^-][^\]\\\[]*)*\]|\\[dwsDWSb.\\+*?()\[\]{}|^$/-]|[^\\\[\](){}|^$*+?])"
    r"(?P<repeat>\?|\{\d{1,3}(?:,\d{1,3})?\})?"
)


def finder_of(name: str, pattern: str) -> Finder:
    """What finds the pattern and calls it `[NAME]`; ValueError says what is wrong with it."""
    if not 0 < len(pattern) <= LENGTH_MAX:
        raise ValueError(f"a pattern has 1 to {LENGTH_MAX} characters")
    place, ways, least = 0, 1, 0
    while place < len(pattern):
        found = _ATOM.match(pattern, place)
        if found is None:
            here = pattern[place : place + 10]
            raise ValueError(f"{here!r} is not possible: use literal signs, classes, ?, {{m}} and {{m,n}}")
        low, high = _times(found["repeat"])
        ways *= high - low + 1
        least += 0 if found["atom"] == r"\b" else low
        place = found.end()
    if ways > WAYS_MAX:
        raise ValueError("it can match in too many ways: make its repetitions shorter or fixed")
    if not least:
        raise ValueError("it matches where there is nothing")
    try:
        compiled = re.compile(pattern)
    except re.error as fault:
        raise ValueError(f"it is no pattern: {fault}") from fault
    return Finder(name.upper(), compiled)


def _times(repeat: str | None) -> tuple[int, int]:
    """How often at least and at most."""
    if repeat is None:
        return 1, 1
    if repeat == "?":
        return 0, 1
    low, _, high = repeat.strip("{}").partition(",")
    least, most = int(low), int(high or low)
    if most > _REPEATED_MAX or most < least:
        raise ValueError(f"{repeat} is not possible: repeat {_REPEATED_MAX} times at most")
    return least, most
