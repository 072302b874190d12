"""One worker as its supervisor sees it: the process, the line to it, and where it is in its life."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from gateway.channel import Channel
from gateway.core import messages as say
from gateway.core.lives import Event, State, advance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.series import Reading

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# The worker handles SIGTERM once it can; the others are the supervisor's alone (Ctrl-C reaches the whole group).
_BLOCKED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class WorkerProcess:
    """A started worker. `gone` is set when the process has ended and all it said has been heard."""

    def __init__(self, number: int, slot: int, listeners: Sequence[socket.socket]) -> None:
        """Start the process; it loads what it needs and waits for `configure`."""
        self.number, self.slot = number, slot
        self.slots = len(listeners)
        self.state = State.STARTING
        self.started_at_s = self.heard_at_s = monotonic()
        self.failure: say.Failed | None = None
        self.readings: tuple[Reading, ...] = ()
        self.accepts: tuple[int, ...] | None = None
        self.settled = asyncio.Event()
        """Set once it is ready, or gone."""
        self.gone = asyncio.Event()
        self._listener_fds = tuple(each.fileno() for each in listeners)
        self._line, theirs = socket.socketpair()
        with theirs:
            self.process = _spawn(theirs.fileno(), self._listener_fds)
        self._ended = asyncio.Event()
        self._exited = asyncio.Event()
        self._pidfd = os.pidfd_open(self.process.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_exit)

    async def open(self, on_message: Callable[[WorkerProcess, say.Message], None]) -> None:
        """Begin to listen to it, and to watch for its end."""
        self.channel = Channel(lambda message: on_message(self, message), self._ended.set)
        await asyncio.get_running_loop().create_unix_connection(lambda: self.channel, sock=self._line)

    @property
    def listener_fds(self) -> tuple[int, ...]:
        """Descriptors of the listening sockets, the same in both processes."""
        return self._listener_fds

    def move(self, event: Event) -> None:
        """Note what happened to it."""
        self.state = advance(self.state, event)
        if self.state is not State.STARTING:
            self.settled.set()

    def accept(self, slots: tuple[int, ...]) -> None:
        """Have it accept from these slots, if it doesn't already."""
        if slots != self.accepts:
            self.accepts = slots
            self.channel.send(say.Accept(slots))

    def drain(self, order: say.Drain) -> None:
        """Have it end."""
        self.move(Event.DRAIN)
        self.channel.send(order)

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()

    async def wait(self) -> None:
        """Wait until it is gone: its last words are in the line still when its process has ended."""
        await self._exited.wait()
        await self._ended.wait()
        self.move(Event.EXITED)
        self.gone.set()

    @property
    def end(self) -> str:
        """How it ended."""
        code = self.process.returncode
        if self.failure is not None:
            return self.failure.cause
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    @property
    def memory_bytes(self) -> int:
        """Resident memory; 0 when it is gone."""
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]) * _PAGE_BYTES
        except (OSError, IndexError):
            return 0

    def _on_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.process.wait()
        self._exited.set()


def _spawn(line: int, listeners: tuple[int, ...]) -> subprocess.Popen[bytes]:
    # As this process finds its modules: a folder named `gateway` where it was started must not come first.
    here = [] if str(Path.cwd()) in sys.path or "" in sys.path else ["-P"]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    try:
        return subprocess.Popen(
            [sys.executable, *here, "-m", "gateway.worker", str(line)],
            stdin=subprocess.DEVNULL,
            pass_fds=(line, *listeners),
            env={"OPENBLAS_NUM_THREADS": "1", **os.environ},  # numpy would start a thread for each core, for nothing
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
