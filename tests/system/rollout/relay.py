"""An address before a server that can go dark, or keep back what is said to the server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_ONCE = 65_536


class Relay:
    """Passes bytes to a port of this host and back.

    While `dark` it accepts and swallows, and closes nothing; a direction that lost bytes stays silent afterwards: what
    came after them would mean something else. What `keeps_back` says so of waits, with all that follows it on its
    connection, until `release`: as late as a network may deliver it, also when its sender has long gone.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._released = asyncio.Event()
        self.dark = False
        self.swallowed = 0
        """Pieces of data that vanished."""
        self.keeps_back: Callable[[bytes], bool] | None = None
        self.kept = 0
        self.late_answers: list[bytes] = []
        """What the server said on connections that had waited."""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def release(self) -> None:
        """Deliver what was kept back, and keep back no more."""
        self.keeps_back = None
        self._released.set()

    async def close(self) -> None:
        """Break all connections, and see them end."""
        assert self._server is not None
        self._server.close()
        await self.release()
        while self._open:
            for writer in tuple(self._open):
                writer.close()
            await asyncio.sleep(0.01)

    async def _serve(self, from_caller: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        try:
            from_server, server = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            caller.close()
            return
        self._open |= {caller, server}
        was_late = asyncio.Event()
        try:
            ways = self._ask(from_caller, server, was_late), self._answer(from_server, caller, was_late)
            await asyncio.gather(*ways)
        finally:
            self._open -= {caller, server}
            server.close()

    async def _ask(self, caller: asyncio.StreamReader, server: asyncio.StreamWriter, was_late: asyncio.Event) -> None:
        lost = False
        with contextlib.suppress(OSError):
            while data := await caller.read(_AT_ONCE):
                if self.keeps_back is not None and self.keeps_back(data):
                    was_late.set()
                    self.kept += 1
                    await self._released.wait()
                lost = lost or self.dark
                self.swallowed += lost
                if not lost:
                    server.write(data)
            server.write_eof()

    async def _answer(
        self, server: asyncio.StreamReader, caller: asyncio.StreamWriter, was_late: asyncio.Event
    ) -> None:
        lost = False
        with contextlib.suppress(OSError):
            while data := await server.read(_AT_ONCE):
                if was_late.is_set():
                    self.late_answers.append(data)
                lost = lost or self.dark
                self.swallowed += lost
                if not lost and not caller.is_closing():
                    caller.write(data)
        caller.close()
