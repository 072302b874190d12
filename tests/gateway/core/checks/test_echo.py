from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.checks.echo import WORDS_MIN, echoes

QUESTION = "Rewrite politely: send me the numbers of the third quarter by two o'clock, Anna"


@pytest.mark.parametrize(
    "answer",
    [
        QUESTION,
        QUESTION.upper() + "\n",
        "Send me the numbers of the third quarter by two o'clock, Anna",
        "rewrite politely - send me the numbers of the third quarter by two o'clock Anna!",
    ],
)
def test_echoes(answer: str) -> None:
    assert echoes(answer, QUESTION) is True


@pytest.mark.parametrize(
    "answer",
    [
        "Could you please send me the numbers of the third quarter by two, Anna?",
        "Yes.",
        "The numbers of the third quarter",
        f'You asked: "{QUESTION}". ' + "Here is what I would write instead, with more warmth and fewer commands. " * 4,
    ],
)
def test_answers(answer: str) -> None:
    assert echoes(answer, QUESTION) is False


def test_a_short_question_says_nothing() -> None:
    assert echoes("Tea or coffee?", "Tea or coffee?") is None


@given(st.text())
def test_what_is_said_again_is_an_echo(text: str) -> None:
    long = text + " one two three four five six"
    assert echoes(long, long) is True
    assert len(long.split()) >= WORDS_MIN
