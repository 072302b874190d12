from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.evaluation.scoring import Scorer, is_right


@pytest.mark.parametrize(
    ("scorer", "answer", "reference", "right"),
    [
        (Scorer.EXACT, " Yes.\n", "Yes.", True),
        (Scorer.EXACT, "yes.", "Yes.", False),
        (Scorer.WORDS, "yes,  indeed!", "Yes indeed", True),
        (Scorer.WORDS, "yes", "no", False),
        (Scorer.CONTAINS, "It is PARIS, I think", "paris", True),
        (Scorer.CONTAINS, "Rome", "paris", False),
        (Scorer.JSON, '{"b": [1.0], "a": 2}', '{"a": 2, "b": [1]}', True),
        (Scorer.JSON, '{"a": 1}', '{"a": 2}', False),
        (Scorer.JSON, "a: 1", '{"a": 1}', False),
        (Scorer.JSON, "[" * 100_000, "[]", False),
        (Scorer.NUMBER, "First 3, then 4: 1,234.50", "1234.5", True),
        (Scorer.NUMBER, "about 7", "-7", False),
        (Scorer.NUMBER, "none", "7", False),
        (Scorer.NUMBER, "version 1.2.3", "1.2.3", False),
    ],
)
def test_scorers(scorer: Scorer, answer: str, reference: str, right: bool) -> None:  # noqa: FBT001  a table
    assert is_right(scorer, answer, reference) is right


@given(st.sampled_from(Scorer), st.text(), st.text())
def test_any_texts_can_be_compared(scorer: Scorer, answer: str, reference: str) -> None:
    assert is_right(scorer, answer, reference) in {True, False}
