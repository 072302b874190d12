"""Whether an answer is right, where there is a reference to hold it against."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from gateway.core.checks.words import plain, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
_NUMBER = re.compile(r"-?\d{1,18}(?:[.,]\d{1,18})*")
_LOOKED_AT_CHARS = 65_536


class Scorer(StrEnum):
    """How answer and reference are compared. `words`: without case, punctuation and spacing; `number`: the last one."""

    EXACT = "exact"
    WORDS = "words"
    CONTAINS = "contains"
    JSON = "json"
    NUMBER = "number"


def is_right(scorer: Scorer, answer: str, reference: str) -> bool:
    """Whether the answer counts as the reference."""
    return _SCORERS[scorer](answer, reference)


def _exact(answer: str, reference: str) -> bool:
    return answer.strip() == reference.strip()


def _words(answer: str, reference: str) -> bool:
    return words_of(answer) == words_of(reference)


def _contains(answer: str, reference: str) -> bool:
    return plain(reference) in plain(answer)


def _json(answer: str, reference: str) -> bool:
    try:
        said, meant = msgspec.json.decode(answer), msgspec.json.decode(reference)
    except _UNREADABLE:
        return False
    return bool(said == meant)


def _number(answer: str, reference: str) -> bool:
    said, meant = _last_number(answer), _last_number(reference)
    return said is not None and said == meant


def _last_number(text: str) -> float | None:
    """Commas between digits are taken for separators of thousands."""
    found = _NUMBER.findall(text[-_LOOKED_AT_CHARS:])
    if not found:
        return None
    try:
        return float(found[-1].replace(",", ""))
    except ValueError:
        return None


_SCORERS: Mapping[Scorer, Callable[[str, str], bool]] = {
    Scorer.EXACT: _exact,
    Scorer.WORDS: _words,
    Scorer.CONTAINS: _contains,
    Scorer.JSON: _json,
    Scorer.NUMBER: _number,
}
