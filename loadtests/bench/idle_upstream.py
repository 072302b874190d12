"""An upstream that begins a stream for every POST and then says little: `python -m loadtests.bench.idle_upstream`.

Every stream gets an event each `trickle_s`, spread evenly in time, and never ends by itself.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import cast

import httptools
import uvloop

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
_TICK_S = 0.02
_BACKLOG = 4096


def event(word: str) -> bytes:
    """One content event as one HTTP chunk."""
    data = (
        'data: {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "m", '
        f'"choices": [{{"index": 0, "delta": {{"content": "{word}"}}, "finish_reason": null}}]}}\n\n'
    )
    return f"{len(data):x}\r\n{data}\r\n".encode()


class Stream(asyncio.Protocol):
    """One connection of the subject."""

    def __init__(self, held: deque[Stream]) -> None:
        self._held = held
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Part of asyncio's protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Part of asyncio's protocol."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Part of asyncio's protocol."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Part of httptools' protocol: a POST begins a stream, anything else is a health check."""
        if self._transport is None:
            return
        if self._parser.get_method() != b"POST":
            self._transport.write(_PLAIN)
            return
        self._transport.write(_HEAD + event("once"))
        self._held.append(self)

    def trickle(self) -> bool:
        """Send one more event; False once the subject has gone."""
        if self._transport is None:
            return False
        self._transport.write(event("more"))
        return True


async def _trickle(held: deque[Stream], trickle_s: float) -> None:
    owed = 0.0
    while True:
        await asyncio.sleep(_TICK_S)
        owed += len(held) * _TICK_S / trickle_s
        while owed >= 1 and held:
            owed -= 1
            stream = held.popleft()
            if stream.trickle():
                held.append(stream)


async def _serve(port: int, trickle_s: float) -> None:
    held: deque[Stream] = deque()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stream(held), "127.0.0.1", port, backlog=_BACKLOG)
    async with server:
        await _trickle(held, trickle_s)


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
