"""What a reader of figures must know about the machine; nothing that tells whose it is."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from loadtests.bench import procfs

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODEL = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)
_MEMORY = re.compile(r"^MemTotal:\s+(\d+) kB", re.MULTILINE)
_VERSION = re.compile(r"\d+(?:\.\d+)+")
BUSY_SHARE = 0.15
_NOISY_SPIN = 1.15
_NOISY_FOREIGN = 0.05


class Machine(msgspec.Struct, frozen=True):
    """The hardware and the versions of everything measured."""

    cpu: str
    cores: int
    memory_gb: int
    virtual: bool
    kernel: str
    python: str
    programs: dict[str, str]


def facts(peers: Mapping[str, str]) -> Machine:
    """Of this machine; `peers`: versions by name."""
    cpuinfo = _read("/proc/cpuinfo")
    return Machine(
        cpu=cpu_model(cpuinfo),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=memory_gb(_read("/proc/meminfo")),
        virtual=" hypervisor" in cpuinfo,
        kernel=".".join(platform.release().split(".")[:2]),
        python=platform.python_version(),
        programs={
            "glidepath": version("glidepath"),
            "nginx": _program_version("nginx", "-v"),
            "wrk": _program_version("wrk", "-v"),
            **peers,
        },
    )


def cpu_model(cpuinfo: str) -> str:
    """The processor's name of /proc/cpuinfo, "unknown" without one."""
    found = _MODEL.search(cpuinfo)
    return " ".join(found[1].split()) if found else "unknown"


def memory_gb(meminfo: str) -> int:
    """Rounded, of /proc/meminfo; 0 without an entry."""
    found = _MEMORY.search(meminfo)
    return round(int(found[1]) / 1024**2) if found else 0


def busy_share(before: Mapping[int, float], after: Mapping[int, float], wall_s: float) -> float:
    """Share of the machine others used between two readings of `procfs.cores_s`."""
    return sum(after[core] - before[core] for core in before) / (wall_s * len(before))


def is_noisy(spin_s: float, best_spin_s: float, foreign: float) -> bool:
    """Whether a turn was disturbed: a slow core, or others' processes on the subject's."""
    return spin_s > _NOISY_SPIN * best_spin_s or foreign > _NOISY_FOREIGN


def foreign_share(cores: tuple[int, ...], before: Mapping[int, float], own_s: float, wall_s: float) -> float:
    """Share of `cores` that processes other than the subject's had since `before`."""
    after = procfs.cores_s()
    total = sum(after[core] - before[core] for core in cores)
    return max(0.0, total - own_s) / (wall_s * len(cores))


def _read(path: str) -> str:
    return Path(path).read_text(errors="replace")


def _program_version(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = _VERSION.search(done.stdout + done.stderr)
    return found[0] if found else "unknown"
