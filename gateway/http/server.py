"""The public port's HTTP protocol: relay requests leave uvicorn's ASGI machinery before it begins.

Subclasses uvicorn's httptools protocol (minor version pinned, shape checked by `tests/gateway/http/test_server.py`).
A POST to a relay path becomes an `Incoming`, which quacks like uvicorn's request cycle as far as the parent looks at
it (keep-alive, pipelining, shutdown); everything else takes the parent's way to FastAPI.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.core.errors import ApiError, render_body
from gateway.http.incoming import Incoming, status_line

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

_UPGRADE_HEADERS = frozenset({b"connection", b"upgrade", b"http2-settings"})
_HEAD_BYTES_MAX = 65_536
_API_BODY_BYTES_MAX = 262_144


class RelayProtocol(HttpToolsProtocol):
    """See the module. Make a class with `relay_protocol`; uvicorn instantiates it per connection."""

    relay_paths: Mapping[bytes, str]
    body_max_bytes: int
    accept: Callable[[Incoming], None]
    draining: ClassVar[bool] = False
    """Of all connections of a worker: each answer whose request comes from now on is its connection's last."""

    _active: Incoming | None = None
    _in_head = False
    _head_begun = False
    _upgrading = False
    _head_size = 0
    _idle_since_s = 0.0
    _request_since_s = 0.0
    _trailer_bytes = 0
    _api_body_bytes = 0
    _date_of: list[tuple[bytes, bytes]] | None = None
    _date_line = b""

    def data_received(self, data: bytes) -> None:
        """Feed the parser; bytes that are no HTTP, or a head without end, end the connection."""
        self._idle_since_s = 0.0
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        self._head_begun = False
        rest: bytes | None = data
        while rest is not None:
            rest = self._feed(rest)
        if self._in_head:
            self._head_size = self._known_head_size() if self._head_begun else self._head_size + len(data)
            if self._head_size > _HEAD_BYTES_MAX:
                self.send_400_response("The request's head is too large.")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A connection that never says anything is idle, too."""
        super().connection_made(cast("asyncio.Transport", transport))
        self._idle_since_s = perf_counter()

    def on_message_begin(self) -> None:
        """Begin cheaply; the ASGI scope is only built for requests that go to the parent."""
        self.url = b""
        self.headers = []
        self._request_since_s = perf_counter()
        self._in_head = self._head_begun = True
        self._head_size = self._trailer_bytes = self._api_body_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header line (parser callback). Trailers are dropped: nothing here uses them."""
        if self._in_head:
            self.headers.append((name.lower(), value))
            return
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > _HEAD_BYTES_MAX:
            raise ValueError("trailers too large")

    def on_headers_complete(self) -> None:
        """Take relay requests, leave the rest to the parent."""
        self._in_head = False
        parser = self.parser
        if parser.should_upgrade():
            self._upgrading = True
            return
        operation = self.relay_paths.get(self.url) or self.relay_paths.get(self.url.partition(b"?")[0])
        if operation is None or parser.get_method() != b"POST":
            self._hand_to_parent()
            return
        keep_alive = parser.should_keep_alive() and not self.draining
        incoming = Incoming(self, operation, dict(self.headers), keep_alive=keep_alive)
        incoming.http_1_0 = parser.get_http_version() == "1.0"
        existing: Any = self.cycle
        self.cycle = cast("Any", incoming)
        if existing is None or existing.response_complete:
            incoming.started = True
            self._active = incoming
            incoming.invite_body(self.body_max_bytes)
            if incoming.body_refused:
                self._refuse_body(incoming)
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
            self._api_body_bytes += len(body)
            if self._api_body_bytes > _API_BODY_BYTES_MAX:
                self._refuse_api_body()
            else:
                super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: answer it, or let it wait its turn in the pipeline."""
        if self._upgrading:
            return
        self._request_since_s = 0.0
        cycle: Any = self.cycle
        if type(cycle) is Incoming:
            cycle.more_body = False
            if cycle.started and not cycle.response_complete:
                self._accept_once(cycle)
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """As the parent, with a time stamp instead of a timer per request for keep-alive."""
        cycle: Any = self.cycle
        if type(cycle) is not Incoming and not self.pipeline:
            super().on_response_complete()
            self._idle_since_s = perf_counter()
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
        for each in {self._active, cycle, *in_line}:
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
        self._write_error_and_close(ApiError(400, msg, "invalid_request_error", code="bad_http"))

    def shutdown(self) -> None:
        """As the parent; a request that isn't whole yet is not waited for."""
        cycle: Any = self.cycle
        if type(cycle) is Incoming and cycle.more_body and not cycle.response_complete:
            self.transport.close()
        else:
            super().shutdown()

    def begin_drain(self) -> None:
        """Let every answer that has not begun, and every one from now on, say `connection: close` and mean it.

        Sets `draining` for the whole class; connections without a request stay open until `close_if_idle`.
        """
        type(self).draining = True
        cycle: Any = self.cycle
        if cycle is not None and not (cycle.begun if type(cycle) is Incoming else cycle.response_started):
            cycle.keep_alive = False

    def close_if_idle(self, now_s: float, idle_s: float) -> None:
        """Close a connection on which nothing has come for `idle_s`, or whose request isn't whole in time."""
        idle = self._idle_since_s and now_s - self._idle_since_s > idle_s
        slow = self._request_since_s and now_s - self._request_since_s > self.timeout_keep_alive
        if slow or (idle and (self.cycle is None or self.cycle.response_complete)):
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
        if self.draining:
            self.cycle.keep_alive = False

    def _write_error_and_close(self, error: ApiError) -> None:
        body = render_body(error)
        self.transport.write(
            b"%bcontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status_line(error.status), len(body), body)
        )
        self.transport.close()

    def _known_head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _answer_in_turn(self, incoming: Incoming) -> None:
        if incoming.disconnected or incoming.response_complete:
            return
        if incoming.more_body and not incoming.body_refused:
            incoming.invite_body(self.body_max_bytes)
        if incoming.body_refused:
            self._refuse_body(incoming)
        elif not incoming.more_body:
            self._accept_once(incoming)

    def _accept_once(self, incoming: Incoming) -> None:
        if not incoming.accepted:
            incoming.accepted = True
            incoming.arrived_at_s = perf_counter()
            self.accept(incoming)

    def _feed(self, data: bytes) -> bytes | None:
        """Parse; None, or what is to be parsed instead of what was left over."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("The request is not valid HTTP/1.1.")
        return None

    def _without_upgrade(self, rest: bytes) -> bytes | None:
        """Give the request again, less its offer to speak something else: RFC 9110, 7.8 lets a server ignore it.

        The parser skips the body of such a request; Java's HTTP client offers h2c with every first POST.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode("ascii")
        if method == b"CONNECT":
            self.send_400_response("This is no proxy: CONNECT is refused.")
            return None
        kept = [pair for pair in self.headers if pair[0] not in _UPGRADE_HEADERS]
        if any(name == b"connection" and b"close" in value.lower() for name, value in self.headers):
            kept.append((b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % pair for pair in kept)
        self._upgrading = False
        self.parser = httptools.HttpRequestParser(self)
        return b"%b %b HTTP/%b\r\n%b\r\n%b" % (method, self.url, version, lines, rest)

    def _refuse_api_body(self) -> None:
        """Answer and close, whatever the application is doing with what it has of the body."""
        if not self.transport.is_closing():
            if self.cycle.response_started:
                self.transport.close()
                return
            text = "The request body is too large."
            self._write_error_and_close(ApiError(413, text, "invalid_request_error", code="request_too_large"))

    def _refuse_body(self, incoming: Incoming) -> None:
        text = f"The request body is larger than {self.body_max_bytes} bytes."
        error = ApiError(413, text, "invalid_request_error", code="request_too_large")
        incoming.keep_alive = False
        incoming.respond(413, b"content-type: application/json\r\n", render_body(error))


def relay_protocol(
    accept: Callable[[Incoming], None], relay_paths: Mapping[bytes, str], *, body_max_bytes: int
) -> type[RelayProtocol]:
    """Make the class to give to uvicorn as `http`: `accept` gets each complete relay request, once."""
    attributes = {"accept": staticmethod(accept), "relay_paths": dict(relay_paths), "body_max_bytes": body_max_bytes}
    return type("BoundRelayProtocol", (RelayProtocol,), attributes)
