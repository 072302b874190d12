"""What the simulated partner says: the reference, a plausible corruption of it, or a generic simulated answer."""

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from loadtests.errors import InvalidFileError
from loadtests.prompts import Prompt
from loadtests.simulator.draws import ACCURACY, CORRUPTION, key_of, uniform, word
from loadtests.simulator.tools import ToolCall

# Roughly a token: leading white space and up to six characters, or trailing white space alone.
_PIECE: Final = re.compile(r"\s*\S{1,6}|\s+\Z")
_DIGIT: Final = re.compile(r"\d")
# Not at the start of a sentence, where a capital says nothing about the word.
_NAME: Final = re.compile(r"(?<=[^.!?:\n] )[A-Z][a-z]{2,}\b")
_GENERIC: Final = "This is a simulated answer: no model was asked. "


class Finish(StrEnum):
    """Why an answer ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"
    CONTENT_FILTER = "content_filter"
    TOOL_CALLS = "tool_calls"


class Answer(NamedTuple):
    """One answer as the pieces that are streamed, or the tools it calls instead, and why it ended there."""

    pieces: tuple[str, ...]
    finish: Finish
    calls: tuple[ToolCall, ...] = ()

    @property
    def text(self) -> str:
        """Return the whole answer."""
        return "".join(self.pieces)

    @property
    def tokens(self) -> int:
        """Return how many tokens the caller is charged for."""
        return len(self.pieces) + sum(len(tokenise(call.arguments)) for call in self.calls)


class References(NamedTuple):
    """Known prompts by their question, and the pool of names from which wrong ones are taken."""

    answers: dict[str, str]
    names: tuple[str, ...]


NO_REFERENCES: Final = References({}, ())


def compile_references(prompts: Iterable[Prompt]) -> References:
    """Index prompts that have a reference; raises InvalidFileError when one question has two references."""
    answers: dict[str, str] = {}
    for prompt in prompts:
        if prompt.reference is None:
            continue
        if answers.setdefault(prompt.question, prompt.reference) != prompt.reference:
            raise InvalidFileError(
                f"two references for the prompt {prompt.question[:60]!r}", "keep one line for each prompt"
            )
    names = {name for reference in answers.values() for name in _NAME.findall(reference)}
    return References(answers, tuple(sorted(names)))


@lru_cache(maxsize=4096)
def tokenise(text: str) -> tuple[str, ...]:
    """Split `text` into streamed pieces; joined again they are exactly `text`."""
    return tuple(_PIECE.findall(text))


def answer_to(
    question: str, references: References, *, seed: int, accuracy: float, generic_tokens: int, max_tokens: int | None
) -> Answer:
    """Answer one question; right or wrong is decided by the seed and the question alone, as at temperature 0."""
    reference = references.answers.get(question)
    if reference is None:
        return generic_answer(generic_tokens, max_tokens)
    key = key_of(seed, question)
    wrong = uniform(key, ACCURACY) >= accuracy
    return limited(tokenise(corrupt(reference, references.names, key) if wrong else reference), max_tokens)


def generic_answer(tokens: int, max_tokens: int | None) -> Answer:
    """Return `tokens` pieces of text that says it is simulated."""
    return limited(_generic_pieces(tokens), max_tokens)


@lru_cache(maxsize=64)
def _generic_pieces(tokens: int) -> tuple[str, ...]:
    sentence = tokenise(_GENERIC)[:-1]
    repeated = (*sentence, *(" " + sentence[0], *sentence[1:]) * (tokens // len(sentence)))
    return repeated[:tokens]


def limited(pieces: tuple[str, ...], max_tokens: int | None) -> Answer:
    """Cut an answer at the caller's token limit."""
    if max_tokens is not None and len(pieces) > max_tokens:
        return Answer(pieces[:max_tokens], Finish.LENGTH)
    return Answer(pieces, Finish.STOP)


def corrupt(reference: str, names: tuple[str, ...], key: int) -> str:
    """Return a fluent but wrong version of `reference`: another digit, else another name, else a word missing."""
    draw = word(key, CORRUPTION)
    if digits := list(_DIGIT.finditer(reference)):
        found = digits[draw % len(digits)]
        return _replaced(reference, found, str((int(found[0]) + 1 + (draw >> 32) % 9) % 10))
    if found_names := list(_NAME.finditer(reference)):
        found = found_names[draw % len(found_names)]
        others = [name for name in names if name != found[0]] or ["Someone"]
        return _replaced(reference, found, others[(draw >> 32) % len(others)])
    words = reference.split()
    kept = [text for index, text in enumerate(words) if index != draw % len(words)]
    return " ".join(kept) or "No answer."


def _replaced(text: str, found: re.Match[str], replacement: str) -> str:
    return text[: found.start()] + replacement + text[found.end() :]
