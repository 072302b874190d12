"""The public port's HTTP protocol: relay requests leave uvicorn's ASGI machinery before it begins.

Subclasses uvicorn's httptools protocol (minor version pinned, shape checked by `tests/gateway/http/test_server.py`).
A POST to a relay path becomes an `Incoming`, which quacks like uvicorn's request cycle as far as the parent looks at
it (keep-alive, pipelining, shutdown); everything else takes the parent's way to FastAPI.

Reading never pauses, so that a caller's leaving is seen at once; what may wait in line is bounded instead. Answers
come in the order of the requests. A refused request gets its answer in its turn, and that is the connection's last.
"""

from __future__ import annotations

from fcntl import ioctl
from termios import FIONREAD
from typing import TYPE_CHECKING, Any, NoReturn, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.core.errors import FAULT, ApiError
from gateway.http import head
from gateway.http.incoming import Incoming
from gateway.http.limits import CallerLimits
from gateway.http.pace import Pace, Phase
from gateway.http.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UPGRADE_HEADERS = frozenset({b"connection", b"upgrade", b"http2-settings"})
_API_BODY_BYTES_MAX = 262_144
_CHUNK_OVERHEAD = 16
_NOT_HTTP = head.bad_http("The request is not valid HTTP/1.1.")


class _RefusedError(Exception):
    """Raised through the parser, whose state is of no use afterwards."""


class RelayProtocol(Turns):
    """See the module. A `Reception` makes them, one per connection."""

    _operation: str | None = None
    """Of a request whose line was recognised at the beginning of a read."""
    _upgrading = False
    _refusal: ApiError | None = None
    _part_of: object = None
    _part_bytes = 0
    _odd_bytes = 0
    _api_body_bytes = 0
    _pace: Pace | None = None

    def __init__(self, reception: Reception, **options: Any) -> None:  # noqa: ANN401  the parent's
        super().__init__(**options)
        self.reception = reception
        self._fields: dict[bytes, bytes] = {}
        self._repeated: list[tuple[bytes, bytes]] = []

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self._deaf:
            return
        if self._whole:
            known = len(data) <= self.reception.limits.head_max_bytes
            self._operation = self.reception.request_lines.get(data[: data.find(b"\r\n")]) if known else None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_behind_upgrade(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError as fault:
            self._refuse(self._verdict(fault))
        if not self._whole:
            self._measure_part(len(data))

    def on_message_begin(self) -> None:
        """Begin cheaply; the ASGI scope is only built for requests that go to the parent."""
        self.url = b""
        self._fields = {}
        self._whole = False
        self._receiving = None
        self._odd_bytes = 0  # the trailers of the message before are no part of this head

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header line (parser callback)."""
        name = name.lower()
        fields = self._fields
        if name in fields or self._receiving is not None:  # the head is complete: a trailer
            self._on_odd_header(name, value)
        else:
            fields[name] = value

    def on_headers_complete(self) -> None:
        """Take relay requests, leave the rest to the parent."""
        fields, operation = self._fields, self._operation
        if (
            operation is None
            or self._repeated
            or b"host" not in fields
            or b"upgrade" in fields
            or b"transfer-encoding" in fields
            or b"content-encoding" in fields
            or b"expect" in fields
            or len(fields) > self.reception.limits.headers_max
            or len(fields.get(b"content-length", b"")) > self.reception.harmless_length
        ):
            self._on_unusual_head()
        else:
            self._operation = None
            self._take(operation, keep_alive=self.parser.should_keep_alive() and not self.reception.draining)

    def on_body(self, body: bytes) -> None:
        """Collect a body."""
        cycle = self._receiving
        if type(cycle) is Incoming:
            size = cycle.size = cycle.size + len(body)
            if size > self.reception.body_max_bytes:
                self._reject(head.body_too_large(self.reception.body_max_bytes))
            cycle.chunks.append(body)
        else:
            self._api_body_bytes += len(body)
            if self._api_body_bytes > _API_BODY_BYTES_MAX:
                self._reject(head.body_too_large(_API_BODY_BYTES_MAX))
            if not cycle.response_complete:
                cycle.body += body
                cycle.message_event.set()
        if cycle is not self._active and self._bytes_in_line() > self.reception.limits.pipeline_max_bytes:
            self._reject_in_line()

    def on_message_complete(self) -> None:
        """The request is whole: answer it, or let it wait its turn in the pipeline."""
        if self._upgrading:
            return
        self._whole = True
        cycle = self._receiving
        if type(cycle) is Incoming:
            cycle.more_body = False
            if cycle is self._active:
                self._accept(cycle)
        else:
            super().on_message_complete()

    def close_if_idle(self, now_s: float, idle_s: float) -> None:
        """Enforce what a caller may take its time for; to be called every second or so.

        `now_s`: any monotonic clock; `idle_s`: for a connection without a request (0: close it now).
        """
        pace = self._pace = self._pace or Pace()
        unsent = self.transport.get_write_buffer_size()
        if pace.stalled(unsent, now_s, self.reception.limits.send_idle_s):
            self.transport.abort()
        elif not self._deaf and not unsent:
            phase = self._phase()
            limits = self.reception.limits
            if pace.late(phase, self._fields, self._body_bytes(), now_s, limits=limits, idle_s=idle_s):
                if phase is Phase.IDLE:
                    self.transport.close()
                else:
                    text = "The request took too long to arrive."
                    self._refuse(ApiError(408, text, "invalid_request_error", code="request_timeout"))

    def unread(self) -> bool:
        """Whether a request has come that a busy loop hasn't read yet: closing now would reset it."""
        number = self.transport.get_extra_info("socket").fileno()
        return ioctl(number, FIONREAD, bytes(4)) != bytes(4)

    def _on_odd_header(self, name: bytes, value: bytes) -> None:
        """Keep a repeated header; drop trailers: nothing here uses them."""
        self._odd_bytes += len(name) + len(value)
        if self._odd_bytes > self.reception.limits.head_max_bytes:
            self._reject(head.head_too_large(self.reception.limits))
        if self._receiving is None:
            self._repeated.append((name, value))

    def _on_unusual_head(self) -> None:
        """Every head but a plain one to a relay path: judged in full."""
        parser, fields, repeated = self.parser, self._fields, self._repeated
        self._operation = None
        if parser.should_upgrade():
            self._upgrading = True
            return
        self._repeated, self._odd_bytes = [], 0
        version = parser.get_http_version()
        error = head.refusal(self.url, version, fields, repeated, self.reception.limits)
        target = head.origin_form(self.url, fields.get(b"host"))
        if error is not None or target is None:
            self._reject(error or head.bad_http("The request's target is not a path of this server."))
        self.url = target
        paths = self.reception.relay_paths
        operation = paths.get(target) or paths.get(target.partition(b"?")[0])
        if operation is None or parser.get_method() != b"POST":
            self._hand_to_parent([*fields.items(), *repeated])
        else:
            self._take_checked(operation, version, repeated)
        if b"transfer-encoding" in fields:
            self._fields = {}  # what is measured from now on is another thing than the head

    def _take_checked(self, operation: str, version: str, repeated: list[tuple[bytes, bytes]]) -> None:
        fields = self._fields
        if fields.get(b"content-encoding", b"identity").lower() != b"identity":
            self._reject(head.encoded_body())
        self._check_length(self.reception.body_max_bytes)
        if repeated:
            head.joined(fields, repeated)
        keep_alive = version != "1.0" and self.parser.should_keep_alive() and not self.reception.draining
        incoming = self._take(operation, keep_alive=keep_alive)
        incoming.http_1_0 = version == "1.0"
        if incoming is self._active:
            incoming.invite_body()

    def _take(self, operation: str, *, keep_alive: bool) -> Incoming:
        """Make the request's Incoming: to be answered at once, or in its turn."""
        incoming = Incoming(self, operation, self._fields, keep_alive=keep_alive)
        active = self._active
        if (active is None or active.response_complete) and not self.pipeline and not self.flow.write_paused:
            self._active = incoming
        else:
            if len(self.pipeline) >= self.reception.limits.pipeline_max:
                self._reject_in_line()
            self._queue(incoming)
        self.cycle = self._receiving = cast("Any", incoming)
        return incoming

    def _check_length(self, size_max: int) -> None:
        if int(self._fields.get(b"content-length", b"0")) > size_max:
            self._reject(head.body_too_large(size_max))

    def _hand_to_parent(self, headers: list[tuple[bytes, bytes]]) -> None:
        url = self.url
        self._check_length(_API_BODY_BYTES_MAX)
        if len(self.pipeline) >= self.reception.limits.pipeline_max:
            self._reject_in_line()
        HttpToolsProtocol.on_message_begin(self)
        self.url, self.headers = url, headers
        self.expect_100_continue = any(n == b"expect" and v.lower() == b"100-continue" for n, v in headers)
        self.scope["headers"] = headers
        self._api_body_bytes = 0
        super().on_headers_complete()
        self._receiving = self.cycle
        # The parent stops reading while a request waits in line.
        self.flow.resume_reading()
        if self.reception.draining:
            self.cycle.keep_alive = False

    def _reject(self, error: ApiError) -> NoReturn:
        """Stop the parser; `data_received` refuses what it was at."""
        self._refusal = error
        raise _RefusedError

    def _reject_in_line(self) -> NoReturn:
        text = "Too much was sent before earlier answers had come."
        self._reject(ApiError(503, text, "server_error", code="pipeline_full"))

    def _verdict(self, fault: Exception) -> ApiError:
        """What the caller is told when the parser stops: why we stopped it, our own fault, or that this is no HTTP."""
        if self._refusal is not None:
            return self._refusal
        cause = fault.__context__
        if isinstance(fault, httptools.HttpParserCallbackError) and not isinstance(cause, httptools.HttpParserError):
            self.logger.error("a request could not be taken", exc_info=cause)
            return FAULT
        return _NOT_HTTP

    def _feed_behind_upgrade(self, rest: memoryview) -> None:
        """Give requests again, less their offer to speak something else: RFC 9110, 7.8 lets a server ignore it.

        The parser skips the body of such a request; Java's HTTP client offers h2c with every first POST.
        """
        try:
            while True:
                again = self._without_upgrade()
                self.parser.feed_data(again)
                try:
                    self.parser.feed_data(rest)
                except httptools.HttpParserUpgrade as upgrade:
                    rest = rest[upgrade.args[0] :]
                else:
                    return
        except (httptools.HttpParserError, _RefusedError) as fault:
            self._refuse(self._verdict(fault))

    def _without_upgrade(self) -> bytes:
        """The head just parsed, as a request for HTTP/1.1 only; makes a new parser for it."""
        method, version = self.parser.get_method(), self.parser.get_http_version().encode("ascii")
        if method == b"CONNECT":
            self._reject(head.bad_http("This is no proxy: CONNECT is refused."))
        pairs = [*self._fields.items(), *self._repeated]
        kept = [pair for pair in pairs if pair[0] not in _UPGRADE_HEADERS]
        if any(name == b"connection" and b"close" in value.lower() for name, value in pairs):
            kept.append((b"connection", b"close"))
        lines = b"".join(b"%b: %b\r\n" % pair for pair in kept)
        self._upgrading, self._whole, self._repeated, self._odd_bytes = False, True, [], 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, lines)

    def _measure_part(self, size: int) -> None:
        """Bound what a message in parts consists of beside its body: an endless head, endless chunk extensions."""
        if self._deaf:
            return
        fields = self._fields
        if self._part_of is not fields:
            self._part_of = fields
            self._part_bytes = head.head_size(self.url, fields, self._repeated) if self._receiving is None else 0
        else:
            self._part_bytes += size
        if self._receiving is None:
            self._operation = None
            if self._part_bytes > self.reception.limits.head_max_bytes:
                self._refuse(head.head_too_large(self.reception.limits))
        elif self._part_bytes > self.reception.limits.head_max_bytes + _CHUNK_OVERHEAD * self._body_bytes():
            self._refuse(head.bad_http("The body's chunks are wrapped in too much."))

    def _body_bytes(self) -> int:
        own = self._receiving
        return own.size if type(own) is Incoming else self._api_body_bytes

    def _phase(self) -> Phase:
        own, active = self._receiving, self._active
        busy = active is not None and not active.response_complete
        if self._whole:
            return Phase.BUSY if busy else Phase.IDLE
        if own is None:
            return Phase.BUSY if busy else Phase.HEAD
        return Phase.BODY if own is active or not busy else Phase.BUSY


class Reception:
    """What all connections of one worker's public port share. Called by uvicorn, as its `http` class, for each."""

    draining = False
    """Whether each answer whose request comes from now on is its connection's last."""

    def __init__(
        self,
        accept: Callable[[Incoming], None],
        relay_paths: Mapping[bytes, str],
        *,
        body_max_bytes: int,
        limits: CallerLimits | None = None,
    ) -> None:
        """`accept` gets each complete relay request, once."""
        self.accept = accept
        self.relay_paths = dict(relay_paths)
        self.body_max_bytes = body_max_bytes
        self.limits = limits or CallerLimits()
        self.request_lines = {b"POST %b HTTP/1.1" % path: operation for path, operation in relay_paths.items()}
        self.harmless_length = len(str(body_max_bytes)) - 1
        """A Content-Length of so few digits is below the limit, whatever it says."""
        self.date_of: object = None
        self.date_line = b""

    def __call__(self, **options: Any) -> RelayProtocol:  # noqa: ANN401  the parent's
        """Make the protocol of one connection."""
        return RelayProtocol(self, **options)
