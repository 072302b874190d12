"""Figures of a made-up run in which every number is easy to check by hand."""

import pytest

from loadtests.bench import summarize, targets
from loadtests.bench.estimates import Estimate
from loadtests.bench.figures import Answered, Cell, Figure, Held, Turn
from loadtests.bench.machine import Machine
from loadtests.bench.results import DecisionRow, Document, SkippedRow

SPEEDS = {"direct": 400.0, "nginx": 100.0, "glidepath": 60.0, "vllm-router": 30.0, "sglang-router": 20.0}


def figure(turn: int, subject: str, workload: str = "1 KB request", workers: int = 1, **changes: object) -> Figure:
    """60 requests/s of the gateway, and so on; every turn is faster than the one before."""
    speed = SPEEDS[subject] * (turn + 1) * workers
    made = Figure(turn, Cell(subject, workload, workers, 64), speed, 10 / SPEEDS[subject], 0.001, 0.002, 1, 0.97, 0.01)
    return made._replace(**changes)


@pytest.fixture
def plain() -> list[Figure]:
    small = [figure(turn, subject) for turn in range(5) for subject in SPEEDS]
    large = [
        figure(turn, subject, "100 KB request", cpu_s_per_1000=15 / SPEEDS[subject], busy=0.5)
        for turn in range(5)
        for subject in SPEEDS
    ]
    return small + large


@pytest.fixture
def workers() -> list[Figure]:
    return [figure(turn, subject, workers=count) for turn in range(5) for subject in SPEEDS for count in (1, 2)]


@pytest.fixture
def answered() -> list[Answered]:
    base = {"p50": 0.001, "p90": 0.002, "p99": 0.003, "p99.9": 0.004}
    return [
        Answered(
            turn, subject, 1_000, {name: value * factor + turn for name, value in base.items()}, 1, 2, 1e-5 * (turn + 1)
        )
        for turn in range(5)
        for subject, factor in (("direct", 1.0), ("glidepath", 1.5))
    ]


@pytest.fixture
def held() -> list[Held]:
    return [Held("glidepath", 1_000, 50_000_000, 70_000_000, 70_200_000, 20.0, 0)]


@pytest.fixture
def document(plain: list[Figure], workers: list[Figure], answered: list[Answered], held: list[Held]) -> Document:
    rows = summarize.throughput(plain) + summarize.throughput([each for each in workers if each.cell.workers > 1])
    scaling, latency, idle = summarize.scaling(workers), summarize.latency(answered), summarize.idle(held)
    decision = DecisionRow(100, Estimate(2e-6, 1e-6, 4e-6, 0.96, 9))
    return Document(
        schema=1,
        plan="default",
        date="2026-01-02",
        duration_s=600.0,
        machine=Machine("Fast <CPU>", 4, 24, True, "6.18", "3.11.7", {"nginx": "1.2.3"}),
        noise=summarize.noise([Turn("plain", turn, 0.01 + turn / 1_000) for turn in range(5)], {"plain": plain}, 0.03),
        targets=(
            *targets.speed(rows, "64 events", ["vllm-router", "sglang-router"]),
            *targets.added_latency(latency),
            *targets.scaling(scaling, [2, 4]),
            *targets.idle(idle),
            *targets.decision(decision),
            *targets.size(plain),
        ),
        throughput=rows,
        scaling=scaling,
        latency=latency,
        idle=idle,
        decision=decision,
        skipped=(SkippedRow("litellm", "not installable"),),
    )
