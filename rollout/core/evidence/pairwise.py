"""Pairs of answers to one prompt, judged in both orders.

They do not depend on the share, so quality can be settled before the first percent of live traffic.
X = W - (1/2 - margin), W the candidate's win (0, 1/2 or 1: docs/decisions/0016): both arms answer each prompt, so there
is no draw to score by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rollout.core.evidence.score import FALL_MIN, Scores

if TYPE_CHECKING:
    from rollout.core.evidence.fixed_point import Reals

EVEN = 0.5
MARGIN_MAX = 0.5
"""A win rate is not below zero."""


def scores_of(wins: Reals) -> Scores:
    """W - 1/2, each pair with all of its weight: what estimates and intervals are made of."""
    return Scores(wins - EVEN, np.ones_like(wins))


def for_noninferiority(wins: Reals, margin: float) -> Reals:
    """X with E[X | past] <= 0 as long as the candidate's win rate is 1/2 - `margin` (in [-1/2, 1/2]) or less; |X| <= 1.

    `wins`: one in [0, 1] for each unit and version of a judge.
    """
    return wins - (EVEN - margin)


def for_harm(wins: Reals, margin: float) -> Reals:
    """X with E[X | past] <= 0 as long as the win rate is at least 1/2 - `margin`."""
    return -for_noninferiority(wins, margin)


def harm_fall(margin: float) -> float:
    """How far X of `for_harm` can fall at most, and above zero: W <= 1. X over this is never below -1, and as fair."""
    return max(EVEN + margin, FALL_MIN)
