"""Pairs of answers to one prompt, judged in both orders.

They do not depend on the share, so quality can be settled before the first percent of live traffic.
X = W - (1/2 - margin), W the candidate's win: both arms answer each prompt, so there is no draw to score by.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rollout.core.evidence.fixed_point import Reals

EVEN = 0.5


class Verdict(StrEnum):
    """What a judge says of two answers."""

    CANDIDATE = "candidate"
    BASELINE = "baseline"
    TIE = "tie"


_WINS = {Verdict.CANDIDATE: 1.0, Verdict.TIE: EVEN, Verdict.BASELINE: 0.0}


def win(candidate_first: Verdict, baseline_first: Verdict) -> float:
    """The candidate's win in [0, 1] from the judge's verdicts in both orders: a verdict that turns with it is a tie."""
    return (_WINS[candidate_first] + _WINS[baseline_first]) / 2


def for_noninferiority(wins: Reals, margin: float) -> Reals:
    """X with E[X | past] <= 0 as long as the candidate's win rate is 1/2 - `margin` (in [0, 1/2]) or less; |X| <= 1.

    `wins`: one in [0, 1] for each conversation; several prompts of one are averaged first.
    """
    return wins - (EVEN - margin)


def for_harm(wins: Reals, margin: float) -> Reals:
    """X with E[X | past] <= 0 as long as the win rate is at least 1/2 - `margin`."""
    return -for_noninferiority(wins, margin)
