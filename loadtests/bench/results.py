"""The document a run leaves: values with their intervals, and what was not measured."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from loadtests.bench.estimates import Estimate
from loadtests.bench.machine import Machine


class Verdict(StrEnum):
    """Of a target: the interval is beyond the goal, short of it, or on both sides."""

    MET = "met"
    MISSED = "missed"
    UNCLEAR = "unclear"
    NOT_MEASURED = "not measured"


class ThroughputRow(msgspec.Struct, frozen=True):
    """Closed loop. `times`: the gateway's requests/s over this subject's. `busy` below 0.9: it was not the limit."""

    workload: str
    workers: int
    connections: int
    subject: str
    requests_per_s: Estimate
    times: Estimate | None
    cpu_s_per_1000: Estimate
    p50_s: Estimate
    p99_s: Estimate
    busy: float
    failures: int


class ScalingRow(msgspec.Struct, frozen=True):
    """Requests/s of `workers` over `workers` times those of one, measured in the same turns; 1 is linear."""

    subject: str
    workers: int
    efficiency: Estimate
    busy: float


class LatencyRow(msgspec.Struct, frozen=True):
    """Open loop. `added_s`: over the upstream directly, by percentile; `lag_p99_s`: how late the client was."""

    rate_per_s: int
    subject: str
    latency_s: dict[str, Estimate]
    added_s: dict[str, Estimate]
    failures: int
    queued: int
    lag_p99_s: float


class IdleRow(msgspec.Struct, frozen=True):
    """Resident memory per held stream; growth in the hold as a share of what the streams took."""

    subject: str
    streams: int
    bytes_per_stream: float
    growth_share: float
    hold_s: float
    lost: int


class DecisionRow(msgspec.Struct, frozen=True):
    """CPU time of one flag decision."""

    features: int
    decision_s: Estimate


class TargetRow(msgspec.Struct, frozen=True):
    """One goal of the design, in its unit."""

    name: str
    goal: float
    at_least: bool
    unit: str
    measured: Estimate | None
    verdict: Verdict
    note: str


class SkippedRow(msgspec.Struct, frozen=True):
    """What was not measured, and why."""

    what: str
    reason: str


class Noise(msgspec.Struct, frozen=True):
    """How quiet the machine was: share of it others used at the start, and turns that were disturbed."""

    busy_at_start: float
    turns: int
    noisy_turns: int
    spin_worst: float
    foreign_worst: float


class Document(msgspec.Struct, frozen=True):
    """One run."""

    schema: Literal[1]
    plan: str
    date: str
    duration_s: float
    machine: Machine
    noise: Noise
    targets: tuple[TargetRow, ...]
    throughput: tuple[ThroughputRow, ...]
    scaling: tuple[ScalingRow, ...]
    latency: tuple[LatencyRow, ...]
    idle: tuple[IdleRow, ...]
    decision: DecisionRow | None
    skipped: tuple[SkippedRow, ...]


def encode(document: Document) -> str:
    """JSON, indented, as it is committed."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1).decode() + "\n"


def decode(text: str | bytes) -> Document:
    """Strictly; raises msgspec.ValidationError."""
    return msgspec.json.decode(text, type=Document)


def json_schema() -> dict[str, object]:
    """JSON Schema of the document."""
    return msgspec.json.schema(Document)
