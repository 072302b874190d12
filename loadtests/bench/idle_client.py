"""Opens many streams and holds them: `python -m loadtests.bench.idle_client` with JSON on stdin.

Prints "held N" when every stream has had its first bytes, waits for a line on stdin, prints "lost N" and ends.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import msgspec
import uvloop

_OPEN_S = 120.0


class Order(msgspec.Struct, frozen=True):
    """How many streams to open where, at most `window` of them waiting for their first byte at a time."""

    port: int
    request: str
    streams: int
    window: int = 64


class Stream(asyncio.Protocol):
    """One stream; what comes after its first bytes is thrown away."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's protocol."""
        cast("asyncio.Transport", transport).write(self._crowd.request)

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's protocol."""
        if not self._begun:
            self._begun = True
            self._crowd.begun(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Part of asyncio's protocol."""
        self._crowd.lost += 1
        if not self._begun:
            self._crowd.begun(b"")


class Crowd:
    """All streams of one order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.request = order.request.encode()
        self._window = asyncio.Semaphore(order.window)
        self._left = order.streams
        self._all_begun = asyncio.Event()
        self.good = 0
        self.lost = 0

    def begun(self, data: bytes) -> None:
        """Count the first bytes of a stream, or that it never had any."""
        self.good += data.startswith(b"HTTP/1.1 200 ")
        self._left -= 1
        self._window.release()
        if self._left == 0:
            self._all_begun.set()

    async def open(self) -> None:
        """Open all streams and wait until each has begun."""
        loop = asyncio.get_running_loop()
        for _ in range(self._order.streams):
            await self._window.acquire()
            await loop.create_connection(lambda: Stream(self), "127.0.0.1", self._order.port)
        await self._all_begun.wait()


async def _hold(order: Order) -> None:
    crowd = Crowd(order)
    async with asyncio.timeout(_OPEN_S):
        await crowd.open()
    sys.stdout.write(f"held {crowd.good}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    sys.stdout.write(f"lost {crowd.lost}\n")


if __name__ == "__main__":
    uvloop.run(_hold(msgspec.json.decode(sys.stdin.readline(), type=Order)))
