"""An address before a server that can go dark: it accepts and swallows, and closes nothing."""

from __future__ import annotations

import asyncio
import contextlib

_AT_ONCE = 65_536


class Relay:
    """Passes bytes to a port of this host and back, until it is told to swallow them.

    A direction that lost bytes stays silent when it is light again: what came after them would mean something else.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.dark = False
        self.swallowed = 0
        """Pieces of data that vanished."""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._open):
            writer.close()

    async def _serve(self, from_caller: asyncio.StreamReader, caller: asyncio.StreamWriter) -> None:
        try:
            from_server, server = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            caller.close()
            return
        self._open |= {caller, server}
        try:
            await asyncio.gather(self._pass(from_caller, server), self._pass(from_server, caller))
        finally:
            self._open -= {caller, server}

    async def _pass(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        lost = False
        with contextlib.suppress(OSError):
            while data := await source.read(_AT_ONCE):
                lost = lost or self.dark
                if lost:
                    self.swallowed += 1
                else:
                    target.write(data)
        target.close()
