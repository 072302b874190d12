"""What an outcome costs the recorder, measured on this machine."""

from __future__ import annotations

import time

import numpy as np

from rollout.core.evidence.ledger import MetricPlan, gathered
from rollout.core.evidence.score import Units

_UNITS, _REPEATS = 1_000, 200


def cost_us() -> float:
    """Microseconds for each outcome of a metric with one margin each of proof and harm, in batches; best of many."""
    random = np.random.default_rng(1)
    plan = MetricPlan((0.03,), (0.03,))
    candidate, outcome = random.random(_UNITS) < 0.25, random.random(_UNITS)  # noqa: PLR2004  any share
    units = Units(np.full(_UNITS, 25_000), candidate, outcome, np.full(_UNITS, 0.5))
    return min(_timed(plan, units) for _ in range(_REPEATS)) / _UNITS * 1e6


def _timed(plan: MetricPlan, units: Units) -> float:
    began_s = time.perf_counter()
    gathered(plan, units)
    return time.perf_counter() - began_s
