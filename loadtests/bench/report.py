"""Figures of one run -> a table of ratios."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple


class Figure(NamedTuple):
    """One measurement in one turn: throughput, CPU time per request and latency of one subject under one workload."""

    turn: int
    workload: str
    subject: str
    connections: int
    requests_per_s: float
    cpu_us: float
    p50_s: float
    p99_s: float
    failures: int


class Row(NamedTuple):
    """Medians over the repeats of one subject."""

    subject: str
    requests_per_s: float
    cpu_us: float
    p50_s: float
    p99_s: float
    failures: int


def rows(figures: list[Figure], workload: str, connections: int) -> list[Row]:
    """Medians per subject, fastest first."""
    names = dict.fromkeys(f.subject for f in figures)
    found = []
    for name in names:
        mine = [f for f in figures if (f.subject, f.workload, f.connections) == (name, workload, connections)]
        if mine:
            found.append(_medians(name, mine))
    return sorted(found, key=lambda row: -row.requests_per_s)


def _medians(name: str, figures: list[Figure]) -> Row:
    return Row(
        name,
        median(f.requests_per_s for f in figures),
        median(f.cpu_us for f in figures),
        median(f.p50_s for f in figures),
        median(f.p99_s for f in figures),
        sum(f.failures for f in figures),
    )


def ratio(figures: list[Figure], workload: str, connections: int, subject: str, to: str) -> float | None:
    """Throughput of one subject over another's: the median over turns of the ratio within a turn.

    Within a turn both were measured within seconds, so a machine that changes speed in between changes both.
    """
    speeds = {
        (f.turn, f.subject): f.requests_per_s for f in figures if (f.workload, f.connections) == (workload, connections)
    }
    turns = {turn for turn, name in speeds if name == subject and speeds.get((turn, to))}
    return median(speeds[turn, subject] / speeds[turn, to] for turn in turns) if turns else None


def table(figures: list[Figure], subject: str) -> str:
    """Markdown: one table per workload and number of connections, ratios relative to `subject`."""
    parts = []
    for workload, connections in dict.fromkeys((f.workload, f.connections) for f in figures):
        found = rows(figures, workload, connections)
        lines = [
            f"### {workload}, {connections} connections, one core",
            "",
            f"| | requests/s | {subject} is | CPU µs/request | p50 ms | p99 ms | failures |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for row in found:
            times = ratio(figures, workload, connections, subject, row.subject)
            shown = "" if row.subject == subject or times is None else f"{times:.2f} x"
            lines.append(
                f"| {row.subject} | {row.requests_per_s:,.0f} | {shown} | {row.cpu_us:.0f} "
                f"| {row.p50_s * 1e3:.2f} | {row.p99_s * 1e3:.2f} | {row.failures} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
