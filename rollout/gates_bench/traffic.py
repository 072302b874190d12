"""The seeded generator: conversations of Zipf users under day waves, heavy-tailed latency, rare feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rollout.gates_bench.scenarios import Scenario

    Reals = NDArray[np.float64]
    Flags = NDArray[np.bool_]

USERS = 5_000
DAY_UNITS = 50_000
BASE_ERROR_RATE = 0.01
FEEDBACK_RATE = 0.02
_QUALITY, _QUALITY_VARIANCE = 0.7, 0.0484
_TTFT_S, _TOKENS, _ITL_S = 0.4, 200.0, 0.02
_SIGMA, _TAIL_SHARE, _TAIL_INDEX = 0.8, 0.01, 2.1
_LOAD_FREE = 0.4
_OUTAGE_UNITS, _OUTAGE_RATE = (30_000, 36_000), 0.3
_DRIFT_UNITS = 20_000
_CHECK_RATE = 0.01


class Batch(NamedTuple):
    """Consecutive conversations, by assigned arm. Latencies are infinite where the own arm failed.

    `harmed`: whether the candidate is worse at all at that unit.
    """

    share_millipct: int
    candidate: Flags
    failed: Flags
    good_form: Flags
    ttft_s: Reals
    itl_s: Reals
    total_s: Reals
    quality: Reals
    thumbs: Reals
    reported: Flags
    harmed: Flags


class World:
    """One run of a scenario: every draw comes from its seed."""

    def __init__(self, scenario: Scenario, seed: int) -> None:
        self._scenario = scenario
        self._random = np.random.default_rng(seed)
        weights = 1.0 / np.arange(1, USERS + 1)
        self._user_cdf = np.cumsum(weights / weights.sum())
        self._taste = self._random.normal(0.0, np.sqrt(scenario.icc * _QUALITY_VARIANCE), USERS)

    def batch(self, size: int, unit: int, stage: int, stage_unit: int, share_millipct: int) -> Batch:
        """The next `size` units, the first of them number `unit` of the ramp and `stage_unit` of its stage."""
        draw, scenario = self._random, self._scenario
        share = share_millipct / 100_000
        candidate = draw.random(size) < share
        level = self._level(size, stage, stage_unit)
        treated = candidate * level
        wave = scenario.wave * np.sin(2 * np.pi * (unit + np.arange(size)) / DAY_UNITS)
        failed = draw.random(size) < self._error_rate(candidate, treated, unit)
        slow = 1.0 + treated * (scenario.slowdown - 1.0 + scenario.coupling * max(0.0, share - _LOAD_FREE))
        ttft_s, itl_s, total_s = self._latencies(size, slow * (1.0 + wave), failed)
        quality = self._quality(size, wave, treated)
        votes = draw.random(size) < FEEDBACK_RATE * (1.7 - quality)
        thumbs = np.where(votes, draw.random(size) < quality, 0.5)
        reported = self._reported(candidate, total_s)
        good_form = draw.random(size) >= _CHECK_RATE
        return Batch(
            share_millipct, candidate, failed, good_form, ttft_s, itl_s, total_s, quality, thumbs, reported, level > 0
        )

    def _level(self, size: int, stage: int, stage_unit: int) -> Reals:
        """How much of the effect is there, 0 to 1, at each unit."""
        scenario = self._scenario
        if stage != scenario.onset_stage:
            return np.full(size, float(stage > scenario.onset_stage))
        since = stage_unit + np.arange(size) - scenario.onset_unit
        return np.clip(since / _DRIFT_UNITS, 0.0, 1.0) if scenario.drift else (since >= 0).astype(float)

    def _error_rate(self, candidate: Flags, treated: Reals, unit: int) -> Reals:
        scenario = self._scenario
        on_route = self._random.random(len(candidate)) < scenario.route_share
        rate: Reals = BASE_ERROR_RATE * (1.0 + treated * on_route * (scenario.error_ratio - 1.0))
        if scenario.outage and _OUTAGE_UNITS[0] <= unit < _OUTAGE_UNITS[1]:
            rate = np.where(candidate, rate, _OUTAGE_RATE)
        return rate

    def _latencies(self, size: int, factor: Reals, failed: Flags) -> tuple[Reals, Reals, Reals]:
        draw = self._random
        ttft_s = _TTFT_S * draw.lognormal(0.0, _SIGMA, size)
        tail = draw.random(size) < _TAIL_SHARE
        ttft_s = np.where(tail, ttft_s * (1.0 + draw.pareto(_TAIL_INDEX, size)) * 3.0, ttft_s) * factor
        itl_s = _ITL_S * draw.lognormal(0.0, 0.3, size) * factor
        total_s = ttft_s + itl_s * _TOKENS * draw.lognormal(0.0, 0.5, size)
        ended = np.where(failed, np.inf, 1.0)
        return ttft_s * ended, itl_s * ended, total_s * ended

    def _quality(self, size: int, wave: Reals, treated: Reals) -> Reals:
        """Scores of a judge: Beta around a mean that is the user's, so the effect on the mean is exact."""
        draw, scenario = self._random, self._scenario
        user = np.searchsorted(self._user_cdf, draw.random(size))
        mean = np.clip(_QUALITY + wave / 4 + self._taste[np.minimum(user, USERS - 1)], 0.3, 0.92)
        mean = mean + treated * scenario.quality
        spread = _QUALITY * (1 - _QUALITY) / (_QUALITY_VARIANCE * (1 - scenario.icc)) - 1.0
        return draw.beta(mean * spread, (1.0 - mean) * spread)

    def _reported(self, candidate: Flags, total_s: Reals) -> Flags:
        scenario = self._scenario
        if not scenario.lost:
            return np.ones(len(candidate), bool)
        if scenario.lost_slow:
            return ~(candidate & (total_s >= np.quantile(total_s, 1.0 - scenario.lost, method="lower")))
        return ~(candidate & (self._random.random(len(candidate)) < scenario.lost))
