"""Whether an answer has fallen into a loop: one phrase over and over, to the end or in most of the text.

Two signs, both linear in at most `WORDS_MAX` words:
- the text ends in a short phrase that came `REPEATS_MIN` times or more without a break. The smallest period of every
  ending comes out of one pass of the prefix function (Knuth, Morris and Pratt 1977) over the words in reverse;
- more than half of its runs of `GRAM` words have been there before, as when each round differs in a number or a name
  (Rae et al. 2021, "Gopher", filter training text that way).
Numbers don't count as words, so that a numbered list in circles is a loop and a table of figures is none.
"""

from __future__ import annotations

from gateway.core.checks.words import words_of

TAIL_CHARS = 65_536
WORDS_MAX = 4_096
LOOP_WORDS_MIN = 24
REPEATS_MIN = 4
GRAM = 6
GRAMS_MIN = 60
DUPLICATE_RATIO = 0.5
_WORD_CHARS_MAX = 24


def loops(text: str) -> bool:
    """Whether the last of the text (`TAIL_CHARS`) is a loop."""
    words = _units(text[-TAIL_CHARS:])
    return _ends_in_loop(words) or _says_it_again(words)


def _units(text: str) -> list[str]:
    """The last words, numbers left out. What is too long for a word (a script without spaces) counts by the letter."""
    units: list[str] = []
    for word in words_of(text):
        if len(word) > _WORD_CHARS_MAX:
            units += word
        elif not word.isdigit():
            units.append(word)
    return units[-WORDS_MAX:]


def _ends_in_loop(words: list[str]) -> bool:
    """Whether some ending of at least `LOOP_WORDS_MIN` words is one phrase `REPEATS_MIN` times."""
    backwards = words[::-1]
    borders = [0] * len(backwards)
    matched = 0
    for end in range(1, len(backwards)):
        while matched and backwards[end] != backwards[matched]:
            matched = borders[matched - 1]
        matched += backwards[end] == backwards[matched]
        borders[end] = matched
        length = end + 1
        if length >= LOOP_WORDS_MIN and length >= REPEATS_MIN * (length - matched):
            return True
    return False


def _says_it_again(words: list[str]) -> bool:
    grams = len(words) - GRAM + 1
    if grams < GRAMS_MIN:
        return False
    distinct = len({tuple(words[start : start + GRAM]) for start in range(grams)})
    return 1 - distinct / grams > DUPLICATE_RATIO
