"""What is fixed before any run: pace, stages with their margins, metrics with their weights and ages, levels.

Levels, the length of an epoch and the ages are the product's own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

from rollout.core.evidence import pairs, plans
from rollout.core.evidence.rollback import ALPHA, HARM_WARNS, attempt_alpha
from rollout.core.ramp_model import Evidence

REQUESTS_PER_S = 20.0
BATCH_UNITS = 2_400
LOOK_UNITS = 800
"""How often rivals look: each 40 s."""
STAGE_UNITS_MIN = 12_000
STAGE_UNITS_MAX = (300_000, 151_200, 151_200, 151_200)
"""A ramp that has not proven what it must by then is held. Whole batches."""
YARDSTICK_BATCHES = 2
YARDSTICK_COUNT_MIN = 200
PAIRED = 0.05
"""Part of the traffic that both models answer, and a judge compares."""
AGE_S, FEEDBACK_AGE_S = Evidence().age_s, Evidence().feedback_age_s
AGE_UNITS = round(AGE_S * REQUESTS_PER_S)
FEEDBACK_BATCHES = round((FEEDBACK_AGE_S - AGE_S) * REQUESTS_PER_S / BATCH_UNITS)
"""How much later than everything else ratings enter."""


class Engine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of the engine can be tried in another way. `weights` (see levels) are relative, 1 if left out."""

    alpha: float = attempt_alpha(ALPHA, 1)
    warn: float = HARM_WARNS
    epoch_batches: int = round(plans.EPOCH_S * REQUESTS_PER_S / BATCH_UNITS)
    judge_epoch_batches: int = round(pairs.EPOCH_S * REQUESTS_PER_S / BATCH_UNITS)
    weights: dict[str, float] = msgspec.field(default_factory=lambda: {"errors": 4.0, "judge": 2.0})

    @property
    def judge_alpha(self) -> float:
        """Of a proof by the first version of a judge: there may be others in the same attempt."""
        return attempt_alpha(self.alpha, 1)

    def weight(self, metric: str) -> float:
        """Its part of the average of all."""
        return self.weights.get(metric, 1.0) / sum(self.weights.get(name, 1.0) for name in METRICS)


class Stage(NamedTuple):
    """A step of the ramp, and the margins at which it may be left; `judge` in points of quality."""

    share_millipct: int
    judge: float
    error: float
    form: float
    latency: float


STAGES = (
    Stage(1_000, 0.08, 0.02, 0.02, 0.30),
    Stage(5_000, 0.05, 0.01, 0.01, 0.20),
    Stage(25_000, 0.04, 0.007, 0.007, 0.15),
    Stage(50_000, 0.03, 0.005, 0.005, 0.10),
)


class Quantile(NamedTuple):
    """A latency quantile that is compared; `required` for a promotion."""

    name: str
    column: str
    quantile: float
    required: bool


LATENCIES = (
    Quantile("ttft_p50", "ttft_s", 0.5, required=False),
    Quantile("ttft_p95", "ttft_s", 0.95, required=True),
    Quantile("itl_p95", "itl_s", 0.95, required=False),
    Quantile("total_p95", "total_s", 0.95, required=True),
)
METRICS = ("errors", "form", *(each.name for each in LATENCIES), "thumbs", "judge")
"""All are watched for harm."""
REQUIRED = ("errors", "form", "ttft_p95", "total_p95", "judge")
"""And these have to be proven for a promotion."""
AGES_S = dict.fromkeys(METRICS, AGE_S) | {"thumbs": FEEDBACK_AGE_S, "judge": 2 * AGE_S}
ERROR_HARM, LATENCY_HARM, JUDGE_HARM, FORM_HARM, THUMBS_HARM = 0.003, 0.10, 0.03, 0.005, 0.002

PAIR_SPREAD, TIE = 0.295, 0.1137
"""Standard deviation of the difference of two answers' quality, and up to where a judge sees none: 30 % ties."""


def wins_lost(points: float) -> float:
    """How far below one half the win rate is of a candidate whose quality is lower by `points`."""
    return (normal((points - TIE) / PAIR_SPREAD) - normal((-points - TIE) / PAIR_SPREAD)) / 2


def normal(z: float) -> float:
    """The distribution function of the standard normal distribution."""
    return (1.0 + math.erf(z / math.sqrt(2.0))) / 2
