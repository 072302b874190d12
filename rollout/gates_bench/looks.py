"""E-values at every single unit. The core keeps sums and is asked when somebody looks; here one looks at every unit.

What a unit can do to a value is known by its kind, so most batches need no walk: `bound` is never below any value in a
batch, and while the bounds decide nothing, no unit does. Equal to the core's values at the end of each batch (a test
compares them), but for the order of floating-point sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rollout.core.evidence.restart import weight_up_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Reals = NDArray[np.float64]


class Harm:
    """Restart mixtures of `series` e-processes with `bets` bets each. Starts in epoch 0."""

    def __init__(self, series: int, bets: int) -> None:
        self._epoch = 0
        self._begun = np.full((series, bets), weight_up_to(0))

    def begin_epoch(self) -> None:
        """Start the next copies."""
        self._begun += weight_up_to(self._epoch + 1) - weight_up_to(self._epoch)
        self._epoch += 1

    def advance(self, log_growths: Reals) -> None:
        """A batch is over: its log growths [series, bets]."""
        self._begun = self._grown(log_growths)

    def bound(self, rises: Reals) -> Reals:
        """At least the largest value [series] in a batch in which logs rise by `rises` [series, bets] and fall."""
        return self._valued(self._grown(rises))

    def value(self) -> Reals:
        """The e-values [series]."""
        return self._valued(self._begun)

    def walk(self, series: int, log_growths: Reals) -> Reals:
        """E-values of one series before and after each of n units, n + 1 of them, from their log growths [bets, n]."""
        with np.errstate(over="ignore"):
            paths = self._begun[series][:, np.newaxis] * np.exp(log_growths.cumsum(axis=1))
        return self._valued(np.hstack([self._begun[series][:, np.newaxis], paths]).T)

    def _grown(self, log_growths: Reals) -> Reals:
        with np.errstate(over="ignore"):  # infinite is past any limit
            grown: Reals = self._begun * np.exp(log_growths)
        return grown

    def _valued(self, begun: Reals) -> Reals:
        values: Reals = begun.mean(axis=-1) + 1.0 - weight_up_to(self._epoch)
        return values


class Proof:
    """Plain e-processes, several `series`, to be begun anew."""

    def __init__(self, series: int, bets: int) -> None:
        self._logs = np.zeros((series, bets))

    def begin(self) -> None:
        """Forget everything."""
        self._logs[:] = 0.0

    def advance(self, log_growths: Reals) -> None:
        """A batch is over: its log growths [series, bets]."""
        self._logs += log_growths

    def log_value(self) -> Reals:
        """Log E [series]."""
        return _log_mean_exp(self._logs)

    def bound(self, rises: Reals) -> Reals:
        """At least the largest log value [series] in a batch in which logs rise by `rises` [series, bets] and fall."""
        return _log_mean_exp(self._logs + rises)

    def walk(self, series: int, log_growths: Reals) -> Reals:
        """Log values before and after each of n units: n + 1 of them."""
        own = self._logs[series][:, np.newaxis]
        return _log_mean_exp(np.hstack([own, own + log_growths.cumsum(axis=1)]).T)


def _log_mean_exp(logs: Reals) -> Reals:
    largest = logs.max(axis=-1, keepdims=True)
    mean: Reals = np.log(np.exp(logs - largest).mean(axis=-1)) + largest[..., 0]
    return mean
