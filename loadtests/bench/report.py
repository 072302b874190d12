"""A document -> Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtests.bench.openloop import PERCENTILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtests.bench.estimates import Estimate
    from loadtests.bench.results import Document, TargetRow, ThroughputRow

_FULL_CORE = 0.9
_NOTES = (
    "Closed loop: wrk, as many requests as the subject takes. Ratios are medians of the ratios within a turn; brackets "
    "hold the interval of order statistics that covers the median (95 % where there are turns enough). A dagger: the "
    "subject's cores weren't full, so load generator or upstream were the limit and the subject could do more. "
    "Of paced streams, whose events come one by one, the pace sets the rate: their CPU tells. "
    "nginx only passes bytes on; the routers balance; glidepath does that with keys, flags and metrics. "
    "With *evidence* it also gathers that of three metrics for each single request, in a ramp (real "
    "conversations are fewer than requests); its CPU is that until the last request has been looked at."
)
_OPEN_LOOP = (
    "Open loop: requests leave when they are due whatever came back, time runs from when a request was due. "
    "Brackets: what is added over the upstream directly."
)
_IDLE = "Resident memory of all processes of the subject; the kernel's socket buffers are not in it."


def markdown(document: Document) -> str:
    """The whole report."""
    parts = ["# Benchmark", _heading(document), "## Targets", _targets(document.targets), "![requests/s](latest.svg)"]
    parts += ["## Throughput", _NOTES, *_throughput(document.throughput)]
    if document.scaling:
        rows = [
            [row.subject, str(row.workers), _number(row.efficiency, 2), _busy(row.busy)] for row in document.scaling
        ]
        parts += ["## Workers", _table(["", "workers", "of linear", "cores busy"], rows)]
    if document.latency:
        parts += ["## Latency at a fixed rate", _OPEN_LOOP, _latency(document)]
    if document.idle:
        parts += ["## Idle streams", _IDLE, _idle(document)]
    if document.skipped:
        parts += ["## Not measured", "\n".join(f"- {each.what}: {each.reason}" for each in document.skipped)]
    return "\n\n".join(parts) + "\n"


def _heading(document: Document) -> str:
    machine, noise = document.machine, document.noise
    programs = ", ".join(f"{name} {version}" for name, version in machine.programs.items())
    kind = "virtual, " if machine.virtual else ""
    return (
        f"{_warning(document)}{document.date}, "
        f"`glidepath bench` ({document.plan}, {document.duration_s / 60:.0f} min). "
        f"{machine.cpu} ({kind}{machine.cores} cores, {machine.memory_gb} GB), Linux {machine.kernel}, "
        f"Python {machine.python}; {programs}.\n\n"
        f"Noise: {noise.noisy_turns} of {noise.turns} turns disturbed; a fixed piece of work took up to "
        f"{noise.spin_worst:.2f} times its best, other processes had up to {noise.foreign_worst:.0%} of the subject's "
        f"cores, {noise.busy_at_start:.0%} of the machine was busy before the start."
    )


def _warning(document: Document) -> str:
    if document.plan == "quick":
        return "**A quick run: it shows that everything works, not how fast.** "
    if 2 * document.noise.noisy_turns > document.noise.turns:
        return "**Most turns were disturbed: take these figures on a quiet machine again.** "
    return ""


def _targets(rows: Iterable[TargetRow]) -> str:
    lines = [
        [
            row.name,
            f"{'≥' if row.at_least else '≤'} {row.goal:g} {row.unit}",
            "" if row.measured is None else _interval(row.measured, 2),
            f"**{row.verdict}**" if row.verdict != "met" else "met",
            row.note,
        ]
        for row in rows
    ]
    return _table(["", "goal", "measured", "", ""], lines, left=(0, 3, 4))


def _throughput(rows: Sequence[ThroughputRow]) -> list[str]:
    parts = []
    for workload, workers, connections in dict.fromkeys((row.workload, row.workers, row.connections) for row in rows):
        mine = [row for row in rows if (row.workload, row.workers, row.connections) == (workload, workers, connections)]
        cores = "one core" if workers == 1 else f"{workers} cores"
        parts.append(f"### {workload}, {connections} connections, {cores}")
        parts.append(
            _table(
                ["", "requests/s", "glidepath is", "CPU s/1 000", "p50 ms", "p99 ms", "failures"],
                [_throughput_row(row) for row in mine],
            )
        )
    return parts


def _throughput_row(row: ThroughputRow) -> list[str]:
    mark = "" if row.busy >= _FULL_CORE else " †"
    return [
        row.subject,
        f"{row.requests_per_s.value:,.0f}{mark}",
        "" if row.times is None else f"{_interval(row.times, 2)} x",
        f"{row.cpu_s_per_1000.value:.3f}",
        f"{row.p50_s.value * 1e3:.2f}",
        f"{row.p99_s.value * 1e3:.2f}",
        str(row.failures),
    ]


def _latency(document: Document) -> str:
    lines = []
    for row in document.latency:
        cells = [f"{row.rate_per_s:,}", row.subject]
        for name in PERCENTILES:
            own, added = row.latency_s.get(name), row.added_s.get(name)
            shown = "" if own is None else f"{own.value * 1e3:.2f}"
            cells.append(shown if added is None else f"{shown} (+{added.value * 1e3:.2f})")
        lines.append([*cells, str(row.failures), str(row.queued), f"{row.lag_p99_s * 1e6:.0f}"])
    heads = ["rate/s", "", *(f"{name} ms" for name in PERCENTILES), "failures", "queued", "client lag p99 µs"]
    return _table(heads, lines, left=(1,))


def _idle(document: Document) -> str:
    lines = [
        [
            row.subject,
            f"{row.streams:,}",
            f"{row.bytes_per_stream / 1e3:.1f}",
            f"{row.growth_share:+.1%} in {row.hold_s:g} s",
            str(row.lost),
        ]
        for row in document.idle
    ]
    return _table(["", "streams", "KB each", "growth", "lost"], lines)


def _interval(given: Estimate, digits: int) -> str:
    if given.turns == 1:
        return _number(given, digits)
    return f"{given.value:.{digits}f} [{given.low:.{digits}f}, {given.high:.{digits}f}]"


def _number(given: Estimate, digits: int) -> str:
    return f"{given.value:.{digits}f}"


def _busy(share: float) -> str:
    return f"{share:.0%}"


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    rule = ["---" if column in left else "---:" for column in range(len(heads))]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in (heads, rule, *lines))
