"""CPU time and memory from /proc, for all processes of one session: a subject with its workers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Used(NamedTuple):
    """CPU time (user and system, of ended children too) and resident memory."""

    cpu_s: float
    rss_bytes: int


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that matter here, see proc(5)."""

    session: int
    ticks: int
    pages: int


def parse_stat(text: str) -> Stat:
    """Read one /proc/PID/stat; the name in parentheses may hold anything."""
    fields = text.rpartition(")")[2].split()
    return Stat(int(fields[3]), sum(map(int, fields[11:15])), int(fields[21]))


def used(session: int) -> Used:
    """Sums over the processes of a session."""
    mine = [stat for stat in map(_stat, _PROC.glob("[0-9]*/stat")) if stat and stat.session == session]
    return Used(sum(stat.ticks for stat in mine) * _TICK_S, sum(stat.pages for stat in mine) * _PAGE_BYTES)


def _stat(path: Path) -> Stat | None:
    try:
        return parse_stat(path.read_text(errors="replace"))
    except (OSError, IndexError):
        return None


def parse_cores(text: str) -> dict[int, float]:
    """/proc/stat -> seconds each core spent on processes or had stolen by the host (interrupts are nobody's)."""
    found = {}
    for line in text.splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, stolen = (int(fields[index]) for index in (0, 1, 2, 7))
            found[int(name[3:])] = (user + nice + system + stolen) * _TICK_S
    return found


def cores_s() -> dict[int, float]:
    """As `parse_cores`, of now."""
    return parse_cores((_PROC / "stat").read_text())
