"""What one measurement in one turn gave, before anything is made of it."""

from __future__ import annotations

from typing import NamedTuple


class Cell(NamedTuple):
    """What was measured: everything but the turn."""

    subject: str
    workload: str
    workers: int
    connections: int


class Figure(NamedTuple):
    """Closed loop: as many requests as the subject can take. `busy` and `foreign` are shares of its cores' time."""

    turn: int
    cell: Cell
    requests_per_s: float
    cpu_s_per_1000: float
    p50_s: float
    p99_s: float
    failures: int
    busy: float
    foreign: float


class Answered(NamedTuple):
    """Open loop at a fixed rate: time from when a request was due to its last byte, by percentile."""

    turn: int
    subject: str
    rate_per_s: int
    latency_s: dict[str, float]
    failures: int
    queued: int
    lag_p99_s: float


class Held(NamedTuple):
    """Idle streams: resident memory of all the subject's processes before, with them, and after a while."""

    subject: str
    streams: int
    before_bytes: int
    held_bytes: int
    later_bytes: int
    hold_s: float
    lost: int


class Turn(NamedTuple):
    """How fast the machine was when a turn began: time of a fixed piece of work on the subject's core."""

    block: str
    number: int
    spin_s: float
