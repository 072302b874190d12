"""What the bench's own upstreams have in common: a stream for every POST, a plain answer for everything else."""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
BACKLOG = 4096
_PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Answering(asyncio.Protocol):
    """One connection of the subject; requests on it come one after the other."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None

    def begin(self) -> None:
        """A POST has come: begin its stream."""
        raise NotImplementedError

    def write(self, data: bytes) -> bool:
        """Send it; False once the subject has gone."""
        if self._transport is None:
            return False
        self._transport.write(data)
        return True

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
            self.begin()
        else:
            self.write(_PLAIN)
