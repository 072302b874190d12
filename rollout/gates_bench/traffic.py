"""The seeded generator: conversations of Zipf users under day waves, heavy tails, rare ratings, pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rollout.gates_bench import plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rollout.gates_bench.scenarios import Scenario

    Reals = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Integers = NDArray[np.int64]

USERS = 5_000
DAY_UNITS = 50_000
BASE_ERROR_RATE = 0.01
BASE_BAD_FORM = 0.01
NO_VOTE, DOWN, UP = 2, 0, 1
_FEEDBACK_RATE = 0.016
_QUALITY, _QUALITY_VARIANCE = 0.7, 0.0484
_TTFT_S, _TOKENS, _ITL_S = 0.4, 200.0, 0.02
_SIGMA, _TAIL_SHARE, _TAIL_INDEX, _TAIL = 0.8, 0.01, 2.1, 3.0
_LOAD_FREE = 0.4
_OUTAGE_UNITS, _OUTAGE_RATE = (30_000, 36_000), 0.3
_STORM_UNITS = (0, 7_200)
"""Six minutes from the start: what a test learns of the baseline then is not true later."""
_DRIFT_UNITS = 20_000
_DRAWS = 1 << 16
_USER_OF = np.searchsorted(
    np.cumsum(1.0 / np.arange(1, USERS + 1)) / (1.0 / np.arange(1, USERS + 1)).sum(), (np.arange(_DRAWS) + 0.5) / _DRAWS
)
"""The user of each of so many equal draws."""


class Batch(NamedTuple):
    """Consecutive conversations, by assigned arm. Latencies are infinite where the own arm failed.

    `visible`: failures that the caller saw; `vote`: DOWN, UP or NO_VOTE. `paired`: units that both models answered,
    with the quality of both answers. `harmed`: whether the candidate is worse at all at that unit.
    """

    share_millipct: int
    candidate: Flags
    failed: Flags
    visible: Flags
    good_form: Flags
    ttft_s: Reals
    itl_s: Reals
    total_s: Reals
    vote: Integers
    paired: Integers
    candidate_quality: Reals
    baseline_quality: Reals
    reported: Flags
    harmed: Flags


class World:
    """One run of a scenario: every draw comes from its seed."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._random = np.random.default_rng(seed)
        shape = np.sqrt(scenario.icc), USERS
        self._taste = self._random.normal(0.0, np.sqrt(_QUALITY_VARIANCE) * shape[0], USERS)
        self._slowness = np.exp(self._random.normal(0.0, _SIGMA * shape[0], USERS))
        faults = np.exp(self._random.normal(0.0, shape[0], USERS))
        self._faults = faults / faults[_USER_OF].mean()

    def batch(self, size: int, unit: int, stage: int, stage_unit: int, share_millipct: int) -> Batch:
        """The next `size` units, the first of them number `unit` of the ramp and `stage_unit` of its stage."""
        draw, scenario = self._random, self._scenario
        share = share_millipct / 100_000
        candidate = draw.random(size) < share
        user = self._users(size)
        level = self._level(size, stage, stage_unit)
        treated = candidate * level
        day = np.sin(2 * np.pi * (unit + np.arange(size)) / DAY_UNITS)
        wave = scenario.wave * day
        failed = draw.random(size) < self._error_rate(candidate, treated, unit, day) * self._faults[user]
        slow = 1.0 + treated * (scenario.slowdown - 1.0 + scenario.coupling * max(0.0, share - _LOAD_FREE))
        ttft_s, itl_s, total_s = self._latencies(size, slow * (1.0 + wave), self._slowness[user], failed)
        mean = _QUALITY + wave / 4 + self._taste[user]
        paired = np.flatnonzero(draw.random(size) < plan.PAIRED)
        qualities = mean[paired] + draw.normal(0.0, plan.PAIR_SPREAD / np.sqrt(2.0), (2, len(paired)))
        qualities[0] += level[paired] * scenario.quality
        return Batch(
            share_millipct,
            candidate,
            failed,
            failed & ~candidate if scenario.hidden else failed,
            draw.random(size) >= BASE_BAD_FORM + treated * scenario.bad_form,
            ttft_s,
            itl_s,
            total_s,
            self._votes(candidate, mean + treated * scenario.quality),
            paired,
            qualities[0],
            qualities[1],
            self._reported(candidate, total_s),
            level > 0,
        )

    def _users(self, size: int) -> Integers:
        burst = self._scenario.burst
        user: Integers = _USER_OF[self._random.integers(0, _DRAWS, -(-size // burst))]
        return user if burst == 1 else np.repeat(user, burst)[:size]

    def _level(self, size: int, stage: int, stage_unit: int) -> Reals:
        """How much of the effect is there, 0 to 1, at each unit."""
        scenario = self._scenario
        if stage != scenario.onset_stage:
            return np.full(size, float(stage > scenario.onset_stage and not scenario.lasting_units))
        since = stage_unit + np.arange(size) - scenario.onset_unit
        if scenario.drift:
            return np.clip(since / _DRIFT_UNITS, 0.0, 1.0)
        over = since >= (scenario.lasting_units or np.inf)
        return ((since >= 0) & ~over).astype(float)

    def _error_rate(self, candidate: Flags, treated: Reals, unit: int, day: Reals) -> Reals:
        scenario = self._scenario
        on_route = self._random.random(len(candidate)) < scenario.route_share
        more = treated * on_route * (scenario.error_ratio - 1.0)
        rate: Reals = BASE_ERROR_RATE * (1.0 + scenario.error_wave * day + more) + treated * scenario.more_errors
        if scenario.outage and _OUTAGE_UNITS[0] <= unit < _OUTAGE_UNITS[1]:
            rate = np.where(candidate, rate, _OUTAGE_RATE)
        if scenario.error_storm and _STORM_UNITS[0] <= unit < _STORM_UNITS[1]:
            rate = rate + _OUTAGE_RATE
        return rate

    def _latencies(self, size: int, factor: Reals, slowness: Reals, failed: Flags) -> tuple[Reals, Reals, Reals]:
        """By the user and by chance; one in a hundred has a Pareto tail."""
        draw = self._random
        first, gap, length = draw.standard_normal((3, size))
        own = _SIGMA * np.sqrt(1.0 - self._scenario.icc)
        ttft_s = _TTFT_S * np.exp(own * first) * slowness * factor
        tail = np.flatnonzero(draw.random(size) < _TAIL_SHARE)
        ttft_s[tail] *= _TAIL * (1.0 + draw.pareto(_TAIL_INDEX, len(tail)))
        itl_s = _ITL_S * np.exp(0.3 * gap) * factor
        total_s = ttft_s + itl_s * _TOKENS * np.exp(0.5 * length)
        for each in (ttft_s, itl_s, total_s):
            each[failed] = np.inf
        return ttft_s, itl_s, total_s

    def _votes(self, candidate: Flags, mean: Reals) -> Integers:
        """Few rate; who is unhappy rather does."""
        draw, scenario = self._random, self._scenario
        up = draw.random(len(mean)) < mean
        rate = _FEEDBACK_RATE * np.where(up, 1.0, scenario.unhappy) * (1.0 - scenario.late_votes * candidate)
        return np.where(draw.random(len(mean)) < rate, up, NO_VOTE)

    def _reported(self, candidate: Flags, total_s: Reals) -> Flags:
        scenario = self._scenario
        if not scenario.lost:
            return np.ones(len(candidate), bool)
        if scenario.lost_slow:
            return ~(candidate & (total_s >= np.quantile(total_s, 1.0 - scenario.lost, method="lower")))
        return ~(candidate & (self._random.random(len(candidate)) < scenario.lost))
