"""Checks made before anything is started: a wrong path should cost the operator a second, not a minute of loading."""

from __future__ import annotations

import errno
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from serving.errors import PreflightError

if TYPE_CHECKING:
    from serving.spec import ModelSpec


def check_model(spec: ModelSpec) -> None:
    """Check that a local model has a readable configuration and weights. Raises PreflightError."""
    if not spec.is_local:
        return
    directory = Path(spec.model)
    if not directory.is_dir():
        raise PreflightError(
            f"no model directory at {directory}", "check `model` in the spec; it is relative to the TOML"
        )
    config = directory / "config.json"
    try:
        json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PreflightError(
            f"{directory} has no config.json", "point `model` at a Hugging Face model directory"
        ) from None
    except (OSError, ValueError) as error:
        raise PreflightError(
            f"{config} cannot be read: {error}", "restore the file from where the model came"
        ) from None
    for weights in sorted(directory.glob("*.safetensors")):
        _check_safetensors(weights)
    if not any(directory.glob("*.safetensors")) and not any(directory.glob("*.bin")):
        raise PreflightError(
            f"{directory} has no weights (*.safetensors)", "finish the download or the build of the model"
        )


def _check_safetensors(path: Path) -> None:
    """Compare the file's size with what its header promises: a cut download is the most frequent damage."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(header_bytes, size)))
        ends = [int(tensor["data_offsets"][1]) for name, tensor in header.items() if name != "__metadata__"]
        is_whole = size == 8 + header_bytes + max(ends, default=0)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        is_whole = False
    if not is_whole:
        raise PreflightError(f"{path} is damaged or incomplete", "copy or build the model again")


def check_port(spec: ModelSpec) -> None:
    """Check that the server could listen where the spec says. Raises PreflightError."""
    family = socket.AF_INET6 if ":" in spec.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((spec.host, spec.port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                cause, hint = f"port {spec.port} is already in use", "stop what uses it, or give another with --port"
            else:
                cause, hint = f"cannot listen on {spec.host}:{spec.port}: {error.strerror}", "check `host` and `port`"
            raise PreflightError(cause, hint) from None


def check_writable(path: Path) -> None:
    """Check that the file `path` could be written, making its folder. Raises PreflightError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a"):
            pass
    except OSError as error:
        raise PreflightError(f"cannot write {path}: {error.strerror}", "give another path") from None


def clear_ready_file(path: Path) -> None:
    """Remove what a killed run left, before anybody takes it for ours. Raises PreflightError if that cannot be done."""
    fresh = path.with_name(path.name + ".new")
    check_writable(fresh)
    try:
        fresh.unlink()
        path.unlink(missing_ok=True)
    except OSError as error:
        raise PreflightError(f"cannot write {path}: {error.strerror}", "give another path") from None


def free_port(host: str) -> int:
    """Let the kernel choose a free port of `host`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
