"""What every test of the project shares: Hypothesis profiles, waiting for something to become true, and processes."""

import asyncio
import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from rollout.adapters import sqlite_connection, sqlite_host, sqlite_schema

# No deadline: a slow machine is no failure. No database: a run leaves nothing behind and depends on nothing before it.
settings.register_profile("glidepath", deadline=None, database=None)
# For tests/mirror_coverage.py, where random examples must not decide what is covered.
settings.register_profile("mirror", deadline=None, database=None, derandomize=True, max_examples=5)
# For `make check`: the same properties on fewer examples.
settings.register_profile("quick", deadline=None, database=None, max_examples=20)
settings.load_profile("glidepath")

DEADLINE_S = 60.0
START_DEADLINE_S = 60.0


@pytest.fixture(autouse=True)
def patient_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk or a writer that stalls for seconds is no failure. Files that test these bounds override it."""
    for module in (sqlite_connection, sqlite_host, sqlite_schema):
        monkeypatch.setattr(module, "BUSY_S", DEADLINE_S / 2)
    monkeypatch.setattr(sqlite_connection, "_LIMIT_S", DEADLINE_S)


def pytest_collection_finish() -> None:
    """What ten thousand collected tests hold stays to the end: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait, with a deadline, for a condition that other tasks bring about."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110  whoever brings it about has no event to set
                await asyncio.sleep(0.002)

    return wait


class Command:
    """A `glidepath` command in a process of its own, its output in files."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, environment: dict[str, str], number: int) -> None:
        self._out, self._err = (folder / f"{arguments[0]}-{number}.{name}" for name in ("out", "err"))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GLIDEPATH_")}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway.cli", *arguments],
                cwd=folder,
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text("utf-8")

    @property
    def stderr(self) -> str:
        return self._err.read_text("utf-8")

    def shown(self, pattern: str) -> re.Match[str]:
        """Wait until stdout matches; fails if the process ends first."""
        limit_s = time.monotonic() + START_DEADLINE_S
        while time.monotonic() < limit_s:
            ended = self.process.poll() is not None
            found = re.search(pattern, self.stdout)
            if found:
                return found
            assert not ended, f"ended with {self.process.returncode}: {self.stdout}{self.stderr}"
            time.sleep(0.02)
        pytest.fail(f"no {pattern!r} within {START_DEADLINE_S} s: {self.stdout}{self.stderr}")

    def end(self) -> int:
        """Wait for its own end; the exit code."""
        return self.process.wait(START_DEADLINE_S)

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Tell it to end, wait, and see that nothing of it is left; the exit code."""
        self.process.send_signal(signum)
        code = self.end()
        with pytest.raises(ProcessLookupError):
            os.killpg(self.process.pid, 0)
        return code


def _commands(folder: Path) -> Iterator[Callable[..., Command]]:
    started: list[Command] = []

    def start(*arguments: str, **environment: str) -> Command:
        started.append(Command(arguments, folder, environment, len(started)))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            os.killpg(each.process.pid, signal.SIGKILL)
            each.process.wait()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    """Start `glidepath` commands in an empty folder; whatever still runs at the end is killed."""
    yield from _commands(tmp_path)


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `module_command`."""
    return tmp_path_factory.mktemp("module")


@pytest.fixture(scope="module")
def module_command(module_folder: Path) -> Iterator[Callable[..., Command]]:
    """As `command`, for processes that the tests of one file share."""
    yield from _commands(module_folder)
