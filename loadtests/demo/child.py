"""One child process: its log, its end, and the certainty that it does not outlive us."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

_POLL_S = 0.05
_TAIL_BYTES = 16_384


class Command(NamedTuple):
    """How to run one part.

    `arguments`: those of the `glidepath` command, or of `program` (a path) if there is one. `death_signal` is what the
    part gets if we die without a word; `stop_s` is how long it may take to end after SIGTERM.
    """

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    death_signal: signal.Signals
    stop_s: float
    program: str | None = None


class Child:
    """A running part. Start it from the main thread: the kernel ties it to the thread that started it."""

    def __init__(self, command: Command, log: Path) -> None:
        """Start the process in a session of its own, so that Ctrl-C is ours to pass on, in order."""
        self.name = command.name
        self.log = log
        self._stop_s = command.stop_s
        log.parent.mkdir(parents=True, exist_ok=True)
        # -P: a folder called `gateway` in the working directory must not be taken for ours.
        python = (sys.executable, "-P", "-m")
        tether = (*python, "loadtests.demo.tether", str(os.getpid()), str(int(command.death_signal)))
        program = (*python, "gateway.cli") if command.program is None else (command.program,)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                (*tether, *program, *command.arguments),
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process id, which is its group's and session's as well."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return the exit code (negative: the signal), None while it runs."""
        return self._process.poll()

    async def ended(self) -> int:
        """Wait for the end and return the exit code."""
        while (code := self._process.poll()) is None:  # noqa: ASYNC110  no event tells of a process that polling owns
            await asyncio.sleep(_POLL_S)
        return code

    async def stop(self) -> None:
        """Ask it to end, and make it if it takes too long."""
        if self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(self._stop_s):
                await self.ended()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self.ended()

    def tail(self, lines: int) -> list[str]:
        """Return the last lines of the log that say something; the last state of a line that was drawn over."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        drawn = (line.rstrip().rpartition("\r")[2].rstrip() for line in text.split("\n"))
        return [line for line in drawn if line.strip()][-lines:]
