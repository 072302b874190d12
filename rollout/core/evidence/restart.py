"""The restart mixture: finds harm that begins late as fast as harm that was there from the start.

A fresh copy of the process is started at each epoch j = 0, 1, 2... with weight w_0 = 1/2, w_j = 1/(2 j (j + 1)). The
weights add up to one, so the mixture is one e-process: one alpha for the whole ramp, stages included. Copies share
what they see, so a sum for each epoch is all that is kept; a copy not begun counts as one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rollout.core.evidence.eprocess import log_mean_exp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def weight_up_to(epoch: int) -> float:
    """w_0 + ... + w_epoch."""
    return 1.0 - 1.0 / (2 * (epoch + 1))


def log_value(growth_by_epoch: Mapping[int, Sequence[float]]) -> float:
    """Log E. `growth_by_epoch`: for each epoch that saw a unit, the log growth of each bet (all of one number of bets).

    Epochs are counted from 0 over the whole ramp; those left out saw nothing and cost their weight only.
    """
    if not growth_by_epoch:
        return 0.0
    epochs = sorted(growth_by_epoch)
    growth = np.array([growth_by_epoch[epoch] for epoch in epochs], float)
    # A copy that starts anywhere in (previous, epoch] has seen exactly the epochs from `epoch` on.
    since = growth[::-1].cumsum(axis=0)[::-1]
    weights = [
        weight_up_to(epoch) - (weight_up_to(before) if before >= 0 else 0.0)
        for before, epoch in zip([-1, *epochs[:-1]], epochs, strict=True)
    ]
    logs = since + np.log(np.array(weights))[:, np.newaxis]
    not_begun = math.log(1.0 - weight_up_to(epochs[-1]))
    return log_mean_exp([log_sum_exp([not_begun, *column]) for column in logs.T.tolist()])


def log_sum_exp(logs: Sequence[float]) -> float:
    """Log of the sum of exp(logs), whatever their size and order."""
    return log_mean_exp(logs) + math.log(len(logs))


def epoch_at(entered_s: float, began_s: float, length_s: float) -> int:
    """The epoch, of `length_s` each, into which a unit falls that enters (assignment + age) `entered_s`.

    By time alone, never by an outcome. A unit from before `began_s` (a clock that runs late) is in the first.
    """
    return max(0, math.floor((entered_s - began_s) / length_s))
