"""The simulator's socket side: reads HTTP/1.1 with httptools, performs scripts, and notices when a client leaves."""

import asyncio
import socket
import struct
import time
from collections import deque
from typing import Final

import httptools

from loadtests.simulator.control import Desk
from loadtests.simulator.door import Door
from loadtests.simulator.reply import End, Script
from loadtests.simulator.request import Request
from loadtests.simulator.stats import Ending, Exchange

_PIPELINE_LIMIT: Final = 64
_BODY_LIMIT_BYTES: Final = 64 << 20
# libuv's timers tick in milliseconds: what is due within half a tick goes now.
_SLACK_S: Final = 0.0005
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)
_DRAIN_GAP_S: Final = 0.002
_LINGER_S: Final = 1.0


class _Running:
    """A script being performed."""

    __slots__ = ("begun_s", "events_sent", "exchange", "position", "script")

    def __init__(self, script: Script, exchange: Exchange | None, begun_s: float) -> None:
        self.script = script
        self.exchange = exchange
        self.begun_s = begun_s
        self.position = 0
        self.events_sent = 0


class PartnerProtocol(asyncio.Protocol):
    """One client connection. Requests are answered in order; a lost connection settles the one in progress."""

    def __init__(self, desk: Desk, door: Door) -> None:
        self._desk = desk
        self._door = door
        self.operates = False
        self._number = 0
        self._served = 0
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Request] = deque()
        self._running: _Running | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False
        self._stopping = False
        self._refused = False
        self._body_bytes = 0
        self._begin_message()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell the door of a new connection."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # a TCP server's transport is one
        self._number = self._door.arrive(self)

    def data_received(self, data: bytes) -> None:
        """Read requests; refuse what is not HTTP."""
        if self._refused:
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(b"400 Bad Request")
        else:
            if len(self._waiting) > _PIPELINE_LIMIT:
                self._refuse(b"429 Too Many Requests")
            self._next()

    def _refuse(self, status: bytes) -> None:
        self._waiting.clear()
        if self._refused or self._transport.is_closing():
            return
        self._refused = True
        self._transport.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        # Closed at once, unread bytes would turn this answer into a reset on its way.
        self._transport.write_eof()
        self._loop.call_later(_LINGER_S, self._transport.close)

    def on_message_begin(self) -> None:
        """Forget the previous request (parser callback)."""
        self._begin_message()

    def _begin_message(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Collect the request target (parser callback)."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header (parser callback)."""
        lowered = name.lower()
        self._headers.append((lowered, value))
        if lowered == b"expect" and value.lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect the body up to the limit (parser callback)."""
        self._body_bytes += len(body)
        if self._body_bytes <= _BODY_LIMIT_BYTES:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Queue the request (parser callback)."""
        if self._body_bytes > _BODY_LIMIT_BYTES:
            self._refuse(b"413 Content Too Large")
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        self._waiting.append(
            Request(
                self._parser.get_method().decode(),
                path,
                b"".join(self._body),
                tuple(self._headers),
                self._parser.should_keep_alive(),
                query,
                self._number,
                self._served,
            )
        )
        self._served += 1

    def _next(self) -> None:
        while self._running is None and self._waiting and not self._refused and not self._transport.is_closing():
            script, exchange = self._desk.respond(self._waiting.popleft(), time.time())
            self.operates = exchange is None
            self._running = _Running(script, exchange, self._loop.time())
            self._perform()

    def _perform(self) -> None:
        """Write all that is due; when more is to come, be called again when it is."""
        self._timer = None
        running = self._running
        if running is None:
            return
        writes = running.script.writes
        while running.position < len(writes):
            write = writes[running.position]
            due_s = running.begun_s + write.due_s
            if self._paused:
                return
            if due_s > self._loop.time() + _SLACK_S:
                self._timer = self._loop.call_at(due_s, self._wake)
                return
            self._transport.write(write.data)
            running.position += 1
            running.events_sent += write.pieces
        self._end(running)

    def _end(self, running: _Running) -> None:
        end = running.script.end
        if end is End.HANG:
            return
        self._running = None
        if running.exchange is not None:
            after_s = self._loop.time() - running.begun_s
            running.exchange.settle(Ending.COMPLETED if running.script.whole else Ending.BROKEN, after_s)
        if end is End.CLOSE:
            self._transport.close()
        elif end is End.RESET:
            self._reset()

    def _reset(self) -> None:
        """Close with RST instead of FIN, as a crashed peer or a middlebox does, once all that was written has left."""
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():
            self._loop.call_later(_DRAIN_GAP_S, self._reset)
            return
        linger = (socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.get_extra_info("socket").setsockopt(*linger)
        self._transport.abort()

    def _wake(self) -> None:
        self._perform()
        self._next()

    def pause_writing(self) -> None:
        """Wait: the client reads more slowly than the script is due."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on where writing was paused."""
        self._paused = False
        if self._timer is None:
            self._wake()

    def stop(self) -> None:
        """Drop the connection because the simulator ends; what was in progress counts as broken, not as aborted."""
        self._stopping = True
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio passes it
        """Settle the request in progress: its client has left."""
        self._door.leave(self)
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        running, self._running = self._running, None
        if running is None or running.exchange is None:
            return
        after_s = self._loop.time() - running.begun_s
        if self._stopping:
            running.exchange.settle(Ending.BROKEN, after_s)
        else:
            running.exchange.abort(time.time(), after_s, running.events_sent)
