"""An upstream whose streams come as a model makes them: `python -m loadtests.bench.paced_upstream PORT EVERY_S`.

Each POST gets the constant stream, an event (and an HTTP chunk) at a time, each `every_s` after the one before.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, cast

import httptools
import uvloop

from loadtests.bench.workloads import stream

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
_END = b"0\r\n\r\n"
_BACKLOG = 4096


def writes(answer: str) -> list[bytes]:
    """What is written at each beat: a chunk per event; the head goes with the first, the end with the last."""
    events = [f"{text}\n\n".encode() for text in answer.split("\n\n") if text]
    chunks = [b"%x\r\n%b\r\n" % (len(event), event) for event in events]
    return [_HEAD + chunks[0], *chunks[1:-1], chunks[-1] + _END]


class Stream(asyncio.Protocol):
    """One connection of the subject; requests on it come one after the other."""

    def __init__(self, beats: Sequence[bytes], every_s: float) -> None:
        self._beats = beats
        self._every_s = every_s
        self._next = 0
        self._loop = asyncio.get_running_loop()
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
        if self._parser.get_method() == b"POST":
            self._next = 0
            self._beat()
        elif self._transport is not None:
            self._transport.write(_PLAIN)

    def _beat(self) -> None:
        if self._transport is None:
            return
        self._transport.write(self._beats[self._next])
        self._next += 1
        if self._next < len(self._beats):
            self._loop.call_later(self._every_s, self._beat)


async def _serve(port: int, every_s: float) -> None:
    beats = writes(stream().answer)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stream(beats, every_s), "127.0.0.1", port, backlog=_BACKLOG)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
