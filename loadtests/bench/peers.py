"""Peers to measure beside: installed from PyPI into the user's cache, each pinned and in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_INSTALL_S = 900


class Peer(NamedTuple):
    """One distribution and the program it brings. `slow`: takes part in every third turn only."""

    name: str
    requirement: str
    version: str
    program: str
    rust_router: bool = False
    slow: bool = False


VLLM_ROUTER = Peer("vllm-router", "vllm-router", "0.1.17", "vllm-router", rust_router=True)
SGLANG_ROUTER = Peer("sglang-router", "sglang-router", "0.3.2", "sglang-router", rust_router=True)
LITELLM = Peer("litellm", "litellm[proxy]", "1.102.4", "litellm", slow=True)
PEERS = (VLLM_ROUTER, SGLANG_ROUTER, LITELLM)


def install(peer: Peer, say: Callable[[str], None]) -> tuple[Path | None, str]:
    """The peer's program, installed on first use, or None and why it can't be had."""
    folder = _cache() / f"{peer.name}-{peer.version}"
    program = folder / "bin" / peer.program
    if (folder / "complete").exists():
        return program, ""
    say(f"installing {peer.name} {peer.version} for comparison, once ...")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--only-binary", ":all:"]
    for argv in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [*pip, f"{peer.requirement}=={peer.version}"],
    ):
        reason = _run(argv)
        if reason:
            return None, f"not installable: {reason}"
    if not program.exists():
        return None, f"not installable: it brought no program {peer.program}"
    (folder / "complete").touch()
    return program, ""


def _run(argv: list[str]) -> str:
    """Empty if it went well, else the last line of what was complained about."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__} of {Path(argv[0]).name}"
    if done.returncode == 0:
        return ""
    return ((done.stderr or done.stdout).strip().splitlines() or ["no reason given"])[-1]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glidepath" / "bench"
