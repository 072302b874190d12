"""One decision over all metrics of a ramp: the weighted average of their harm e-values, with one alpha.

An average of e-processes is one only where all of them have seen the same units. Metrics of one age have; a metric of
ten seconds and one of a day have not, for the first tells which arm a unit is in before the second counts it. So
metrics are averaged within an age, and the largest of these averages decides, each holding its share of alpha: never
above the average over all, and valid under any dependence. With one age it is the average.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.restart import log_sum_exp

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALPHA = 0.05
"""Where a gate gives none."""
HARM_WARNS = 10.0
"""An e-value for harm at the same margin that keeps a gate of non-inferiority from passing."""
_SUM_ERROR = 1e-9


class HarmValue(NamedTuple):
    """The harm e-value of one metric (of one route): its logarithm, its weight in the average, its age in seconds."""

    name: str
    log_value: float
    weight: float
    age_s: float


class Combined(NamedTuple):
    """Log of the combined e-value, the metric that contributes most to it, and others that do, by what they do."""

    log_value: float
    leader: str
    others: tuple[str, ...] = ()


def combined(values: Sequence[HarmValue]) -> Combined:
    """Combine the metrics of a ramp; roll back once this reaches ln(1/alpha).

    All metrics of the ramp from its start, those without an outcome yet at ln 1 = 0. InvalidArgument unless the weights
    are above zero and add up to one.
    """
    if any(each.weight <= 0.0 for each in values) or abs(sum(each.weight for each in values) - 1.0) > _SUM_ERROR:
        raise InvalidArgument("the weights of the harm metrics don't add up to one", "give positive weights of sum 1")
    ages = {each.age_s for each in values}
    by_age = [_average(each for each in values if each.age_s == age) for age in sorted(ages)]
    return max(by_age, key=lambda average: average.log_value)


def attempt_alpha(alpha: float, attempt: int) -> float:
    """The level of the `attempt`-th version (1, 2...) of a candidate: over all attempts they add up to `alpha`."""
    return alpha * 6.0 / (math.pi * attempt) ** 2


def _average(values: Iterable[HarmValue]) -> Combined:
    """The weighted sum, in logarithms."""
    kept = list(values)
    parts = {each.name: each.log_value + math.log(each.weight) for each in kept}
    leader = max(parts, key=parts.__getitem__)
    others = [each.name for each in kept if each.log_value > 0.0 and each.name != leader]
    others.sort(key=parts.__getitem__, reverse=True)
    return Combined(log_sum_exp(list(parts.values())), leader, tuple(others))
