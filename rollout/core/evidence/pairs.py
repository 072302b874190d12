"""Judged pairs: what a flag's gates of metric `judge` ask of them, and where in the store their sums are.

| name | vector |
| --- | --- |
| `judge.{plan}.{version}.{step}.{epoch}` | `vector_of` the MetricSums of W - 1/2, where each pair weighs 1 |
| `judged.{version}` | `Replies`; of `over` those of versions that came after the `VERSIONS_MAX`th of the attempt |

A judge that answers as another model, or by another rubric, is another version: its sums are its own. The number of a
version grows with the epoch in which it first gave a score, and the one that gave one last is in force: neither looks
at a win.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import eprocess, interval, restart
from rollout.core.evidence.ledger import MetricPlan, MetricSums, digest
from rollout.core.evidence.names import JUDGE, is_gathered
from rollout.core.evidence.pairwise import EVEN, MARGIN_MAX, for_harm, for_noninferiority, harm_fall, scores_of
from rollout.core.evidence.plans import MARGINS_MAX, final_margins, floor_of, key_of, proven_margins, sums_of
from rollout.core.evidence.stored_rows import counts_in, numbers_in
from rollout.core.ramp_model import GateKind
from rollout.core.sums import SumKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.evidence.fixed_point import Reals
    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Gate, Progress

EPOCH_S = 3_600.0
"""The first epoch; the k-th begins k**2 times this after the ramp. Pairs come slowly, and epochs of them are never
folded: there are 38 of them in 60 days."""
UNKNOWN = "unknown"
"""Stands for the version of a judge that has not said yet who it is."""
OVER = "over"
VERSIONS_MAX = 8
"""Of an attempt: each has sums and claims of its own, and a part of alpha (of the 8th a hundredth is left)."""
_REPLIES = "judged."


class Replies(NamedTuple):
    """Pairs that a judge was asked about: those with a score, and those that it lost. A vector as it is."""

    scored: int = 0
    lost: int = 0


class VersionSums(NamedTuple):
    """What one version of a judge has scored in this attempt: step (see `plans.step_of`), epoch, sums."""

    version: str
    parts: tuple[tuple[int, int, MetricSums], ...]

    @property
    def first(self) -> int:
        """The epoch of its first score."""
        return min(epoch for _, epoch, _ in self.parts)

    @property
    def last(self) -> int:
        """The epoch of its latest."""
        return max(epoch for _, epoch, _ in self.parts)


def plan_of(flag: FeatureFlag) -> MetricPlan | None:
    """What the flag's gates ask of judged pairs; None if nothing, InvalidArgument for margins no win rate can have."""
    gates = [gate for gate in flag.gates if gate.metric == JUDGE and is_gathered(gate)]
    if not gates:
        return None
    floors = {harm_margin_of(gate) for gate in gates if gate.kind is GateKind.THRESHOLD}
    plan = MetricPlan(tuple(sorted(proven_margins(gates))), tuple(sorted(final_margins(gates) | floors)))
    margins = (*plan.noninferiority, *plan.harm)
    if any(abs(margin) > MARGIN_MAX for margin in margins):
        raise InvalidArgument(
            f"a win rate can't be {max(margins):g} below one half", f"margins of a judge are at most {MARGIN_MAX}"
        )
    if len(margins) > MARGINS_MAX:
        raise InvalidArgument(f"the gates ask for too many margins of {JUDGE}", f"at most {MARGINS_MAX} in all")
    return plan


def harm_margin_of(gate: Gate) -> float:
    """How far below one half the win rate is harm; of a floor what that leaves."""
    return EVEN - floor_of(gate) if gate.kind is GateKind.THRESHOLD else gate.margin or 0.0


def epoch_of(progress: Progress, paired_at_s: float) -> int:
    """The epoch of a pair whose answers were both there at this Unix time."""
    return isqrt(restart.epoch_at(paired_at_s, progress.ramp_began_s, EPOCH_S))


def gathered(plan: MetricPlan, wins: Reals) -> MetricSums:
    """The sums of a batch of one key; InvalidArgument for a win that is none."""
    if not ((wins >= 0.0) & (wins <= 1.0)).all():  # false for what is not a number
        raise InvalidArgument("a win is out of range", "wins are in [0, 1]")
    bets = [for_noninferiority(wins, margin) for margin in plan.noninferiority]
    bets += [for_harm(wins, margin) / harm_fall(margin) for margin in plan.harm]
    each = eprocess.log_sums_of_each(np.array(bets).reshape(len(bets), len(wins)))
    proof = len(plan.noninferiority)
    return MetricSums(interval.moments(scores_of(wins), len(wins)), each[:proof], each[proof:])


def pairs_key(feature: str, progress: Progress, plan: MetricPlan, version: str, epoch: int) -> SumKey:
    """Where pairs of this step and epoch are added that this version of a judge has scored."""
    return key_of(feature, progress, _prefix(plan) + version, epoch)


def replies_key(feature: str, progress: Progress, version: str) -> SumKey:
    """Where it is counted how often this version gave a score."""
    return SumKey(feature, progress.attempt, _REPLIES + (version or UNKNOWN))


def by_version(flag: FeatureFlag, plan: MetricPlan, sums: Mapping[SumKey, Sequence[int]]) -> tuple[VersionSums, ...]:
    """What was scored in this attempt, the version in force at the end; InvalidArgument for sums of another shape.

    In force is the version that has scored last, by epochs; of several the one that began last.
    """
    prefix = _prefix(plan)
    found: dict[str, list[tuple[int, int, MetricSums]]] = {}
    for key, vector in sums.items():
        if (key.feature, key.epoch) == (flag.feature, flag.progress.attempt) and key.name.startswith(prefix):
            version, _, when = key.name.removeprefix(prefix).partition(".")
            step, epoch = numbers_in(key.name, when, 2)
            found.setdefault(version, []).append((step, epoch, sums_of(plan, vector)))
    versions = (VersionSums(version, tuple(parts)) for version, parts in found.items())
    return tuple(sorted(versions, key=lambda each: (each.last, each.first, each.version)))


def number_of(version: VersionSums, versions: Sequence[VersionSums]) -> int:
    """How manieth of `versions` it is at most (1, 2...): those that began in one epoch are all taken for the last."""
    return sum(each.first <= version.first for each in versions)


def replies_of(flag: FeatureFlag, version: str, sums: Mapping[SumKey, Sequence[int]]) -> Replies:
    """How often this version was asked in this attempt. What was lost before anybody had said who it is counts too."""
    whose = {version} if version == OVER else {version, UNKNOWN}
    keys = (replies_key(flag.feature, flag.progress, each) for each in whose)
    counts = [Replies(*counts_in(key.name, sums[key], len(Replies._fields))) for key in keys if key in sums]
    return Replies(sum(each.scored for each in counts), sum(each.lost for each in counts))


def _prefix(plan: MetricPlan) -> str:
    return f"{JUDGE}.{digest({JUDGE: plan})[:16]}."
