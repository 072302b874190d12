"""The goals of the design, and how far a run met them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtests.bench import summarize
from loadtests.bench.estimates import Estimate, within_turns
from loadtests.bench.figures import Cell
from loadtests.bench.micro import RULES
from loadtests.bench.results import TargetRow, Verdict
from loadtests.bench.subjects import GATHERING, NGINX, OURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.bench.figures import Figure
    from loadtests.bench.results import DecisionRow, IdleRow, LatencyRow, ScalingRow, ThroughputRow

_RATE_PER_S = 1_000
_GROWTH_MAX = 0.02
_COVERAGE_MIN = 0.9


def verdict(measured: Estimate | None, goal: float, *, at_least: bool) -> Verdict:
    """By the whole interval, not by the median; of too few turns nothing follows."""
    if measured is None:
        return Verdict.NOT_MEASURED
    if measured.coverage < _COVERAGE_MIN:
        return Verdict.UNCLEAR
    best, worst = (measured.high, measured.low) if at_least else (-measured.low, -measured.high)
    bound = goal if at_least else -goal
    if worst >= bound:
        return Verdict.MET
    if best < bound:
        return Verdict.MISSED
    return Verdict.UNCLEAR


def at_least(name: str, goal: float, unit: str, measured: Estimate | None, note: str = "") -> TargetRow:
    """A goal that is a lower bound."""
    return TargetRow(name, goal, True, unit, measured, verdict(measured, goal, at_least=True), note)


def at_most(name: str, goal: float, unit: str, measured: Estimate | None, note: str = "") -> TargetRow:
    """A goal that is an upper bound."""
    return TargetRow(name, goal, False, unit, measured, verdict(measured, goal, at_least=False), note)


def speed(rows: Sequence[ThroughputRow], streams: str, rust_routers: Sequence[str]) -> list[TargetRow]:
    """Requests per second on one core, beside the fastest Rust router and nginx; of each workload the first cell."""
    found = []
    for title, is_stream, nginx_goal in (("requests/s, non-stream", False, 0.5), (f"streams/s, {streams}", True, 0.6)):
        mine = [row for row in rows if row.workers == 1 and row.workload.startswith("stream") == is_stream]
        first = [row for row in mine if (row.workload, row.connections) == _first_cell(mine)]
        routers = [row for row in first if row.subject in rust_routers]
        fastest = max(routers, key=lambda row: row.requests_per_s.value, default=None)
        times = None if fastest is None else fastest.times
        beside = "no Rust router was measured" if fastest is None else f"beside {fastest.subject}"
        found.append(at_least(f"{title}: over the fastest Rust router", 1.5, "x", times, beside))
        nginx = next((row.times for row in first if row.subject == NGINX), None)
        found.append(at_least(f"{title}: over nginx", nginx_goal, "x", nginx))
    return found


def _first_cell(rows: Sequence[ThroughputRow]) -> tuple[str, int] | None:
    """Of the workloads the smallest, as the plan puts it first."""
    return next(((row.workload, row.connections) for row in rows), None)


def per_cpu(title: str, figures: Sequence[Figure], rust_routers: Sequence[str]) -> list[TargetRow]:
    """The same goals by the CPU a request takes, which a machine that is short of CPU changes less.

    `figures`: of one block; of its workloads the first counts.
    """
    cells = _first_cells(figures)
    mine = summarize.cpu(figures, cells[OURS]) if OURS in cells else {}
    times = {name: within_turns(summarize.cpu(figures, cell), mine) for name, cell in cells.items()}
    routers = {name: each for name, each in times.items() if name in rust_routers and each is not None}
    best = min(routers, key=lambda name: routers[name].value, default=None)
    beside = "no Rust router was measured" if best is None else f"beside {best}"
    over, nginx_goal = f"{title} per CPU second: over", 0.5 if title == "requests" else 0.6
    return [
        at_least(f"{over} the best Rust router", 1.5, "x", None if best is None else routers[best], beside),
        at_least(f"{over} nginx", nginx_goal, "x", times.get(NGINX)),
    ]


def _first_cells(figures: Sequence[Figure]) -> dict[str, Cell]:
    """By subject, of the first workload."""
    first = figures[0].cell if figures else None
    return {
        each.cell.subject: each.cell
        for each in figures
        if first is not None and each.cell.workload == first.workload and each.cell.connections == first.connections
    }


def added_latency(rows: Sequence[LatencyRow]) -> list[TargetRow]:
    """What the gateway adds at 1 000 requests/s, without and with evidence of each."""
    added = {row.subject: row.added_s for row in rows if row.rate_per_s == _RATE_PER_S}
    return [
        at_most(
            f"added at {_RATE_PER_S:,} requests/s{how}, {name}", goal_ms, "ms", _in_ms(added.get(subject, {}).get(name))
        )
        for subject, how in ((OURS, ""), (GATHERING, " with evidence"))
        for name, goal_ms in (("p50", 0.15), ("p99", 1.0))
    ]


def _in_ms(given: Estimate | None) -> Estimate | None:
    return None if given is None else summarize.scaled(given, 1e3)


def scaling(rows: Sequence[ScalingRow], workers: Sequence[int]) -> list[TargetRow]:
    """Linear up to the cores."""
    ours = {row.workers: row.efficiency for row in rows if row.subject == OURS}
    return [at_least(f"scaling to {each} workers", 0.9, "of linear", ours.get(each)) for each in workers]


def idle(rows: Sequence[IdleRow]) -> list[TargetRow]:
    """Memory of streams held open."""
    row = next((row for row in rows if row.subject == OURS), None)
    memory = growth = None
    note = ""
    if row is not None:
        memory, growth = _once(row.bytes_per_stream / 1e3), _once(100 * row.growth_share)
        note = f"{row.streams:,} streams, {row.lost} lost"
    return [
        at_most("memory of an idle stream", 30, "KB", memory, note),
        at_most("its growth while held", 100 * _GROWTH_MAX, "%", growth, f"over {row.hold_s:g} s" if row else ""),
    ]


def _once(value: float) -> Estimate:
    return Estimate(value, value, value, 1.0, 1)


def decision(row: DecisionRow | None) -> list[TargetRow]:
    """A flag decision."""
    measured = None if row is None else summarize.scaled(row.decision_s, 1e6)
    note = "" if row is None else f"{row.features} features, each with {RULES} rules, all looked at, and a holdout"
    return [at_most("flag decision", 3, "µs", measured, note)]


def size(figures: Sequence[Figure]) -> list[TargetRow]:
    """CPU of a large prompt over a small one, within a turn."""
    cells = [figure.cell for figure in figures if figure.cell.subject == OURS and figure.cell.workers == 1]
    small = next((cell for cell in cells if cell.workload == "1 KB request"), None)
    large = next((cell for cell in cells if cell.workload == "100 KB request"), None)
    measured = None
    if isinstance(small, Cell) and isinstance(large, Cell):
        measured = within_turns(summarize.cpu(figures, large), summarize.cpu(figures, small))
    return [at_most("CPU of a 100 KB prompt over 1 KB", 2, "x", measured)]
