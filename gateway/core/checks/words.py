"""Text as the checks compare it. All take time linear in what they look at, and look at no more than they are told."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")
_STRAIGHT = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u00b4": "'", "\u00a0": " "})


def plain(text: str) -> str:
    """In small letters, with straight apostrophes and single spaces."""
    return " ".join(text.translate(_STRAIGHT).casefold().split())


def words_of(text: str) -> list[str]:
    """The words in small letters, punctuation left out. In scripts without spaces: what stands between two marks."""
    return _WORD.findall(text.casefold())
