"""What a flag's gates want to know, and where in the store its sums are: plans, keys, and vectors of whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import restart
from rollout.core.evidence.eprocess import LAMBDAS
from rollout.core.evidence.interval import Moments
from rollout.core.evidence.ledger import MetricPlan, MetricSums, digest
from rollout.core.evidence.names import AGES_S, MEASURED
from rollout.core.ramp_model import GateKind
from rollout.core.sums import ELEMENTS_MAX, SumKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Gate, Progress

EPOCH_S = 600.0
"""Harm that begins late is looked for afresh this often."""
_MOMENTS = len(Moments.__struct_fields__)
_BETS = len(LAMBDAS)
MARGINS_MAX = (ELEMENTS_MAX - _MOMENTS) // _BETS
"""Of one metric: its own and those of harm."""


def plans_of(flag: FeatureFlag) -> dict[str, MetricPlan]:
    """The margins that a flag's gates ask for, by metric; InvalidArgument if they are too many for one vector.

    Harm is looked for at every margin: no promotion is made while the margin's own harm process is on the rise.
    """
    plans = {}
    for metric in sorted(MEASURED):
        gates = [gate for gate in flag.gates if is_gathered(gate) and gate.metric == metric]
        margins = {gate.margin for gate in gates if gate.margin is not None}
        of_proof = [gate for gate in gates if gate.kind is GateKind.NONINFERIORITY]
        proven = {gate.margin for gate in of_proof if gate.margin is not None}
        if len(margins) + len(proven) > MARGINS_MAX:
            raise InvalidArgument(f"the gates ask for too many margins of {metric}", f"at most {MARGINS_MAX} in all")
        if margins:
            plans[metric] = MetricPlan(tuple(sorted(proven)), tuple(sorted(margins)))
    return plans


def is_gathered(gate: Gate) -> bool:
    """Whether it is judged by sums of evidence."""
    return gate.source == "evidence" and gate.metric in MEASURED and gate.kind is not GateKind.THRESHOLD


def prefix_of(metric: str, plan: MetricPlan) -> str:
    """What names of sums begin with. Of another plan, age or set of bets it is another one."""
    return f"{metric}.{digest({f'{metric}@{AGES_S[metric]:g}': plan})[:16]}"


def step_of(progress: Progress) -> int:
    """What tells a step from others of the ramp; one that is entered anew is another one."""
    return round(progress.step_began_s * 1_000)


def epoch_of(progress: Progress, entered_s: float) -> int:
    """The epoch of a unit that enters (arrival + age) at Unix time `entered_s`."""
    return restart.epoch_at(entered_s, progress.ramp_began_s, EPOCH_S)


def key_of(feature: str, progress: Progress, prefix: str, epoch: int) -> SumKey:
    """Where units of this step and epoch are added."""
    return SumKey(feature, progress.attempt, f"{prefix}.{step_of(progress)}.{epoch}")


def vector_of(sums: MetricSums) -> list[int]:
    """All of it in one row of whole numbers."""
    logs = (value for row in (*sums.noninferiority, *sums.harm) for value in row)
    return [*msgspec.structs.astuple(sums.moments), *logs]


def sums_of(plan: MetricPlan, vector: Sequence[int]) -> MetricSums:
    """The inverse; InvalidArgument for a row that isn't of this plan."""
    rows = [tuple(vector[start : start + _BETS]) for start in range(_MOMENTS, len(vector), _BETS)]
    split = len(plan.noninferiority)
    if len(vector) != _MOMENTS + _BETS * (split + len(plan.harm)):
        raise InvalidArgument("the store's sums are not of this plan", "drop them and begin another attempt")
    return MetricSums(Moments(*vector[:_MOMENTS]), tuple(rows[:split]), tuple(rows[split:]))


def stored(
    feature: str, progress: Progress, metric: str, plan: MetricPlan, sums: Mapping[SumKey, Sequence[int]]
) -> Iterator[tuple[int, int, MetricSums]]:
    """What was added up in this attempt under this plan: step (see `step_of`), epoch and sums of each vector."""
    prefix = prefix_of(metric, plan)
    for key, vector in sums.items():
        head, _, rest = key.name.rpartition(".")
        head, _, step = head.rpartition(".")
        if (key.feature, key.epoch, head) == (feature, progress.attempt, prefix):
            yield int(step), int(rest), sums_of(plan, vector)
