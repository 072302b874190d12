"""What the gateway's processes use, from /proc and its page of metrics, and whether that grows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_SERIES = re.compile(r"^([a-z_]+)(\{.*\})? ([-+.\dea-zA-Z]+)$", re.MULTILINE)
_LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')

Series = tuple[str, dict[str, str], float]


class Usage(NamedTuple):
    """Of one process: resident memory, open sockets, CPU time so far."""

    rss_bytes: int
    sockets: int
    cpu_s: float


class Sample(NamedTuple):
    """One look at the whole gateway; `gauges` summed over upstreams and workers."""

    at_s: float
    supervisor: Usage
    workers: Usage
    gauges: dict[str, float]


GAUGES = ("in_flight", "busy", "waiting", "idle", "queue", "places", "tasks")
_PLAIN = {
    "glidepath_requests_in_flight": "in_flight",
    "glidepath_queue_waiting": "queue",
    "glidepath_places_taken": "places",
    "glidepath_tasks": "tasks",
}


def usage_of(pid: int, proc: Path = PROC) -> Usage:
    """Read one process; zeros when it is gone."""
    own = proc / str(pid)
    try:
        rss_bytes = int((own / "statm").read_text().split()[1]) * _PAGE_BYTES
        fields = (own / "stat").read_text().rpartition(")")[2].split()
        descriptors = list((own / "fd").iterdir())
    except OSError:
        return Usage(0, 0, 0.0)
    return Usage(rss_bytes, sum(map(_is_socket, descriptors)), (int(fields[11]) + int(fields[12])) * _TICK_S)


def _is_socket(descriptor: Path) -> bool:
    try:
        return os.readlink(descriptor).startswith("socket:")  # noqa: PTH115  its target is no path
    except OSError:
        return False


def children_of(pid: int, proc: Path = PROC) -> list[int]:
    """The processes that this one started."""
    return [int(each) for each in (proc / str(pid) / "task" / str(pid) / "children").read_text().split()]


def together(usages: Iterable[Usage]) -> Usage:
    """Sum over processes."""
    found = list(usages)
    return Usage(
        sum(each.rss_bytes for each in found), sum(each.sockets for each in found), sum(each.cpu_s for each in found)
    )


def series_of(page: str) -> list[Series]:
    """Every series of a page of metrics: name, labels, value."""
    return [(name, dict(_LABEL.findall(labels or "")), float(value)) for name, labels, value in _SERIES.findall(page)]


def total(series: Iterable[Series], name: str, **labels: str) -> float:
    """Sum of the series of one name that have these labels."""
    return sum(
        value for own, its, value in series if own == name and all(its.get(key) == each for key, each in labels.items())
    )


def gauges_of(series: Sequence[Series]) -> dict[str, float]:
    """The gauges that must be zero when nobody calls, and idle connections and tasks, which need not."""
    found = {short: total(series, name) for name, short in _PLAIN.items()}
    for state in ("idle", "busy", "waiting"):
        found[state] = total(series, "glidepath_upstream_connections", state=state)
    return {name: found[name] for name in GAUGES}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least-squares slope; 0 for fewer than two moments."""
    count = len(points)
    if count == 0:
        return 0.0
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def second_half(samples: Sequence[Sample]) -> Sequence[Sample]:
    """The later half, by time."""
    if not samples:
        return samples
    middle_s = (samples[0].at_s + samples[-1].at_s) / 2
    return [each for each in samples if each.at_s >= middle_s]
