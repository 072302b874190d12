"""Whether an answer only says again what it was asked."""

from __future__ import annotations

from gateway.core.checks.words import plain, words_of

LOOKED_AT_CHARS = 32_768
WORDS_MIN = 6
"""Of the question: a shorter one ("yes or no?") may well come back in its answer."""
_RUN = 5
_FOUND_RATIO = 0.9
_LENGTH_RATIO = 0.6


def echoes(answer: str, question: str) -> bool | None:
    """Whether nearly all of the answer is in the question, and most of the question in it; None for a short question.

    Runs of five words are compared, so that an answer which takes up the question's words is none. Who asks for a text
    to be corrected that has no mistake gets an echo by right: a rate to compare between arms, no proof for one answer.
    """
    said, asked = answer[:LOOKED_AT_CHARS], question[:LOOKED_AT_CHARS]
    known = words_of(asked)
    if len(known) < WORDS_MIN:
        return None
    if plain(said) == plain(asked):
        return True
    words = words_of(said)
    runs = _runs(words)
    if not runs or len(words) < _LENGTH_RATIO * len(known):
        return False
    before = set(_runs(known))
    return sum(run in before for run in runs) >= _FOUND_RATIO * len(runs)


def _runs(words: list[str]) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + _RUN]) for start in range(len(words) - _RUN + 1)]
