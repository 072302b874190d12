"""Shares and chance: exact bounds to judge by, a quick interval to show."""

import math
from itertools import accumulate
from statistics import NormalDist


def acceptance(trials: int, probability: float, alpha: float) -> tuple[int, int]:
    """Return the counts (lowest, highest) that `probability` explains: each tail beyond has at most alpha / 2.

    Exact, from the binomial's own terms; a sure event leaves one count only.
    """
    if probability in (0.0, 1.0) or not trials:
        certain = round(trials * probability)
        return certain, certain
    terms = [_term(trials, count, probability) for count in range(trials + 1)]
    return _tail_end(terms, alpha / 2), trials - _tail_end(terms[::-1], alpha / 2)


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float] | None:
    """Return Wilson's score interval of a share; None without trials."""
    if not trials:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / trials + weight / (4 * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def _term(trials: int, count: int, probability: float) -> float:
    ways = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
    return math.exp(ways + count * math.log(probability) + (trials - count) * math.log1p(-probability))


def _tail_end(terms: list[float], mass: float) -> int:
    """Return how many leading terms together stay within `mass`."""
    return sum(total <= mass for total in accumulate(terms))
