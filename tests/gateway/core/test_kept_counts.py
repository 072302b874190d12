from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway.core.keeping import Mark
from gateway.core.kept_counts import Kept, count_kept, why_no_pair, why_no_preference, why_no_rating
from rollout.core.model import Keep, Shadow
from tests.gateway.texts import texts

SHADOW = Shadow(millipct=10_000, daily_budget=500, max_concurrent=2, keep=Keep(pairs=True, answers=True))


def test_pairs_are_told_from_texts_and_from_those_that_are_equal() -> None:
    lines = [
        Mark("0" * 32, 1.0, "judge", "third", 0.5),
        texts(1, ours="same", theirs="same"),
        replace(texts(2), candidate=None),
        replace(texts(3), baseline=None),
        texts(4),
        texts(5),
    ]
    assert count_kept(lines, frozenset({texts(1).id, texts(3).id, texts(4).id})) == Kept(5, 3, 1, 1)
    assert count_kept(iter(())) == Kept()


@pytest.mark.parametrize(
    ("kept", "pair", "preference", "rating"),
    [
        (Kept(), "0 pairs kept", "0 pairs kept", "0 answers kept, none rated"),
        (
            Kept(300, 300, 300),
            "300 pairs kept, 300 of them equal",
            "300 pairs kept, 300 of them equal",
            "300 answers kept, none rated",
        ),
        (
            Kept(40, 30, 10, 20),
            "30 pairs kept, 10 of them equal, you have voted on 20",
            "30 pairs kept, 10 of them equal, neither judge nor voters prefer an answer of the other 20",
            "40 answers kept, none rated",
        ),
    ],
)
def test_why_there_is_nothing(kept: Kept, pair: str, preference: str, rating: str) -> None:
    come = "; more come with new requests, of which 10% are sampled"
    assert why_no_pair(kept, SHADOW, spent=False) == pair + come
    assert why_no_preference(kept, SHADOW, spent=False) == preference + come
    assert why_no_rating(kept, SHADOW, spent=False) == rating + come


@pytest.mark.parametrize(
    ("shadow", "spent", "said"),
    [
        (SHADOW, True, "the daily budget of 500 shadow calls is given out, more from midnight UTC"),
        (Shadow(keep=SHADOW.keep), False, "the flag's shadow sample is 0 %"),
        (Shadow(), True, "the flag keeps no pairs (shadow.keep.pairs)"),
        (replace(SHADOW, keep=Keep(answers=True)), False, "the flag keeps no pairs (shadow.keep.pairs)"),
    ],
)
def test_why_nothing_will_come(shadow: Shadow, spent: bool, said: str) -> None:  # noqa: FBT001  a table
    assert why_no_pair(Kept(), shadow, spent=spent) == f"0 pairs kept; {said}"


def test_answers_are_not_pairs() -> None:
    said = why_no_rating(Kept(1, 1), replace(SHADOW, keep=Keep(pairs=True)), spent=False)
    assert said == "1 answers kept, none rated; the flag keeps no answers (shadow.keep.answers)"
