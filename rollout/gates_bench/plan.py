"""What is fixed before any run: stages with their margins, metrics with their weights and ages, levels."""

from __future__ import annotations

from typing import NamedTuple

ALPHA = 0.05
WARN = 10.0
"""No promotion while a harm value of its own is above this."""
BATCH_UNITS = 500
EPOCH_BATCHES = 20
STAGE_UNITS_MIN = 10_000
STAGE_UNITS_MAX = 240_000
YARDSTICK_BATCHES = 10
UNITS_BEFORE = 20_000
"""Units of the baseline that were seen before the ramp."""
YARDSTICK_COUNT_MIN = 200


class Stage(NamedTuple):
    """A step of the ramp, and the margins at which it may be left."""

    share_millipct: int
    judge: float
    error_ratio: float
    error: float
    latency: float


STAGES = (
    Stage(1_000, 0.08, 3.0, 0.02, 0.30),
    Stage(5_000, 0.05, 2.0, 0.01, 0.20),
    Stage(25_000, 0.04, 1.5, 0.007, 0.15),
    Stage(50_000, 0.03, 1.25, 0.005, 0.10),
)


class Named(NamedTuple):
    """A metric in the average: its weight, and its age in batches."""

    name: str
    weight: float
    age: int = 0


class Quantile(NamedTuple):
    """A latency quantile that is compared; `required` for a promotion."""

    metric: Named
    column: str
    quantile: float
    required: bool


ERRORS = Named("errors", 0.3)
FORM = Named("form", 0.05)
JUDGE = Named("judge", 0.15, age=1)
THUMBS = Named("thumbs", 0.1, age=8)
LATENCIES = (
    Quantile(Named("ttft_p50", 0.1), "ttft_s", 0.5, required=False),
    Quantile(Named("ttft_p95", 0.15), "ttft_s", 0.95, required=True),
    Quantile(Named("itl_p95", 0.05), "itl_s", 0.95, required=False),
    Quantile(Named("total_p95", 0.1), "total_s", 0.95, required=True),
)
ERROR_RATIO_HARM, ERROR_HARM = 1.25, 0.003
LATENCY_HARM, JUDGE_HARM, FORM_HARM, THUMBS_HARM = 0.10, 0.03, 0.005, 0.002
