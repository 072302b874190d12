"""Between a flag and its ramp: what a tick needs of the flag, what it asks to be measured, and what it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from rollout.core import gates
from rollout.core.model import BUCKETS, Arm, State
from rollout.core.promql import MetricQuery, since
from rollout.core.ramp_model import Phase, Role
from rollout.core.ramp_plan import query_of
from rollout.core.ramp_table import Capacity, Ramp
from rollout.core.readings import ReadingKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import GateMemory
    from rollout.core.ramp_table import Transition
    from rollout.core.readings import Reading

_AT_REST = (Phase.DRAFT, Phase.COMPLETED)


def ramp_of(flag: FeatureFlag, memory: GateMemory, *, killed_locally: bool = False) -> Ramp:
    """Give what the state machine needs of a flag."""
    return Ramp(
        flag.feature,
        flag.revision,
        flag.share_millipct,
        flag.kill.on or killed_locally,
        flag.ramp,
        flag.gates,
        flag.rollback,
        flag.progress,
        memory,
    )


def applied(flag: FeatureFlag, made: Transition) -> FeatureFlag:
    """Give the flag after a transition; its revision is the store's to raise."""
    return replace(flag, share_millipct=made.share_millipct, progress=made.progress)


def is_watched(flag: FeatureFlag) -> bool:
    """Whether ticks can do anything to it: a flag without a ramp, or with one at rest, costs no measurement."""
    return flag.progress.phase not in _AT_REST


def faults_of(flag: FeatureFlag) -> tuple[str, ...]:
    """Say what keeps a ramp's figures from meaning anything: a step that nobody meets is no proof of the next one."""
    return ("the flag is disabled, so nobody gets the candidate",) if flag.state is State.DISABLED else ()


def queries_of(flag: FeatureFlag, now_s: float) -> dict[str, MetricQuery]:
    """What to ask Prometheus for, by gate; ranges of `[$elapsed]` reach back to where the gate's scope began.

    Gates that can roll back come first: the others may be slow.
    What has not begun yet is as if it began now: else what an earlier attempt failed at would roll back its successor.
    """
    began = {"step": flag.progress.step_began_s or now_s, "ramp": flag.progress.ramp_began_s or now_s}
    return {
        gate.name: since(query_of(gate), max(0.0, now_s - began[gate.scope]))
        for gate in sorted(flag.gates, key=lambda gate: gate.role is not Role.HARD)
        if gate.source == "promql" and is_watched(flag)
    }


def capacity_queries_of(flag: FeatureFlag) -> dict[Arm, MetricQuery]:
    """What to ask Prometheus for to know what each side bears, where the flag says how."""
    candidate = "" if flag.ramp is None else flag.ramp.candidate_capacity
    baseline = flag.rollback.baseline_capacity if flag.rollback.partner_capacity_check else ""
    asked = {Arm.CANDIDATE: candidate, Arm.BASELINE: baseline}
    return {arm: MetricQuery(query) for arm, query in asked.items() if query and is_watched(flag)}


def capacity_of(readings: Mapping[Arm, Reading]) -> Capacity:
    """Give what each side bears in millipct; what is not measured, or no number from 0 on, is unknown."""
    known = {arm: _millipct(reading) for arm, reading in readings.items()}
    return Capacity(known.get(Arm.CANDIDATE), known.get(Arm.BASELINE))


def as_measured(reading: Reading) -> gates.Reading:
    """Give a metric source's reading as gates judge it."""
    if reading.kind is ReadingKind.ERROR:
        return gates.Reading(error=reading.reason)
    if reading.kind is ReadingKind.NO_DATA:
        return gates.Reading(series=0)
    return gates.Reading(reading.value, reading.at_s, reading.from_s, reading.samples)


def _millipct(reading: Reading) -> int | None:
    return None if reading.value is None or reading.value < 0 else int(min(1.0, reading.value) * BUCKETS)
