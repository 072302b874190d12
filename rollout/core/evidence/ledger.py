"""From observations to sums and back: what a recorder adds up, a store merges, a gate reads, and a log replays.

An observation holds all that its unit adds (the prediction included), so the sums are a function of the *set* of
observations: replay in any order, in batches of any size, gives the same bits.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import eprocess, restart
from rollout.core.evidence import interval as intervals
from rollout.core.evidence.eprocess import LAMBDAS, NOTHING, LogSums
from rollout.core.evidence.fixed_point import real
from rollout.core.evidence.interval import Moments
from rollout.core.evidence.score import (
    Units,
    below_floor,
    floor_fall,
    for_harm,
    for_noninferiority,
    harm_fall,
    score,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rollout.core.evidence.restart import Carried

_BATCH = 65_536
_BETS_VERSION = 3
"""What is bet on: 1, X itself; 2, X of harm and floors over how far it can fall; 3, likewise, with other weights of the
bets of a proof and of epochs. Part of the evidence, as LAMBDAS."""


class MetricPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The margins of one metric, fixed before the ramp: each in [0, 1], in the units of its outcome.

    `floors`: what the mean outcome of the candidate alone must not fall below.
    """

    noninferiority: tuple[float, ...]
    harm: tuple[float, ...]
    floors: tuple[float, ...] = ()


class SumsKey(NamedTuple):
    """What sums are kept by. `epoch`: counted over the whole ramp, see restart."""

    feature: str
    metric: str
    stage: int
    epoch: int


class MetricSums(msgspec.Struct, frozen=True, array_like=True):
    """The sums under one key: moments, and log sums for each margin of the plan, in its order."""

    moments: Moments
    noninferiority: tuple[LogSums, ...]
    harm: tuple[LogSums, ...]
    floors: tuple[LogSums, ...] = ()


class Observation(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One outcome of one unit, as logged: see score for its terms."""

    feature: str
    metric: str
    stage: int
    epoch: int
    share_millipct: int
    candidate: bool
    outcome: float
    predicted: float

    @property
    def key(self) -> SumsKey:
        """Where it is added."""
        return SumsKey(self.feature, self.metric, self.stage, self.epoch)


def nothing(plan: MetricPlan) -> MetricSums:
    """The sums before the first unit."""
    return MetricSums(
        Moments(), *((NOTHING,) * len(bounds) for bounds in (plan.noninferiority, plan.harm, plan.floors))
    )


def gathered(plan: MetricPlan, units: Units) -> MetricSums:
    """The sums of a batch of one key; InvalidArgument for values out of range."""
    scores = score(units)
    bets = [for_noninferiority(scores, margin) for margin in plan.noninferiority]
    bets += [for_harm(scores, margin) / harm_fall(units, margin) for margin in plan.harm]
    bets += [below_floor(units, floor) / floor_fall(floor) for floor in plan.floors]
    each = eprocess.log_sums_of_each(np.array(bets).reshape(len(bets), len(units.outcome)))
    proof, harm = len(plan.noninferiority), len(plan.noninferiority) + len(plan.harm)
    moments = intervals.moments(scores, int(units.candidate.sum()))
    return MetricSums(moments, each[:proof], each[proof:harm], each[harm:])


def add(first: MetricSums, second: MetricSums) -> MetricSums:
    """The sums of both; InvalidArgument if they were gathered for different numbers of margins."""
    shapes = [tuple(map(len, (each.noninferiority, each.harm, each.floors))) for each in (first, second)]
    if shapes[0] != shapes[1]:
        raise InvalidArgument("sums of different plans can't be added", "a changed plan starts afresh")
    return MetricSums(
        intervals.add(first.moments, second.moments),
        tuple(map(eprocess.add, first.noninferiority, second.noninferiority)),
        tuple(map(eprocess.add, first.harm, second.harm)),
        tuple(map(eprocess.add, first.floors, second.floors)),
    )


def total(plan: MetricPlan, sums: Iterable[MetricSums]) -> MetricSums:
    """All of `sums` as one: of the epochs of a stage, of the stages of a ramp."""
    merged = nothing(plan)
    for each in sums:
        merged = add(merged, each)
    return merged


def noninferiority_log_value(plan: MetricPlan, margin: float, sums: Iterable[MetricSums]) -> float:
    """Log E against "worse by `margin` or more", over all of `sums`; InvalidArgument if it isn't in the plan."""
    index = _index(plan.noninferiority, margin)
    return eprocess.log_value(total(plan, sums).noninferiority[index])


def harm_log_value(
    plan: MetricPlan, margin: float, sums_by_epoch: Mapping[int, MetricSums], before: Carried | None = None
) -> float:
    """Log E against "worse by at most `margin`", restarted at each epoch of the ramp; `before`: what was folded."""
    index = _index(plan.harm, margin)
    return restart.log_value(
        {epoch: list(map(real, sums.harm[index])) for epoch, sums in sums_by_epoch.items()}, before
    )


def floor_log_value(
    plan: MetricPlan, floor: float, sums_by_epoch: Mapping[int, MetricSums], before: Carried | None = None
) -> float:
    """Log E against "the candidate's mean outcome is at least `floor`", likewise."""
    index = _index(plan.floors, floor)
    return restart.log_value(
        {epoch: list(map(real, sums.floors[index])) for epoch, sums in sums_by_epoch.items()}, before
    )


def replay(plans: Mapping[str, MetricPlan], log: Iterable[Observation]) -> dict[SumsKey, MetricSums]:
    """The sums that `log` adds up to, by key; `plans` by metric.

    For who has recorded observations. The gateway writes no such log: its workers add with `gathered`, as this does;
    tests hold by it that order and batches make no difference.
    """
    waiting: dict[SumsKey, list[Observation]] = {}
    sums: dict[SumsKey, MetricSums] = {}
    for each in log:
        batch = waiting.setdefault(each.key, [])
        batch.append(each)
        if len(batch) == _BATCH:
            _settle(plans, sums, each.key, waiting.pop(each.key))
    for key, batch in waiting.items():
        _settle(plans, sums, key, batch)
    return sums


def digest(plans: Mapping[str, MetricPlan]) -> str:
    """A fingerprint of all that was fixed before the ramp; sums of another one are not comparable."""
    fixed = msgspec.json.encode((_BETS_VERSION, LAMBDAS, sorted(plans.items())))
    return blake2b(fixed, digest_size=16).hexdigest()


def _settle(
    plans: Mapping[str, MetricPlan], sums: dict[SumsKey, MetricSums], key: SumsKey, batch: list[Observation]
) -> None:
    plan = plans[key.metric]
    sums[key] = add(sums.get(key, nothing(plan)), gathered(plan, _units(batch)))


def _units(batch: list[Observation]) -> Units:
    return Units(
        np.array([each.share_millipct for each in batch], np.int64),
        np.array([each.candidate for each in batch], np.bool_),
        np.array([each.outcome for each in batch], np.float64),
        np.array([each.predicted for each in batch], np.float64),
    )


def _index(margins: tuple[float, ...], margin: float) -> int:
    if margin not in margins:
        raise InvalidArgument(f"no evidence is gathered for a margin of {margin}", f"the plan has {margins}")
    return margins.index(margin)
