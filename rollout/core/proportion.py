"""What a count of hits says of the proportion behind it."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

CONFIDENCE = 0.95


class Bounds(NamedTuple):
    """Of an interval."""

    lower: float
    upper: float


def wilson(hits: int, count: int, confidence: float = CONFIDENCE) -> Bounds:
    """Wilson's score interval of `hits` among `count` (at least one); its ends are exact where all or none hit.

    Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22:209-212.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, weight = hits / count, z * z / count
    centre = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / count + weight / (4 * count))
    return Bounds(centre - half if hits else 0.0, centre + half if hits < count else 1.0)
