"""e-processes by betting: E = mean over lambda of prod(1 + lambda X), for X >= -1 with E[X | past] <= 0.

Under the null, E never reaches 1/alpha with more than probability alpha, however often one looks (Ville). What is kept
are 14 sums of ln(1 + lambda X), in steps of 2**-32 (see fixed_point): adding is merging.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rollout.core.evidence.fixed_point import Reals, log_growth, real

if TYPE_CHECKING:
    from collections.abc import Sequence

LAMBDAS = (
    0.004, 0.00601, 0.00904, 0.01359, 0.02042, 0.0307, 0.04614, 0.06935, 0.10425, 0.1567, 0.23555, 0.35407, 0.53222,
    0.8,
)  # fmt: skip
"""Bets, geometric from 0.004 to 0.8; part of the evidence: a change voids what has been gathered."""

LogSums = tuple[int, ...]
"""One sum of ln(1 + lambda X) for each of LAMBDAS, in steps of 2**-32."""

NOTHING: LogSums = (0,) * len(LAMBDAS)
_BETS = np.array(LAMBDAS)[:, np.newaxis, np.newaxis]
_CHUNK = 1024
_LOG_MAX = 690.0


def log_sums(x: Reals) -> LogSums:
    """What a batch of X adds."""
    return log_sums_of_each(x[np.newaxis])[0]


def log_sums_of_each(x: Reals) -> tuple[LogSums, ...]:
    """What each row of `x` adds: the X of the same units at several margins, at little more than the cost of one."""
    totals = np.zeros((len(LAMBDAS), len(x)), np.int64)
    step = max(1, _CHUNK // max(1, len(x)))  # what fits the cache: 14 rows of 8 KiB
    for start in range(0, x.shape[1], step):
        totals += log_growth(_BETS * x[:, start : start + step]).sum(axis=2)
    return tuple(tuple(row) for row in totals.T.tolist())


def add(first: LogSums, second: LogSums) -> LogSums:
    """The sums of both: of two workers, two epochs, two batches."""
    return tuple(one + other for one, other in zip(first, second, strict=True))


def log_value(sums: LogSums) -> float:
    """Log E of the plain process. Reject its null once this is at least ln(1/alpha)."""
    return log_mean_exp([real(steps) for steps in sums])


def value_of(log_value: float) -> float:
    """The e-value itself, for people and for limits: finite, however clear the case."""
    return math.exp(min(log_value, _LOG_MAX))


def log_mean_exp(logs: Sequence[float]) -> float:
    """Log of the mean of exp(logs), whatever their size and order."""
    largest = max(logs)
    return largest + math.log(math.fsum(math.exp(each - largest) for each in logs) / len(logs))
