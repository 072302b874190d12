"""Newcombe's interval against the values of his paper and of a textbook, and by how often it covers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.evaluation.paired import (
    Pairs,
    Verdict,
    count_pairs,
    judge,
    newcombe,
    prompts_to_decide,
)
from rollout.core.proportion import Bounds

CELLS = st.integers(0, 300)


@pytest.mark.parametrize(
    ("pairs", "lower", "upper"),
    [
        (Pairs(36, 12, 2, 0), 0.0569, 0.3404),
        (Pairs(18, 12, 2, 18), 0.0562, 0.3290),
        (Pairs(53, 0, 0, 1), -0.0729, 0.0729),
        # Fagerland, Lydersen and Laake 2014: airway hyper-responsiveness before and after transplantation
        (Pairs(1, 1, 7, 12), -0.507, -0.026),
    ],
)
def test_published_intervals(pairs: Pairs, lower: float, upper: float) -> None:
    bounds = newcombe(pairs)
    assert bounds is not None
    assert bounds.lower == pytest.approx(lower, abs=6e-4)
    assert bounds.upper == pytest.approx(upper, abs=6e-4)


def test_pairs_are_counted() -> None:
    pairs = count_pairs([(True, True), (True, False), (True, False), (False, True), (False, False)])
    assert pairs == Pairs(1, 2, 1, 1)
    assert pairs.difference == pytest.approx(0.2)


def test_nothing_is_known_of_nothing() -> None:
    assert Pairs().difference is None
    assert newcombe(Pairs()) is None
    assert prompts_to_decide(Pairs(), 0.1) is None
    assert judge(None, 0.1) is Verdict.UNDECIDED


@given(CELLS, CELLS, CELLS, CELLS)
def test_the_interval_holds_the_difference_and_mirrors(both: int, one: int, other: int, neither: int) -> None:
    bounds, mirrored = newcombe(Pairs(both, one, other, neither)), newcombe(Pairs(both, other, one, neither))
    if bounds is None or mirrored is None:
        assert both + one + other + neither == 0
        return
    assert bounds.lower - 1e-9 <= (one - other) / (both + one + other + neither) <= bounds.upper + 1e-9
    assert bounds.lower == pytest.approx(-mirrored.upper, abs=1e-9)
    assert bounds.lower >= -1 - 1e-9
    assert bounds.upper <= 1 + 1e-9


def test_it_covers_what_it_claims() -> None:
    chance = random.Random(5)
    runs, missed = 2000, 0
    for _ in range(runs):
        draws = [chance.random() for _ in range(80)]
        # right together 85 %, candidate alone 3 %, baseline alone 8 %
        pairs = count_pairs([(u < 0.88, u < 0.85 or 0.88 <= u < 0.96) for u in draws])
        bounds = newcombe(pairs)
        assert bounds is not None
        missed += not bounds.lower <= -0.05 <= bounds.upper
    assert missed / runs < 0.07


@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        (Bounds(-0.04, 0.02), Verdict.PASSED),
        (Bounds(-0.05, 0.02), Verdict.PASSED),
        (Bounds(-0.06, -0.05), Verdict.UNDECIDED),
        (Bounds(-0.2, -0.06), Verdict.FAILED),
    ],
)
def test_verdicts(bounds: Bounds, verdict: Verdict) -> None:
    assert judge(bounds, 0.05) is verdict


def test_more_prompts_decide_what_some_did_not() -> None:
    few = Pairs(80, 3, 5, 12)
    assert judge(newcombe(few), 0.05) is Verdict.UNDECIDED
    needed = prompts_to_decide(few, 0.05)
    assert needed is not None
    factor = 2 * needed // few.total
    many = Pairs(*(factor * each for each in few))
    assert judge(newcombe(many), 0.05) is Verdict.PASSED
    assert prompts_to_decide(Pairs(95, 0, 5, 0), 0.05) is None
