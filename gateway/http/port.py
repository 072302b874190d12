"""The public port in one worker: accepts from the sockets it is told to, and lets its connections end well."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, cast

import uvicorn
from uvicorn.server import ServerState

from gateway.http.server import RelayProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from fastapi import FastAPI

    from gateway.http.server import Reception

BACKLOG = 4096
_TURNS_TO_OPEN = 2
"""Of the loop, from an accepted connection to its `connection_made`: one with uvloop, two with asyncio's own."""


class PublicPort:
    """Connections of one worker. Keeps the sockets it is given open by itself: each is accepted from by a duplicate."""

    def __init__(self, app: FastAPI, reception: Reception, *, keep_alive_s: float) -> None:
        self._keep_alive_s = keep_alive_s
        self._reception = reception
        self._config = uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", reception),
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=max(1, round(keep_alive_s)),
        )
        self._config.load()
        self._state = ServerState()
        self._servers: dict[int, asyncio.Server] = {}
        self._accepting = asyncio.Lock()
        self._date_of_s = 0

    @property
    def connections(self) -> list[RelayProtocol]:
        """Those open now."""
        return [each for each in self._state.connections if isinstance(each, RelayProtocol)]

    async def accept_from(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections of these sockets, and no longer of others.

        Whoever was accepted until then is among `connections` when this returns, and may be waited for.
        """
        wanted = {each.fileno(): each for each in sockets}
        async with self._accepting:
            await self._leave(self._servers.keys() - wanted.keys())
            loop = asyncio.get_running_loop()
            self.sweep(perf_counter())  # the first answer has a date
            for number in wanted.keys() - self._servers.keys():
                own = wanted[number].dup()
                self._servers[number] = await loop.create_server(self._connect, sock=own, backlog=BACKLOG)

    def begin_drain(self) -> None:
        """From now on every answer says that its connection ends with it."""
        self._reception.draining = True
        for connection in self.connections:
            connection.begin_drain()

    def close_idle(self, idle_s: float) -> None:
        """Close connections on which nothing has come for `idle_s`."""
        now_s = perf_counter()
        for connection in self.connections:
            if not connection.unread():
                connection.close_if_idle(now_s, idle_s)

    def abort(self) -> None:
        """Close whatever is left, at once."""
        for connection in self.connections:
            connection.transport.abort()

    def sweep(self, now_s: float) -> None:
        """Expire idle connections (`now_s`: perf_counter); keep the date of answers current."""
        today_s = int(time.time())
        if today_s != self._date_of_s:
            self._date_of_s = today_s
            self._state.default_headers = [(b"date", formatdate(today_s, usegmt=True).encode("ascii"))]
        for connection in self.connections:
            connection.close_if_idle(now_s, self._keep_alive_s)

    async def _leave(self, numbers: Iterable[int]) -> None:
        """Stop accepting, and have whoever was accepted already open: each would end unheard with the worker.

        asyncio's own loop drops whom it opens for a server that is closed, so there reading ends first.
        """
        servers = [self._servers.pop(number) for number in numbers]
        if not servers:
            return
        loop = asyncio.get_running_loop()
        for listener in chain.from_iterable(server.sockets for server in servers):
            loop.remove_reader(listener.fileno())
        await _turn()
        for server in servers:
            server.close()
        await _turn()

    def _connect(self) -> asyncio.Protocol:
        return cast("asyncio.Protocol", self._reception(config=self._config, server_state=self._state, app_state={}))


async def _turn() -> None:
    for _ in range(_TURNS_TO_OPEN):
        await asyncio.sleep(0)
