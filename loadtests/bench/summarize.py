"""Figures of all turns -> rows with medians and intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtests.bench.estimates import Estimate, differences, estimate, within_turns
from loadtests.bench.machine import is_noisy
from loadtests.bench.results import IdleRow, LatencyRow, Noise, ScalingRow, ThroughputRow
from loadtests.bench.subjects import DIRECT, OURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from loadtests.bench.figures import Answered, Cell, Figure, Held, Turn


def throughput(figures: Sequence[Figure]) -> tuple[ThroughputRow, ...]:
    """A row per cell, in the order measured, the fastest subject of a cell first."""
    found = [_throughput_row(cell, figures) for cell in dict.fromkeys(figure.cell for figure in figures)]
    groups = list(dict.fromkeys(_group(row) for row in found))
    return tuple(sorted(found, key=lambda row: (groups.index(_group(row)), -row.requests_per_s.value)))


def _group(row: ThroughputRow) -> tuple[str, int, int]:
    return row.workload, row.workers, row.connections


def _throughput_row(cell: Cell, figures: Sequence[Figure]) -> ThroughputRow:
    mine = [figure for figure in figures if figure.cell == cell]
    ours = cell._replace(subject=OURS)
    return ThroughputRow(
        workload=cell.workload,
        workers=cell.workers,
        connections=cell.connections,
        subject=cell.subject,
        requests_per_s=estimate([figure.requests_per_s for figure in mine]),
        times=None if cell == ours else within_turns(speeds(figures, ours), speeds(figures, cell)),
        cpu_s_per_1000=estimate([figure.cpu_s_per_1000 for figure in mine]),
        p50_s=estimate([figure.p50_s for figure in mine]),
        p99_s=estimate([figure.p99_s for figure in mine]),
        busy=estimate([figure.busy for figure in mine]).value,
        failures=sum(figure.failures for figure in mine),
    )


def speeds(figures: Sequence[Figure], cell: Cell) -> dict[int, float]:
    """Requests/s by turn."""
    return {figure.turn: figure.requests_per_s for figure in figures if figure.cell == cell}


def cpu(figures: Sequence[Figure], cell: Cell) -> dict[int, float]:
    """CPU seconds per 1 000 requests by turn."""
    return {figure.turn: figure.cpu_s_per_1000 for figure in figures if figure.cell == cell}


def scaling(figures: Sequence[Figure]) -> tuple[ScalingRow, ...]:
    """A row for each subject and number of workers above one. `figures`: of the scaling block only."""
    found = []
    for cell in dict.fromkeys(figure.cell for figure in figures if figure.cell.workers > 1):
        ratio = within_turns(speeds(figures, cell), speeds(figures, cell._replace(workers=1)))
        if ratio is not None:
            busy = estimate([figure.busy for figure in figures if figure.cell == cell]).value
            found.append(ScalingRow(cell.subject, cell.workers, scaled(ratio, 1 / cell.workers), busy))
    return tuple(found)


def scaled(given: Estimate, factor: float) -> Estimate:
    """The same estimate in another unit; `factor` is positive."""
    return Estimate(given.value * factor, given.low * factor, given.high * factor, given.coverage, given.turns)


def latency(answered: Sequence[Answered]) -> tuple[LatencyRow, ...]:
    """A row for each rate and subject."""
    return tuple(
        _latency_row(rate_per_s, subject, answered)
        for rate_per_s, subject in dict.fromkeys((each.rate_per_s, each.subject) for each in answered)
    )


def _latency_row(rate_per_s: int, subject: str, answered: Sequence[Answered]) -> LatencyRow:
    at_rate = [each for each in answered if each.rate_per_s == rate_per_s]
    mine = [each for each in at_rate if each.subject == subject]
    own, added = {}, {}
    for name in dict.fromkeys(name for each in mine for name in each.latency_s):
        by_turn = _by_turn(at_rate, subject, name)
        own[name] = estimate(list(by_turn.values()))
        over = differences(by_turn, _by_turn(at_rate, DIRECT, name))
        if over is not None and subject != DIRECT:
            added[name] = over
    return LatencyRow(
        rate_per_s=rate_per_s,
        subject=subject,
        latency_s=own,
        added_s=added,
        failures=sum(each.failures for each in mine),
        queued=sum(each.queued for each in mine),
        lag_p99_s=estimate([each.lag_p99_s for each in mine]).value,
    )


def _by_turn(answered: Sequence[Answered], subject: str, percentile: str) -> dict[int, float]:
    return {
        each.turn: each.latency_s[percentile]
        for each in answered
        if each.subject == subject and percentile in each.latency_s
    }


def idle(held: Sequence[Held]) -> tuple[IdleRow, ...]:
    """A row for each subject."""
    return tuple(
        IdleRow(
            subject=each.subject,
            streams=each.streams,
            bytes_per_stream=(each.held_bytes - each.before_bytes) / each.streams,
            growth_share=(each.later_bytes - each.held_bytes) / max(1, each.held_bytes - each.before_bytes),
            hold_s=each.hold_s,
            lost=each.lost,
        )
        for each in held
    )


def noise(turns: Sequence[Turn], figures: Mapping[str, Sequence[Figure]], busy_at_start: float) -> Noise:
    """How disturbed the turns were. `figures`: by block."""
    best_s = min((turn.spin_s for turn in turns), default=1.0)
    foreign = {
        (turn.block, turn.number): max(
            (each.foreign for each in figures.get(turn.block, ()) if each.turn == turn.number), default=0.0
        )
        for turn in turns
    }
    return Noise(
        busy_at_start=busy_at_start,
        turns=len(turns),
        noisy_turns=sum(is_noisy(turn.spin_s, best_s, foreign[turn.block, turn.number]) for turn in turns),
        spin_worst=max((turn.spin_s for turn in turns), default=best_s) / best_s,
        foreign_worst=max(foreign.values(), default=0.0),
    )
