"""Free checks of an answer: what can be seen to be wrong with it without asking anybody.

Each says True (it has the fault), False, or None: it doesn't apply, or can't tell. A verdict on one answer is a
heuristic; what counts is the rate of one arm against the other's, where the same answers are looked at in the same way.
No check takes more than linear time in what it looks at, and all but the parsing of JSON look at a bounded part of it.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from gateway.core.checks.asked import Asked, Shape
from gateway.core.checks.echo import echoes
from gateway.core.checks.ending import Ending, truncated
from gateway.core.checks.language import language_of, names_a_language
from gateway.core.checks.refusal import refuses
from gateway.core.checks.repetition import loops

ANSWER_MAX_CHARS = 524_288
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError, RecursionError)


class Checks(NamedTuple):
    """The verdicts on one answer; the names are label values of metrics and names in reports."""

    empty: bool | None = None
    truncated: bool | None = None
    refusal: bool | None = None
    repetition: bool | None = None
    invalid_json: bool | None = None
    wrong_language: bool | None = None
    echo: bool | None = None

    @property
    def flawed(self) -> bool:
        """Whether any fault was found: 1 less this is the answer's outcome in the metric `form`."""
        return any(self)

    @property
    def faults(self) -> tuple[str, ...]:
        """Names of those that were found."""
        return tuple(name for name, found in zip(self._fields, self, strict=True) if found)


CHECKS = Checks._fields


def check(text: str, ending: Ending, asked: Asked) -> Checks:
    """Check one answer. `text`: what its reader saw (`gateway.core.answer_text`); beyond the largest it is not read.

    An empty answer has that fault and no other: nothing is known of what was not said.
    """
    cut = len(text) > ANSWER_MAX_CHARS
    text = text[:ANSWER_MAX_CHARS]
    if not text.strip():
        return Checks(empty=True, truncated=ending is Ending.LENGTH, refusal=ending is Ending.REFUSED)
    if ending is Ending.TOOL:
        return Checks(empty=False, truncated=False, refusal=False)
    refusal = ending is Ending.REFUSED or refuses(text)
    broken = None if asked.json is None or cut else not _is_json(text, asked)
    prose = asked.json is None and not refusal
    return Checks(
        empty=False,
        truncated=None if cut else truncated(text, ending),
        refusal=refusal,
        repetition=loops(text) if asked.json is None or broken else False,
        invalid_json=broken,
        wrong_language=_in_wrong_language(text, asked) if prose else None,
        echo=echoes(text, asked.user) if prose else None,
    )


def _is_json(text: str, asked: Asked) -> bool:
    """Whether a program would read it: no fence of code around it, and what the schema requires is there."""
    try:
        value = msgspec.json.decode(text)
    except _UNREADABLE:
        return False
    if asked.json is Shape.ANY:
        return True
    return isinstance(value, dict) and all(name in value for name in asked.required)


def _in_wrong_language(text: str, asked: Asked) -> bool | None:
    """Whether it is in another one than the question; None unless both are plain, and none was spoken of."""
    if names_a_language(asked.user) or names_a_language(asked.context):
        return None
    question = language_of(asked.user)
    answer = language_of(text)
    return None if question is None or answer is None else question != answer
