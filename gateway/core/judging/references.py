"""Scores of answers to tasks whose right answer is known: no model is asked, so nothing can be down, slow or swayed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from rollout.core.evidence.pairwise import EVEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?|[-+]?\.\d+")
_WORD = re.compile(r"\w+")
_FENCED = re.compile(r"\A```\w*\n(.*)\n```\Z", re.DOTALL)
_CHARS_MAX = 100_000


class Scorer(StrEnum):
    """How an answer is held against a reference.

    EXACT: the same text, white space around it aside. SAME_WORDS: the same text in small letters, without punctuation,
    any white space. CONTAINS: the reference stands in it, compared likewise, at borders of words. NUMBER: the last
    number in it is the reference's last one. JSON: the same value, whatever its order of names and white space,
    perhaps in a code fence.
    WORD_F1: harmonic mean of the shares of words that the two have in common.
    """

    EXACT = "exact"
    SAME_WORDS = "same_words"
    CONTAINS = "contains"
    NUMBER = "number"
    JSON = "json"
    WORD_F1 = "word_f1"


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is right; of several texts any."""

    scorer: Scorer
    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.texts or not any(text.strip() for text in self.texts):
            raise ValueError("a reference needs a text")


def score(reference: Reference, answer: str) -> float:
    """In [0, 1], 1 for right; the best over the texts. What an answer says beyond 100 000 characters is not read."""
    compare = _SCORERS[reference.scorer]
    return max(compare(text, answer[:_CHARS_MAX]) for text in reference.texts)


def win(reference: Reference, candidate: str, baseline: str) -> float:
    """The candidate's win, 0, 1/2 or 1, as a judge gives it."""
    ours, theirs = score(reference, candidate), score(reference, baseline)
    return EVEN if ours == theirs else float(ours > theirs)


def _exact(text: str, answer: str) -> float:
    return float(text.strip() == answer.strip())


def _same_words(text: str, answer: str) -> float:
    return float(_words(text) == _words(answer))


def _contains(text: str, answer: str) -> float:
    wanted, words = _words(text), _words(answer)
    return float(bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words)} ")


def _number(text: str, answer: str) -> float:
    wanted = _last_number(text)
    return float(wanted is not None and wanted == _last_number(answer))


def _json(text: str, answer: str) -> float:
    try:
        return float(_value(text) == _value(answer))
    except (ValueError, RecursionError):
        return 0.0


def _word_f1(text: str, answer: str) -> float:
    wanted, words = Counter(_words(text)), Counter(_words(answer))
    common = (wanted & words).total()
    return 2 * common / (wanted.total() + words.total()) if common else 0.0


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def _last_number(text: str) -> Decimal | None:
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "")) if found else None


def _value(text: str) -> object:
    """Numbers are tuples, so that 1 is 1.0 and not true."""
    stripped = text.strip()
    fenced = _FENCED.match(stripped)
    return json.loads(fenced[1] if fenced else stripped, parse_int=_exactly, parse_float=_exactly)


def _exactly(number: str) -> tuple[Decimal]:
    return (Decimal(number),)


_SCORERS: Mapping[Scorer, Callable[[str, str], float]] = {
    Scorer.EXACT: _exact,
    Scorer.SAME_WORDS: _same_words,
    Scorer.CONTAINS: _contains,
    Scorer.NUMBER: _number,
    Scorer.JSON: _json,
    Scorer.WORD_F1: _word_f1,
}
