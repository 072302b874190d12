"""The public port's HTTP protocol: relay requests leave uvicorn's ASGI machinery before it begins.

Subclasses uvicorn's httptools protocol (minor version pinned, shape checked by `tests/gateway/http/test_server.py`).
A POST to a relay path becomes an `Incoming`, which quacks like uvicorn's request cycle as far as the parent looks at
it (keep-alive, pipelining, shutdown); everything else takes the parent's way to FastAPI.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.core.errors import ApiError, render_body

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

_STATUS_LINE = {
    status: b"HTTP/1.1 %d %s\r\n" % (status, reason)
    for status, reason in (
        (200, b"OK"),
        (400, b"Bad Request"),
        (401, b"Unauthorized"),
        (403, b"Forbidden"),
        (404, b"Not Found"),
        (413, b"Content Too Large"),
        (429, b"Too Many Requests"),
        (500, b"Internal Server Error"),
        (502, b"Bad Gateway"),
        (503, b"Service Unavailable"),
        (504, b"Gateway Timeout"),
    )
}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE = b"connection: close\r\n"
_HEAD_BYTES_MAX = 65_536


class Listener(Protocol):
    """Whoever answers an `Incoming`."""

    def on_caller_gone(self) -> None:
        """Handle that the caller's connection is lost before the answer was complete."""
        ...

    def on_caller_blocked(self) -> None:
        """Stop producing: the caller reads slower than the upstream writes."""
        ...

    def on_caller_ready(self) -> None:
        """Produce again."""
        ...


class _NoEvent:
    """Stands where the parent expects an asyncio.Event; the relay has nobody waiting."""

    __slots__ = ()

    def set(self) -> None:
        """Nothing to wake."""


_NO_EVENT = _NoEvent()


class Incoming:
    """One relay request and the right to answer it once."""

    message_event = _NO_EVENT
    listener: Listener | None = None
    more_body = True
    response_complete = False
    disconnected = False
    started = False
    body_refused = False
    begun = False
    """Whether the head of the answer has been written."""
    _size = 0
    _chunked = False

    def __init__(
        self, protocol: RelayProtocol, operation: str, headers: dict[bytes, bytes], *, keep_alive: bool
    ) -> None:
        self.protocol = protocol
        self.operation = operation
        self.headers = headers
        self.arrived_at_s = perf_counter()
        self.keep_alive = keep_alive
        self._chunks: list[bytes] = []

    @property
    def body(self) -> bytes:
        """The whole request body."""
        chunks = self._chunks
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def feed(self, chunk: bytes, size_max: int) -> None:
        """Take a piece of the request body, refusing what is over `size_max` bytes in total."""
        self._size += len(chunk)
        if self._size > size_max:
            self.body_refused = True
            self._chunks.clear()
        else:
            self._chunks.append(chunk)

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        """Write a whole answer in one write. `head`: header lines, each ended by CRLF, without lengths."""
        if self.disconnected or self.response_complete:
            return
        self.begun = True
        close = b"" if self.keep_alive else _CLOSE
        self.protocol.transport.write(
            b"%b%b%bcontent-length: %d\r\n%b\r\n%b"
            % (status_line(status), self.protocol.date_line(), head, len(body), close, body)
        )
        self._complete()

    def begin(self, status: int, head: bytes, chunk: bytes, length: int | None = None) -> None:
        """Write the head and the first bytes of an answer that goes on; chunked unless `length` is known."""
        if self.disconnected or self.response_complete:
            return
        self.begun = True
        self._chunked = length is None
        close = b"" if self.keep_alive else _CLOSE
        framing = b"transfer-encoding: chunked\r\n" if length is None else b"content-length: %d\r\n" % length
        first = b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked and chunk else chunk
        self.protocol.transport.write(
            b"%b%b%b%b%b\r\n%b" % (status_line(status), self.protocol.date_line(), head, framing, close, first)
        )

    def send(self, chunk: bytes) -> None:
        """Write more of the answer, as one chunk."""
        if chunk and not self.disconnected and not self.response_complete:
            self.protocol.transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._chunked else chunk)

    def finish(self, chunk: bytes = b"") -> None:
        """Write the last bytes and end the message."""
        if self.disconnected or self.response_complete:
            return
        if self._chunked:
            last = b"%x\r\n%b\r\n0\r\n\r\n" % (len(chunk), chunk) if chunk else b"0\r\n\r\n"
            self.protocol.transport.write(last)
        elif chunk:
            self.protocol.transport.write(chunk)
        self._complete()

    def abort(self) -> None:
        """End a begun answer without its proper end: the caller must be able to tell that something is missing."""
        if not self.disconnected and not self.response_complete:
            self.response_complete = True
            self.protocol.transport.close()

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive or self.more_body:
            self.protocol.transport.close()
        self.protocol.on_response_complete()


def status_line(status: int) -> bytes:
    """HTTP/1.1 status line with CRLF; unknown codes get no phrase."""
    return _STATUS_LINE.get(status) or b"HTTP/1.1 %d \r\n" % status


class RelayProtocol(HttpToolsProtocol):
    """See the module. Make a class with `relay_protocol`; uvicorn instantiates it per connection."""

    relay_paths: Mapping[bytes, str]
    body_max_bytes: int
    accept: Callable[[Incoming], None]

    _active: Incoming | None = None
    _in_head = False
    _head_size = 0
    _idle_since_s = 0.0
    _date_of: list[tuple[bytes, bytes]] | None = None
    _date_line = b""

    def data_received(self, data: bytes) -> None:
        """Feed the parser; bytes that are no HTTP, or a head without end, end the connection."""
        self._idle_since_s = 0.0
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("The request is not valid HTTP/1.1.")
        except httptools.HttpParserUpgrade:
            # Its answer is still due; what follows on this connection would no longer be HTTP.
            self.cycle.keep_alive = False
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > _HEAD_BYTES_MAX:
                self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        """Begin cheaply; the ASGI scope is only built for requests that go to the parent."""
        self.url = b""
        self.headers = []
        self._in_head = True
        self._head_size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header line (parser callback)."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take relay requests, leave the rest to the parent."""
        self._in_head = False
        parser = self.parser
        operation = self.relay_paths.get(self.url) or self.relay_paths.get(self.url.partition(b"?")[0])
        if operation is None or parser.get_method() != b"POST":
            self._hand_to_parent()
            return
        incoming = Incoming(self, operation, dict(self.headers), keep_alive=parser.should_keep_alive())
        existing: Any = self.cycle
        self.cycle = cast("Any", incoming)
        if b"expect" in incoming.headers and incoming.headers[b"expect"].lower() == b"100-continue":
            self.transport.write(_CONTINUE)
        if existing is None or existing.response_complete:
            incoming.started = True
            self._active = incoming
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Collect a relay body; everything else is the parent's."""
        cycle: Any = self.cycle
        if type(cycle) is Incoming:
            cycle.feed(body, self.body_max_bytes)
            if cycle.body_refused and cycle.started and not cycle.response_complete:
                self._refuse_body(cycle)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: answer it, or let it wait its turn in the pipeline."""
        cycle: Any = self.cycle
        if type(cycle) is Incoming:
            cycle.more_body = False
            if cycle.started and not cycle.response_complete:
                self.accept(cycle)
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """As the parent, with a time stamp instead of a timer per request for keep-alive."""
        cycle: Any = self.cycle
        if type(cycle) is not Incoming and not self.pipeline:
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since_s = perf_counter()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:  # noqa: ANN401  the parent's types
        if type(cycle) is Incoming:
            cycle.started = True
            self._active = cycle
            # Not from inside the previous answer's write.
            self.loop.call_soon(self._answer_in_turn, cycle)
        else:
            super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchange that its caller is gone."""
        cycle: Any = self.cycle
        in_line = [entry[0] for entry in self.pipeline]
        super().connection_lost(exc)
        for each in (cycle, *in_line):
            if type(each) is Incoming and not each.response_complete:
                each.disconnected = True
                if each.listener is not None:
                    each.listener.on_caller_gone()

    def pause_writing(self) -> None:
        """The caller's socket is full."""
        super().pause_writing()
        active = self._active
        if active is not None and active.listener is not None:
            active.listener.on_caller_blocked()

    def resume_writing(self) -> None:
        """The caller's socket drains."""
        super().resume_writing()
        active = self._active
        if active is not None and active.listener is not None:
            active.listener.on_caller_ready()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no acceptable HTTP request with an OpenAI error object, then close.

        Not while an earlier request waits for its answer: its caller would take this for it.
        """
        cycle = self.cycle
        if self.transport.is_closing():
            return
        if cycle is not None and not cycle.response_complete:
            self.transport.close()
            return
        body = render_body(ApiError(400, msg, "invalid_request_error", code="bad_http"))
        self.transport.write(
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status_line(400), len(body), body)
        )
        self.transport.close()

    def close_if_idle(self, now_s: float, idle_s: float) -> None:
        """Close a keep-alive connection whose last relay answer ended more than `idle_s` ago."""
        if self._idle_since_s and now_s - self._idle_since_s > idle_s and self.cycle.response_complete:
            self.transport.close()

    def date_line(self) -> bytes:
        """Uvicorn's default headers (date), rendered once per change."""
        default = self.server_state.default_headers
        cls = type(self)
        if cls._date_of is not default:
            cls._date_of = default
            cls._date_line = b"".join(b"%b: %b\r\n" % pair for pair in default)
        return cls._date_line

    def _hand_to_parent(self) -> None:
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url, self.headers = url, headers
        self.expect_100_continue = any(
            name == b"expect" and value.lower() == b"100-continue" for name, value in headers
        )
        self.scope["headers"] = headers
        super().on_headers_complete()

    def _answer_in_turn(self, incoming: Incoming) -> None:
        if incoming.disconnected or incoming.response_complete:
            return
        if incoming.body_refused:
            self._refuse_body(incoming)
        elif not incoming.more_body:
            self.accept(incoming)

    def _refuse_body(self, incoming: Incoming) -> None:
        text = f"The request body is larger than {self.body_max_bytes} bytes."
        error = ApiError(413, text, "invalid_request_error", code="request_too_large")
        incoming.keep_alive = False
        incoming.respond(413, b"content-type: application/json\r\n", render_body(error))


def relay_protocol(
    accept: Callable[[Incoming], None], relay_paths: Mapping[bytes, str], *, body_max_bytes: int
) -> type[asyncio.Protocol]:
    """Make the class to give to uvicorn as `http`: `accept` gets each complete relay request, once."""
    attributes = {"accept": staticmethod(accept), "relay_paths": dict(relay_paths), "body_max_bytes": body_max_bytes}
    return type("BoundRelayProtocol", (RelayProtocol,), attributes)
