"""What a flag's gates want to know, and where in the store its sums are: series, keys, and vectors of whole numbers.

A series is what is added up on its own: a metric, and for latency each of its margins, because there the margin is in
the outcome. Names of its sums begin with its prefix, which is another one for another plan, age or set of bets:

| name | vector |
| --- | --- |
| `{prefix}.{step}.{epoch}` | `vector_of` its MetricSums |
| `errors.{age}.{step}.{epoch}.{share}` | `ErrorCounts`: errors of both arms, units of both arms |
| `units.{share}` | see arms |
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rollout.core.errors import InvalidArgument
from rollout.core.evidence import restart
from rollout.core.evidence.eprocess import LAMBDAS
from rollout.core.evidence.interval import Moments
from rollout.core.evidence.ledger import MetricPlan, MetricSums, digest
from rollout.core.evidence.names import DRAWN, ERRORS, LATENCY, age_of, is_gathered
from rollout.core.evidence.stored_rows import counts_in, numbers_in, unreadable
from rollout.core.ramp_model import GateKind
from rollout.core.sums import ELEMENTS_MAX, SumKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Evidence, Gate, Progress

EPOCH_S = 120.0
"""Harm that begins late is looked for afresh this often; part of the evidence, a change voids what was gathered."""
UNDER_WAY_S = 60.0
"""How long after their age the first units of a step may take to be counted."""
_FLAGS_KEPT = 256
_MOMENTS = len(Moments.__struct_fields__)
_BETS = len(LAMBDAS)
MARGINS_MAX = (ELEMENTS_MAX - _MOMENTS) // _BETS
"""Of one series: of proof, of harm, and floors."""


class Series(msgspec.Struct, frozen=True):
    """What is added up on its own.

    Latency has the margin in its outcome (`margin`, its plan then tests 0), or an absolute `limit_s` that its floor is
    about; both are 0 for all other metrics.
    """

    metric: str
    plan: MetricPlan
    prefix: str
    margin: float = 0.0
    limit_s: float = 0.0


def series_of(flag: FeatureFlag) -> tuple[Series, ...]:
    """All that the flag's gates ask of units, sorted by prefix; InvalidArgument if margins don't fit one vector."""
    return _series_of(tuple(flag.gates), flag.evidence)


@lru_cache(_FLAGS_KEPT)
def _series_of(asked: tuple[Gate, ...], evidence: Evidence) -> tuple[Series, ...]:
    found: list[Series] = []
    for metric in sorted(DRAWN):
        gates = [gate for gate in asked if gate.metric == metric and is_gathered(gate)]
        if metric in LATENCY:
            found += _of_latency(evidence, metric, gates)
        elif gates:
            floors = {floor_of(gate) for gate in gates if gate.kind is GateKind.THRESHOLD}
            harm = set() if metric == ERRORS else final_margins(gates)  # errors are counted, see ErrorCounts
            found.append(_series(evidence, metric, _plan(proven_margins(gates), harm, floors)))
    return tuple(sorted(found, key=lambda each: each.prefix))


def series_for(flag: FeatureFlag, gate: Gate, margin: float) -> Series:
    """The series that `gate` looks at for this margin; InvalidArgument if there is none."""
    bound = (margin, 0.0)
    if gate.metric not in LATENCY:
        bound = (0.0, 0.0)
    elif gate.kind is GateKind.THRESHOLD:
        bound = (0.0, gate.limit or 0.0)
    for each in series_of(flag):
        if (each.metric, each.margin, each.limit_s) == (gate.metric, *bound):
            return each
    raise InvalidArgument(f"no evidence is gathered for {gate.name!r}", "give it a metric and a margin")


def floor_of(gate: Gate) -> float:
    """What the mean outcome of the candidate must not fall below, in [0, 1]."""
    if gate.metric in LATENCY:
        return LATENCY[gate.metric].quantile
    limit = gate.limit or 0.0
    return limit if gate.direction == "higher" else 1.0 - limit


def step_of(progress: Progress) -> int:
    """What tells a step from others of the ramp; one that is entered anew is another one."""
    return round(progress.step_began_s * 1_000)


def began_s_of(gate: Gate, flag: FeatureFlag) -> float:
    """Since when what passes `gate` must have been measured, Unix time."""
    return flag.progress.ramp_began_s if gate.scope == "ramp" else flag.progress.step_began_s


def epoch_of(progress: Progress, entered_s: float) -> int:
    """The epoch of a unit that enters (arrival + age) at Unix time `entered_s`."""
    return restart.epoch_at(entered_s, progress.ramp_began_s, EPOCH_S)


def key_of(feature: str, progress: Progress, prefix: str, epoch: int) -> SumKey:
    """Where units of this step and epoch are added."""
    return SumKey(feature, progress.attempt, f"{prefix}.{step_of(progress)}.{epoch}")


def vector_of(sums: MetricSums) -> list[int]:
    """All of it in one row of whole numbers."""
    logs = (value for row in (*sums.noninferiority, *sums.harm, *sums.floors) for value in row)
    return [*msgspec.structs.astuple(sums.moments), *logs]


def sums_of(plan: MetricPlan, vector: Sequence[int]) -> MetricSums:
    """The inverse; InvalidArgument for a row that isn't of this plan."""
    rows = [tuple(vector[start : start + _BETS]) for start in range(_MOMENTS, len(vector), _BETS)]
    proof, harm = len(plan.noninferiority), len(plan.harm)
    if len(vector) != _MOMENTS + _BETS * (proof + harm + len(plan.floors)):
        raise InvalidArgument("the store's sums are not of this plan", "drop them and begin another attempt")
    split = proof + harm
    return MetricSums(Moments(*vector[:_MOMENTS]), tuple(rows[:proof]), tuple(rows[proof:split]), tuple(rows[split:]))


def stored(
    feature: str, progress: Progress, series: Series, sums: Mapping[SumKey, Sequence[int]]
) -> Iterator[tuple[int, int, MetricSums]]:
    """What was added up in this attempt for this series: step (see `step_of`), epoch and sums of each vector."""
    for key, vector in sums.items():
        head, _, rest = key.name.rpartition(".")
        head, _, step = head.rpartition(".")
        if (key.feature, key.epoch, head) == (feature, progress.attempt, series.prefix):
            number, epoch = numbers_in(key.name, f"{step}.{rest}", 2)
            yield number, epoch, sums_of(series.plan, vector)


class ErrorCounts(NamedTuple):
    """Units whose first request was failed, and all units, of one share in one epoch: a vector as it is."""

    candidate_errors: int = 0
    baseline_errors: int = 0
    candidate_units: int = 0
    baseline_units: int = 0


_COUNTS = len(ErrorCounts._fields)


def errors_key(flag: FeatureFlag, epoch: int) -> SumKey:
    """Where failed units are counted that were drawn under this revision of the flag."""
    progress, age = flag.progress, round(flag.evidence.age_s)
    name = f"{ERRORS}.{age}.{step_of(progress)}.{epoch}.{flag.share_millipct}"
    return SumKey(flag.feature, progress.attempt, name)


def error_counts(
    flag: FeatureFlag, sums: Mapping[SumKey, Sequence[int]]
) -> Iterator[tuple[int, int, int, ErrorCounts]]:
    """What was counted in this attempt at this age: step, epoch, share in millipct and counts of each vector.

    InvalidArgument for what is named or counted otherwise.
    """
    head = f"{ERRORS}.{round(flag.evidence.age_s)}."
    for key, vector in sums.items():
        if (key.feature, key.epoch) == (flag.feature, flag.progress.attempt) and key.name.startswith(head):
            step, epoch, share = numbers_in(key.name, key.name.removeprefix(head), 3)
            found = ErrorCounts(*counts_in(key.name, vector, _COUNTS, least=_COUNTS))
            if found.candidate_errors > found.candidate_units or found.baseline_errors > found.baseline_units:
                raise unreadable(key.name)
            yield step, epoch, share, found


def _of_latency(evidence: Evidence, metric: str, gates: Sequence[Gate]) -> Iterator[Series]:
    final, proven = final_margins(gates), proven_margins(gates)
    for margin in sorted(final | proven):
        plan = _plan({0.0} if margin in proven else set(), {0.0} if margin in final else set(), set())
        yield _series(evidence, metric, plan, margin=margin)
    floors = [gate for gate in gates if gate.kind is GateKind.THRESHOLD]
    for limit_s in sorted({gate.limit or 0.0 for gate in floors}):
        yield _series(evidence, metric, _plan(set(), set(), {LATENCY[metric].quantile}), limit_s=limit_s)


def final_margins(gates: Sequence[Gate]) -> set[float]:
    """The margins beyond which there is harm, at every share: also those that are proven in the end."""
    return {gate.margin for gate in gates if gate.margin is not None and gate.kind is not GateKind.THRESHOLD}


def proven_margins(gates: Sequence[Gate]) -> set[float]:
    """The margins at which proof is asked for, at some share."""
    proof = [gate for gate in gates if gate.kind is GateKind.NONINFERIORITY]
    return final_margins(proof) | {early.margin for gate in proof for early in gate.early}


def _plan(proven: set[float], harm: set[float], floors: set[float]) -> MetricPlan:
    return MetricPlan(tuple(sorted(proven)), tuple(sorted(harm)), tuple(sorted(floors)))


def _series(evidence: Evidence, metric: str, plan: MetricPlan, *, margin: float = 0.0, limit_s: float = 0.0) -> Series:
    if len(plan.noninferiority) + len(plan.harm) + len(plan.floors) > MARGINS_MAX:
        raise InvalidArgument(f"the gates ask for too many margins of {metric}", f"at most {MARGINS_MAX} in all")
    fixed = digest({f"{metric}@{age_of(evidence, metric):g},{margin:g},{limit_s:g},{EPOCH_S:g}": plan})
    return Series(metric, plan, f"{metric}.{fixed[:16]}", margin, limit_s)
