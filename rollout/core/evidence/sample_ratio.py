"""The sequential sample-ratio test: whether the arms get the units that the share promises.

Run on assigned, on started and on reported units, as a whole and for each route: the last finds units that one arm
loses. A mismatch says that the data are not to be trusted: it freezes a ramp and voids the window; it is no harm.
"""

from __future__ import annotations

import math

from rollout.core.evidence.counts import ArmCounts, log_likelihood_ratios
from rollout.core.evidence.eprocess import log_mean_exp

ALPHA = 0.001
LOG_ODDS = (0.01, 0.01619, 0.0262, 0.04242, 0.06867, 0.1112, 0.1799, 0.2913, 0.4715, 0.7632, 1.236, 2.0)
"""Shifts of the log odds that are looked for, in both directions: geometric from 0.01 to 2."""
_BOTH_WAYS = tuple(sign * each for sign in (1, -1) for each in LOG_ODDS)


def log_value(units: ArmCounts) -> float:
    """Log E against "each unit was drawn with the share in force"."""
    return log_mean_exp(log_likelihood_ratios(units, _BOTH_WAYS))


def mismatch(units: ArmCounts) -> bool:
    """Whether the arms' sizes are proven wrong, at one level of 0.001 however often one looks."""
    return log_value(units) >= -math.log(ALPHA)
