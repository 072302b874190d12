"""How much is measured: three sizes of one run."""

from __future__ import annotations

from typing import NamedTuple

from loadtests.bench.workloads import Workload, paced, plain, stream


class Cells(NamedTuple):
    """One workload of a block; it is left out of turns from `turns` on."""

    workload: Workload
    connections: int
    turns: int


class Plan(NamedTuple):
    """One run. Blocks start their servers once; within a block turns repeat, in rotated order."""

    name: str
    measure_s: int
    plain: tuple[Cells, ...]
    streams: tuple[Cells, ...]
    paced: Cells
    beat_s: float
    workers: tuple[int, ...]
    scaling_turns: int
    rates_per_s: tuple[int, ...]
    rate_s: float
    rate_turns: int
    idle_streams: int
    hold_s: float
    trickle_s: float
    decision_repeats: int


QUICK = Plan(
    name="quick",
    measure_s=1,
    plain=(Cells(plain(1), 16, 1), Cells(plain(100), 16, 1)),
    streams=(Cells(stream(), 16, 1),),
    paced=Cells(paced(), 16, 1),
    beat_s=0.002,
    workers=(2,),
    scaling_turns=1,
    rates_per_s=(200,),
    rate_s=1.0,
    rate_turns=1,
    idle_streams=100,
    hold_s=1.0,
    trickle_s=0.5,
    decision_repeats=3,
)
DEFAULT = Plan(
    name="default",
    measure_s=2,
    plain=(Cells(plain(1), 64, 9), Cells(plain(10), 64, 6), Cells(plain(100), 64, 6)),
    streams=(Cells(stream(), 64, 9),),
    paced=Cells(paced(), 64, 6),
    beat_s=0.015,
    workers=(2, 4),
    scaling_turns=6,
    rates_per_s=(1_000,),
    rate_s=4.0,
    rate_turns=6,
    idle_streams=10_000,
    hold_s=20.0,
    trickle_s=3.0,
    decision_repeats=15,
)
FULL = Plan(
    name="full",
    measure_s=3,
    plain=tuple(Cells(plain(kb), count, 15) for kb in (1, 10, 100) for count in (64, 16)),
    streams=(Cells(stream(), 64, 15), Cells(stream(), 16, 15)),
    paced=Cells(paced(), 64, 12),
    beat_s=0.015,
    workers=(2, 4),
    scaling_turns=12,
    rates_per_s=(1_000, 5_000),
    rate_s=6.0,
    rate_turns=12,
    idle_streams=10_000,
    hold_s=120.0,
    trickle_s=3.0,
    decision_repeats=31,
)
PLANS = {plan.name: plan for plan in (QUICK, DEFAULT, FULL)}
