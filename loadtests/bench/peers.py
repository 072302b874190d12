"""Peers to measure beside: installed from PyPI into the user's cache, each in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

VLLM_ROUTER = "vllm-router==0.1.17"


def find_vllm_router(say: Callable[[str], None]) -> Path | None:
    """The router's program, installed on first use; None, loudly, where it can't be had."""
    folder = _cache() / VLLM_ROUTER.replace("==", "-")
    binary = folder / "bin" / "vllm-router"
    if (folder / "complete").exists():
        return binary
    say(f"installing {VLLM_ROUTER} for comparison ...")
    venv.create(folder, with_pip=True, clear=True)
    done = subprocess.run(
        [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", VLLM_ROUTER],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not binary.exists():
        say(f"WITHOUT vllm-router: it could not be installed: {done.stderr.strip().splitlines()[-1:]}")
        return None
    (folder / "complete").touch()
    return binary


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glidepath" / "bench"
