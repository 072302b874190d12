"""Where stores of simulated time live: in memory if it can be, since how slow a disk is proves nothing."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

_MEMORY = Path("/dev/shm")  # noqa: S108  folders of our own in it


def folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)
