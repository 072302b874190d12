"""What is wrong with what a flag asks of evidence, before a ramp begins with it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from rollout.core.errors import InvalidArgument
from rollout.core.evidence.names import DRAWN, JUDGE, LATENCY, METRICS, is_drawn, is_gathered
from rollout.core.gate_fields import field_faults, said_fields
from rollout.core.ramp_model import GateKind, Role
from rollout.core.share import format_share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_model import Gate

AGE_MIN_S, AGE_MAX_S, FEEDBACK_AGE_MAX_S = 1.0, 600.0, 3_600.0
LATENCY_MARGIN_MAX = 10.0
"""Eleven times as slow."""
_RATE_MARGIN_MAX, _WINS_MARGIN_MAX = 1.0, 0.5


def evidence_faults(flag: FeatureFlag) -> Iterator[str]:
    """Say what keeps a flag's evidence from being gathered, or its gates from having a meaning."""
    yield from _faults_of_ages(flag)
    asking = [gate for gate in flag.gates if gate.source == "evidence" and gate.metric in METRICS]
    faults = [f"gate {gate.name!r} {fault}" for gate in flag.gates for fault in field_faults(gate, said_fields(gate))]
    faults += [f"gate {gate.name!r} {fault}" for gate in asking for fault in _faults_of(gate, flag)]
    faults += [f"gate {gate.name!r} {fault}" for gate in flag.gates for fault in _faults_of_steps(gate, flag)]
    yield from faults or _too_many(flag)


def _faults_of_ages(flag: FeatureFlag) -> Iterator[str]:
    age_s, feedback_age_s = flag.evidence.age_s, flag.evidence.feedback_age_s
    if not AGE_MIN_S <= age_s <= AGE_MAX_S:
        yield f"evidence.age is {flag.evidence.age}, give 1s to 10m"
    if not age_s <= feedback_age_s <= FEEDBACK_AGE_MAX_S:
        yield f"evidence.feedback_age is {flag.evidence.feedback_age}, give at least evidence.age and at most 1h"


def _too_many(flag: FeatureFlag) -> Iterator[str]:
    from rollout.core.evidence.room import check_room  # noqa: PLC0415  numpy, for those who apply

    try:
        check_room(flag)
    except InvalidArgument as fault:
        yield f"{fault.cause}: {fault.hint}"


def _faults_of(gate: Gate, flag: FeatureFlag) -> Iterator[str]:
    if gate.kind is GateKind.THRESHOLD:
        yield from _faults_of_floor(gate, flag)
    elif gate.margin is not None:
        widest = max((gate.margin, *(early.margin for early in gate.early)))
        yield from _faults_of_margin(gate, widest)
    if gate.early and gate.kind is GateKind.NONINFERIORITY:
        yield from _faults_of_early(gate)


def _faults_of_steps(gate: Gate, flag: FeatureFlag) -> Iterator[str]:
    """What a ramp would pass by without having asked: at 0 and 100 % nothing is drawn."""
    if flag.ramp is None or gate.metric not in DRAWN or gate.role is Role.OBSERVE or not is_gathered(gate):
        return
    drawn = [step.share for step in flag.ramp.steps if is_drawn(step.share)]
    if not drawn:
        yield "is never asked: no step has a share between 0% and 100%"
    elif not is_drawn(flag.ramp.steps[-1].share) and gate.margin_at(drawn[-1]) != (gate.margin or 0.0):
        wider = f"at {format_share(drawn[-1])} it asks for {gate.margin_at(drawn[-1]):g}"
        yield f"never asks for its margin of {gate.margin:g} before everybody gets the candidate: {wider}"


def _faults_of_margin(gate: Gate, widest: float) -> Iterator[str]:
    if gate.metric in LATENCY:
        if widest > LATENCY_MARGIN_MAX:
            yield f"allows {1 + widest:g} times the baseline's time: a margin of 0.2 is a fifth slower, give at most 10"
    elif gate.metric == JUDGE and widest >= _WINS_MARGIN_MAX:
        yield f"has a margin of {widest:g}, but wins are compared with a half: give less than 0.5"
    elif widest >= _RATE_MARGIN_MAX:
        yield f"has a margin of {widest:g}, but it is a difference of rates: 3 points are 0.03"


def _faults_of_early(gate: Gate) -> Iterator[str]:
    by_share = sorted(gate.early, key=lambda early: early.below)
    margins = [*(early.margin for early in by_share), gate.margin or 0.0]
    if len({early.below for early in by_share}) < len(by_share):
        yield "has two early margins for the same share"
    elif any(later >= earlier for earlier, later in pairwise(margins)):
        yield "has an early margin that is no wider than what follows: margins shrink as the share grows"


def _faults_of_floor(gate: Gate, flag: FeatureFlag) -> Iterator[str]:
    if gate.limit is None:
        return  # told of every threshold
    elif gate.metric not in LATENCY:
        if not 0.0 < gate.limit < 1.0:
            yield f"has a limit of {gate.limit:g}, but it is a rate: give more than 0 and less than 1"
    elif gate.direction == "higher":
        yield "asks for at least so many seconds: latency is better the lower it is"
    elif not 0.0 < gate.limit < flag.evidence.age_s:
        yield f"has a limit of {gate.limit:g} s: a unit is looked at {flag.evidence.age} after it arrived, so give less"
