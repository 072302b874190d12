"""The simulator's port: opened, closed for a while on command, and the connections that came through it."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from loadtests.errors import PortUnavailableError

_BACKLOG: Final = 4096
_REOPEN_ATTEMPTS: Final = 1000
_REOPEN_GAP_S: Final = 0.01


class Guest(Protocol):
    """One connection, as the door sees it."""

    @property
    def operates(self) -> bool:
        """Return whether it last brought a command for the simulator itself."""

    def stop(self) -> None:
        """Drop the connection."""


class Door:
    """One listening port; `make` builds the protocol of each connection."""

    def __init__(self, host: str, port: int, make: Callable[["Door"], asyncio.Protocol]) -> None:
        self.host = host
        self.port = port
        self.total = 0
        self.guests: set[Guest] = set()
        self._make = make
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reopening: asyncio.Task[None] | None = None

    @property
    def open_count(self) -> int:
        """Return how many connections are open now."""
        return len(self.guests)

    async def open(self) -> None:
        """Listen (port 0 picks a free one, for good); raises PortUnavailableError."""
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: self._make(self), self.host, self.port, backlog=_BACKLOG)
        except OSError as error:
            cause = f"the simulator cannot listen on {self.host}:{self.port}: {error.strerror or error}"
            raise PortUnavailableError(cause, "choose another --port or --host, or stop what listens there") from None
        self._server = server
        self.port = server.sockets[0].getsockname()[1]

    def arrive(self, guest: Guest) -> int:
        """Take in a connection; its number."""
        self.guests.add(guest)
        self.total += 1
        return self.total

    def leave(self, guest: Guest) -> None:
        """Forget a connection that is closed."""
        self.guests.discard(guest)

    def refuse(self, seconds: float, *, drop: bool) -> None:
        """Refuse new connections for so long, from now on; with `drop` the open ones end too, but for the caller's."""
        loop = asyncio.get_running_loop()
        self._stop_listening()
        self._timer = loop.call_later(seconds, self._begin_reopening)
        if drop:
            # Once the command's own connection has its answer and is known by it.
            loop.call_soon(self._drop)

    def _drop(self) -> None:
        for guest in tuple(self.guests):
            if not guest.operates:
                guest.stop()

    def _stop_listening(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        if self._server is not None:
            self._server.close()
            self._server = None

    def _begin_reopening(self) -> None:
        self._timer = None
        self._reopening = asyncio.get_running_loop().create_task(self._reopen())

    async def _reopen(self) -> None:
        """Listen on the same port again; somebody else's outgoing connection may hold it for a moment."""
        for _ in range(_REOPEN_ATTEMPTS):
            try:
                return await self.open()
            except PortUnavailableError:
                await asyncio.sleep(_REOPEN_GAP_S)
        return await self.open()

    def close(self) -> None:
        """Stop listening for good and drop every connection."""
        self._stop_listening()
        for guest in tuple(self.guests):
            guest.stop()
