"""Finding and ending the processes a test started, whoever adopted them."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

DEADLINE_S = 20.0


class Family(NamedTuple):
    """All processes that inherited one environment variable, zombies excepted."""

    env: dict[str, str]
    mark: bytes

    def pids(self) -> set[int]:
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with suppress(OSError):
                    if self.mark in (entry / "environ").read_bytes():
                        found.add(int(entry.name))
        return found

    def running(self, command: bytes) -> list[int]:
        """Those whose command line contains `command`."""
        return [pid for pid in self.pids() if command in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture
def family() -> Iterator[Family]:
    """An environment for the processes of one test; what is left of them at its end is killed."""
    mark = f"GLIDEPATH_TEST_FAMILY={uuid.uuid4()}"
    name, _, value = mark.partition("=")
    processes = Family({**os.environ, name: value}, mark.encode())
    yield processes
    for pid in processes.pids():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Wait, with a deadline, for something other processes bring about."""

    def wait(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
        ends = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < ends, "it did not happen in time"
            time.sleep(0.02)

    return wait
