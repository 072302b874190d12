"""The engine's harm values at every single unit. The core keeps sums and is asked when somebody looks; here all look.

Equal to the core's values at the end of each batch (a test compares them), but for the order of floating-point sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rollout.core.evidence.counts import LOG_RATIOS
from rollout.core.evidence.eprocess import LAMBDAS
from rollout.core.evidence.fixed_point import STEPS_PER_ONE, log_growth
from rollout.core.evidence.restart import weight_up_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_BETS = np.array(LAMBDAS)[:, np.newaxis]
_LOG_RATIOS = np.array(LOG_RATIOS)
_BUCKETS = 100_000


class RestartPath:
    """The restart mixture, unit by unit. Starts in epoch 0."""

    def __init__(self, bets: int) -> None:
        self._epoch = 0
        self._begun = np.full(bets, weight_up_to(0))

    def begin_epoch(self) -> None:
        """Start the next copy."""
        self._begun += weight_up_to(self._epoch + 1) - weight_up_to(self._epoch)
        self._epoch += 1

    def values(self, log_growths: Reals) -> Reals:
        """The e-value after each of n units, from their log growths [bets, n]."""
        with np.errstate(over="ignore"):  # infinite is past any limit
            paths = self._begun[:, np.newaxis] * np.exp(log_growths.cumsum(axis=1))
        if paths.shape[1]:
            self._begun = paths[:, -1]
        values: Reals = paths.mean(axis=0) + 1.0 - weight_up_to(self._epoch)
        return values


def bet_growths(x: Reals) -> Reals:
    """Log growths [bets, n] of the score's e-process."""
    return log_growth(_BETS * x) / STEPS_PER_ONE


def error_growths(share_millipct: int, candidate: Flags, failed: Flags, ratio_margin: float) -> Reals:
    """Log growths [alternatives, n] of the count test: zero at units without an error."""
    share, null = share_millipct / _BUCKETS, np.log(ratio_margin)
    alternatives = null + _LOG_RATIOS
    grown = np.log1p(share * np.expm1(alternatives)) - np.log1p(share * np.expm1(null))
    growths = candidate * (alternatives - null)[:, np.newaxis] - grown[:, np.newaxis]
    return np.where(failed, growths, 0.0)
