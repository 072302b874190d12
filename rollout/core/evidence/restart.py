"""The restart mixture: finds harm that begins late as fast as harm that was there from the start.

A fresh copy of the process is started at each epoch j = 0, 1, 2... with weight w_0 = 1/2 and, of the other half,
w_1 + ... + w_j = ln(j + 1) / (1 + ln(j + 1)). The weights add up to one, so the mixture is one e-process: one alpha for
the whole ramp, stages included. Copies share what they see, so a sum for each epoch is all that is kept; a copy not
begun counts as one. A copy of the j-th epoch has nearly 1/(2 j ln(j)**2): ramps have hundreds of epochs, and a weight
of 1/(2 j**2) would make harm after a day wait for 2.5 nats more.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.eprocess import log_mean_exp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def weight_up_to(epoch: int) -> float:
    """w_0 + ... + w_epoch."""
    return 1.0 - 0.5 / (1.0 + math.log(epoch + 1.0))


def weight_of(epoch: int) -> float:
    """w_epoch."""
    return weight_up_to(epoch) - weight_up_to(epoch - 1) if epoch else 0.5


class Carried(msgspec.Struct, frozen=True, array_like=True):
    """What epochs up to `epoch` come to: for each bet, ln of the weighted sum of the copies begun by then."""

    epoch: int
    logs: tuple[float, ...]


def carry(growth_by_epoch: Mapping[int, Sequence[float]], before: Carried | None = None) -> Carried | None:
    """Fold epochs into one value of fixed size: those that are over and get no more units, on top of `before`.

    `growth_by_epoch`: for each epoch that saw a unit, the log growth of each bet (all of one number of bets). Epochs
    are counted from 0 over the whole ramp; those left out saw nothing and cost their weight only. None if there are
    none; InvalidArgument for an epoch that `before` holds already.
    """
    for epoch in sorted(growth_by_epoch):
        last = -1 if before is None else before.epoch
        if epoch <= last:
            raise InvalidArgument(f"epoch {epoch} has been carried over already", "add all of its sums before that")
        begun = weight_up_to(epoch) - (weight_up_to(last) if last >= 0 else 0.0)
        logs = np.logaddexp(-math.inf if before is None else before.logs, math.log(begun)) + growth_by_epoch[epoch]
        before = Carried(epoch, tuple(logs.tolist()))
    return before


def log_value(growth_by_epoch: Mapping[int, Sequence[float]], before: Carried | None = None) -> float:
    """Log E, see `carry`: the same bits whatever part of the epochs has been carried over."""
    carried = carry(growth_by_epoch, before)
    if carried is None:
        return 0.0
    not_begun = math.log(1.0 - weight_up_to(carried.epoch))
    return log_mean_exp([log_sum_exp([not_begun, begun]) for begun in carried.logs])


def log_sum_exp(logs: Sequence[float]) -> float:
    """Log of the sum of exp(logs), whatever their size and order."""
    return log_mean_exp(logs) + math.log(len(logs))


def epoch_at(entered_s: float, began_s: float, length_s: float) -> int:
    """The epoch, of `length_s` each, into which a unit falls that enters (assignment + age) `entered_s`.

    By time alone, never by an outcome. A unit from before `began_s` (a clock that runs late) is in the first.
    """
    return max(0, math.floor((entered_s - began_s) / length_s))
