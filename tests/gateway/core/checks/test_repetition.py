from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.checks.repetition import LOOP_WORDS_MIN, REPEATS_MIN, loops

PROSE = (
    "The quarterly figures arrived this morning and they look better than anyone had hoped for in March. Sales in the "
    "north grew by a tenth, mostly because two large customers moved their orders forward. The south stayed flat. "
    "Costs fell again, since the new warehouse needs fewer people at night. We should talk about the budget for spring "
    "before the board meets, and decide whether the second line is built this year or next. Anna has the details. "
    "Please send questions to her until Thursday, so that answers can go into the slides."
)


def test_prose_is_no_loop() -> None:
    assert not loops(PROSE)
    assert not loops("")


@pytest.mark.parametrize(
    "text",
    [
        PROSE + " The end of it." * 20,
        "ha " * LOOP_WORDS_MIN,
        "ha" * 100,
        "我明白你的意思" * 30,
        " ".join(f"{number}. Buy some milk and bread today." for number in range(20)),
        " ".join(
            f"Dear {name}, thank you very much for your kind letter of last week, we will answer soon."
            for name in "abcdefghij"
        ),
    ],
    ids=["prose then loop", "one word", "no spaces", "chinese", "numbered", "a name differs"],
)
def test_loops(text: str) -> None:
    assert loops(text)


@pytest.mark.parametrize(
    "text",
    ["no no no no", "0.0 1.5 2.25 " * 100, "| a | b |\n|---|---|\n| 1 | 2 |", "the and of to " * (REPEATS_MIN + 1)],
)
def test_short_repetitions_and_figures_are_no_loop(text: str) -> None:
    assert not loops(text)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=12, unique=False), st.integers(1, 40))
def test_a_phrase_at_the_end_is_found_whatever_it_is(phrase: list[str], rounds: int) -> None:
    text = " ".join(phrase * rounds)
    if rounds >= REPEATS_MIN and len(phrase) * rounds >= LOOP_WORDS_MIN:
        assert loops(text)


def test_random_words_are_no_loop() -> None:
    chance = random.Random(3)
    assert not loops(" ".join(f"w{chance.randrange(2000)}" for _ in range(3000)))


@pytest.mark.parametrize(
    "text", ["a" * 524_288, "ab " * 170_000, "\n" * 524_288, "a b a b a c " * 40_000], ids=["a", "ab", "nl", "abac"]
)
def test_the_largest_answers_have_a_verdict(text: str) -> None:
    assert loops(text) == bool(text.strip())
