"""Ratings of several models from side-by-side votes: Bradley-Terry, with errors that hold when voters vote often.

P(i beats j) = s(t_i - t_j) with s(x) = 1 / (1 + exp(-x)); a tie is half a win for each. The strengths t maximise the
likelihood, the reference's being 0. Votes of one person are not independent, so the variance is the sandwich

    V = H^-1 B H^-1 * G / (G - 1),   H = sum p (1 - p) (e_i - e_j)(e_i - e_j)',   B = sum over voters s_v s_v',
    s_v = sum over the votes of v of (win - p) (e_i - e_j),   G voters,   t quantiles with G - 1 degrees of freedom

(Liang and Zeger 1986, Longitudinal data analysis using generalized linear models, for the clusters; Cattelan 2012,
Models for paired comparison data, section 4, for comparisons; Chiang et al. 2024, Chatbot Arena, use its form without
clusters). Voters who all agree make B small although there is little to go by, so an interval is never narrower than
that of independent votes (H^-1). Each two models that were compared get `prior` games that ended in a tie: without
them a model that never lost would be infinitely strong.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    _Array: TypeAlias = NDArray[np.float64]

PRIOR = 1.0
"""Virtual ties for each two models that were compared."""
_STEPS_MAX = 200
_STEP_MAX = 1.0
_NEAR = 1e-10
# Student's t at 97.5 % for 1 to 30 degrees of freedom; beyond, its expansion is good to 0.001.
_T = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip


class Comparison(NamedTuple):
    """One vote. `win`: of the first over the second: 1, 0.5 or 0."""

    voter: str
    first: str
    second: str
    win: float


class Rating(NamedTuple):
    """One model against the reference: strength (log odds) and chance to be preferred, with 95 % intervals.

    None where it was never compared with the reference, directly or through others; the bounds also while there is only
    one voter. `votes` it took part in.
    """

    name: str
    votes: int
    strength: float | None = None
    lower: float | None = None
    upper: float | None = None
    win: float | None = None
    win_lower: float | None = None
    win_upper: float | None = None


class Ratings(NamedTuple):
    """All that took part, the best first, those without a strength last."""

    reference: str
    voters: int
    votes: int
    ratings: tuple[Rating, ...]


def rate(comparisons: Iterable[Comparison], reference: str, *, prior: float = PRIOR) -> Ratings:
    """Rate all models. The same votes in any order give the same bits.

    `prior` of 0 is for votes in which nobody has only won or only lost.
    """
    games = _games(comparisons)
    votes = _votes(games)
    names = _comparable(games, reference)
    strengths, variances = _fit(games, names, prior)
    voters = {voter for voter, *_ in games}
    near = t_quantile(len(voters) - 1) if len(voters) > 1 else None
    rated = [
        _rating(name, votes.get(name, 0), float(strength), None if near is None else near * sqrt(float(variance)))
        for name, strength, variance in zip(names, strengths, variances, strict=True)
        if name in votes
    ]
    rated.sort(key=lambda each: (-(each.strength or 0.0), each.name))
    apart = [Rating(name, votes[name]) for name in sorted(votes) if name not in names]
    return Ratings(reference, len(voters), sum(votes.values()) // 2, (*rated, *apart))


def t_quantile(freedom: int) -> float:
    """Student's t at 97.5 %, for a two-sided 95 % interval."""
    return _T[freedom - 1] if freedom <= len(_T) else 1.95996 + 2.46 / freedom


_Games: TypeAlias = "Mapping[tuple[str, str, str], tuple[int, float]]"
"""(voter, one model, the other by name) -> votes, wins of the one."""


def _games(comparisons: Iterable[Comparison]) -> _Games:
    found: dict[tuple[str, str, str], tuple[int, float]] = {}
    for voter, first, second, win in comparisons:
        if first == second:
            continue
        one, other, won = (first, second, win) if first < second else (second, first, 1.0 - win)
        count, wins = found.get((voter, one, other), (0, 0.0))
        found[voter, one, other] = (count + 1, wins + won)
    return {key: found[key] for key in sorted(found)}


def _votes(games: _Games) -> dict[str, int]:
    votes: dict[str, int] = {}
    for (_, *models), (count, _) in games.items():
        for name in models:
            votes[name] = votes.get(name, 0) + count
    return votes


def _comparable(games: _Games, reference: str) -> tuple[str, ...]:
    """The reference first, then all that can be compared with it, by name."""
    pairs = {(one, other) for _, one, other in games}
    reached, before = {reference}, 0
    while len(reached) > before:
        before = len(reached)
        reached |= {name for pair in pairs if not reached.isdisjoint(pair) for name in pair}
    return (reference, *sorted(reached - {reference}))


def _fit(games: _Games, names: Sequence[str], prior: float) -> tuple[_Array, _Array]:
    """Strengths, and variances of their differences to the first one."""
    place = {name: number for number, name in enumerate(names)}
    own = [(voter, place[one], place[other], *of) for (voter, one, other), of in games.items() if one in place]
    wins = np.zeros((len(names), len(names)))
    for _, one, other, count, won in own:
        wins[one, other] += won
        wins[other, one] += count - won
    played = wins + wins.T
    wins += prior / 2 * (played > 0)
    played += prior * (played > 0)
    strengths = _solve(wins, played)
    inverse = _inverse(_curvature(played, _chances(strengths)))
    spread = inverse @ _between_voters(own, _chances(strengths)) @ inverse
    return strengths, np.maximum(np.diag(inverse), np.diag(spread))


def _solve(wins: _Array, played: _Array) -> _Array:
    """Newton's method on a concave likelihood, in steps that can't run away."""
    strengths = np.zeros(len(wins))
    for _ in range(_STEPS_MAX):
        chances = _chances(strengths)
        slope = (wins - played * chances).sum(axis=1)
        step = _inverse(_curvature(played, chances)) @ slope
        strengths += np.clip(step, -_STEP_MAX, _STEP_MAX)
        if np.abs(step).max() < _NEAR:
            break
    return strengths


def _chances(strengths: _Array) -> _Array:
    """Of each model against each other one."""
    chances: _Array = 1.0 / (1.0 + np.exp(np.clip(strengths[None, :] - strengths[:, None], -500, 500)))
    return chances


def _curvature(played: _Array, chances: _Array) -> _Array:
    """H for all strengths."""
    weights = played * chances * (1.0 - chances)
    return np.diag(weights.sum(axis=1)) - weights


def _inverse(curvature: _Array) -> _Array:
    """Of H without the reference, whose row and column are zero: its strength is known."""
    inverse = np.zeros_like(curvature)
    if len(curvature) > 1:
        inverse[1:, 1:] = np.linalg.inv(curvature[1:, 1:])
    return inverse


def _between_voters(own: Sequence[tuple[str, int, int, int, float]], chances: _Array) -> _Array:
    """B G / (G - 1); zeros for one voter, of whose spread nothing is known."""
    scores: dict[str, _Array] = {}
    for voter, one, other, count, won in own:
        score = scores.setdefault(voter, np.zeros(len(chances)))
        excess = won - count * chances[one, other]
        score[one] += excess
        score[other] -= excess
    rows: _Array = np.array(list(scores.values())).reshape(len(scores), len(chances))
    between: _Array = rows.T @ rows * (len(rows) / (len(rows) - 1) if len(rows) > 1 else 0.0)
    return between


def _rating(name: str, votes: int, strength: float, half: float | None) -> Rating:
    win = _chance(strength)
    if half is None:
        return Rating(name, votes, strength, None, None, win)
    lower, upper = strength - half, strength + half
    return Rating(name, votes, strength, lower, upper, win, _chance(lower), _chance(upper))


def _chance(strength: float) -> float:
    return 1.0 / (1.0 + exp(min(-strength, 700.0)))
