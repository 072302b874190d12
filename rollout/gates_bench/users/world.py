"""Users who keep their arm: worlds in which many requests are one user's, and the answers to one user are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from rollout.core.model import BUCKETS
from rollout.gates_bench.scenarios import Truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]
    Integers = NDArray[np.int64]

USERS = 3_000
GOOD = 0.9
"""Part of the baseline's answers that have the form asked for."""
MARGIN = 0.05
_DIGESTS = 2**62
_EXPONENTS = {"equal": 0.0, "mildly skewed": 0.5, "Zipf": 1.0}
"""Of Zipf's law: the busiest user has 0.03, 0.9 or 12 % of the traffic."""
_WORSE = {Truth.FINE: 0.0, Truth.AT_THE_MARGIN: MARGIN, Truth.HARM: 0.2}


class UsersScenario(msgspec.Struct, frozen=True, kw_only=True):
    """`traffic`: how unevenly users ask; `icc`: part of the variance of their luck that is the user's."""

    traffic: str
    icc: float
    truth: Truth

    @property
    def name(self) -> str:
        """One line."""
        return f"{self.traffic} traffic, ICC {self.icc:g}, {self.truth}"

    @property
    def worse(self) -> float:
        """How many more of the candidate's answers are bad, as a part of all: of each user's as of the whole."""
        return _WORSE[self.truth]


SCENARIOS = tuple(
    UsersScenario(traffic=traffic, icc=icc, truth=truth)
    for traffic in _EXPONENTS
    for icc in (0.0, 0.1, 0.3)
    for truth in _WORSE
)


class Requests(NamedTuple):
    """Consecutive requests: the digest of the user of each, that user's arm, and whether the answer was good."""

    digest: Integers
    candidate: Flags
    good: Flags

    def at(self, positions: Integers) -> Requests:
        """Those at `positions`."""
        return Requests(self.digest[positions], self.candidate[positions], self.good[positions])


class UsersWorld:
    """One run of a scenario: every draw comes from its seed. Whoever has the candidate keeps it as the share grows."""

    def __init__(self, scenario: UsersScenario, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._worse = scenario.worse
        weights = np.arange(1, USERS + 1) ** -_EXPONENTS[scenario.traffic]
        self._until = np.cumsum(weights) / weights.sum()
        self._bucket = self._random.integers(0, BUCKETS, USERS)
        self._digest = self._random.integers(1, _DIGESTS, USERS)
        self._taste = self._tastes(scenario.icc)

    def requests(self, count: int, share_millipct: int) -> Requests:
        """The next `count`."""
        user = np.minimum(np.searchsorted(self._until, self._random.random(count)), USERS - 1)
        candidate = self._bucket[user] < share_millipct
        chance = (1.0 - self._worse) * self._taste[user] + self._worse * ~candidate
        return Requests(self._digest[user], candidate, self._random.random(count) < chance)

    def _tastes(self, icc: float) -> NDArray[np.float64]:
        """Such that `GOOD` of the baseline's answers are good, and of the candidate's `worse` fewer, to every user."""
        mean = (GOOD - self._worse) / (1.0 - self._worse)
        if not icc:
            return np.full(USERS, mean)
        size = 1.0 / icc - 1.0
        return self._random.beta(mean * size, (1.0 - mean) * size, USERS)
