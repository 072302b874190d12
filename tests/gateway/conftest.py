"""The outside world of the gateway, on real sockets: a scripted upstream, a raw caller, and a gateway between them."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from gateway.auth import Keyring, first_key_record
from gateway.core.shedding import Shedding
from gateway.door import Door
from gateway.http.limits import CallerLimits
from gateway.http.server import Reception, RelayProtocol
from gateway.quotas import Quotas
from gateway.relay import RELAY_PATHS, Relay
from gateway.settings import Settings, UpstreamSettings
from gateway.tenants import Tenants
from gateway.upstream import build_upstream
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import FeatureFlag

if TYPE_CHECKING:
    from gateway.core.outcome import Record

DEADLINE_S = 60.0
KEY = "gp-test-key"
PATHS = RELAY_PATHS


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow disk is no store that is away."""
    monkeypatch.setattr("gateway.flushes.ANSWER_MAX_S", DEADLINE_S)


def pytest_asyncio_loop_factories(config, item):
    """Production runs on uvloop, and on asyncio's own loop where there is none."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


class NoStore:
    """For limits that nobody has."""

    async def lease_quota(self, asks: object) -> list[object]:
        raise AssertionError("nothing is limited")


class Request(NamedTuple):
    """A request as the upstream got it."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.body)


class Peer:
    """The upstream's end of one connection."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self._reader, self._writer = reader, writer

    async def request(self) -> Request:
        """The next request; IncompleteReadError when the gateway has gone."""
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:-2])}
        return Request(head[0], headers, await self._reader.readexactly(int(headers.get("content-length", "0"))))

    async def head(self) -> bytes:
        """The head of the next request; its body stays unread."""
        return await self._reader.readuntil(b"\r\n\r\n")

    async def read(self, size: int) -> bytes:
        """Whatever comes next, at most so much."""
        return await self._reader.read(size)

    def send(self, data: bytes) -> None:
        if self._writer.transport.is_closing():
            raise ConnectionResetError("the gateway has gone")
        self._writer.write(data)

    async def drained(self) -> None:
        """Everything sent has left this process."""
        self._writer.transport.set_write_buffer_limits(0)
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        """Close with RST, as a crashed process does."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the gateway has closed the connection."""
        with suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """A TCP server that runs a script on every connection, and notes what came and what went away."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.requests: list[Request] = []
        self.connections = 0
        self.open = 0
        self.left: list[int] = []
        """Numbers of the connections that the gateway closed, in that order."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 24, ssl=tls)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for _ in range(5):
            await asyncio.sleep(0)  # what was accepted just now reaches `_serve`, which closes it
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.open += 1
        number = self.connections
        try:
            await self.script(Peer(number, reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.append(number)
        except asyncio.CancelledError:
            pass
        finally:
            self.open -= 1
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()


def plain(body: bytes | str, status: str = "200 OK", *headers: str) -> bytes:
    """An answer with a content-length."""
    data = body.encode() if isinstance(body, str) else body
    head = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(data)}", *headers, "", ""]
    return "\r\n".join(head).encode() + data


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(payload: object) -> bytes:
    return b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"


def delta(content: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}]})


class Answer(NamedTuple):
    """An answer as the caller got it; `whole` is False if the connection ended first."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool
    interim: int

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, str | None]:
        """The error object; every one has exactly these four keys."""
        error = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


class Caller:
    """A raw connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def post(
        self,
        body: object,
        *headers: str,
        path: str = "/v1/chat/completions",
        key: str | None = KEY,
        length: int | None = None,
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"POST {path} HTTP/1.1", "host: gateway", f"content-length: {len(data) if length is None else length}"]
        lines += [f"authorization: Bearer {key}"] if key else []
        self.send("\r\n".join([*lines, *headers, "", ""]).encode() + data)

    def get(self, path: str, *headers: str) -> None:
        self.send("\r\n".join([f"GET {path} HTTP/1.1", "host: gateway", *headers, "", ""]).encode())

    async def head(self) -> tuple[int, dict[str, str]]:
        head = (await self._bounded(self.reader.readuntil(b"\r\n\r\n"))).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:-2])
        return int(head[0].split(" ")[1]), headers

    async def answer(self) -> Answer:
        interim = 0
        status, headers = await self.head()
        while status < 200:
            interim += 1
            status, headers = await self.head()
        body, whole = await self._body(headers)
        return Answer(status, headers, body, whole, interim)

    async def chunk(self) -> bytes:
        """The next chunk of a chunked answer."""
        size = int(await self._bounded(self.reader.readuntil(b"\r\n")), 16)
        return (await self._bounded(self.reader.readexactly(size + 2)))[:-2]

    async def rest(self) -> bytes:
        """Everything until the gateway closes the connection."""
        try:
            return await self._bounded(self.reader.read())
        except ConnectionError:
            return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _body(self, headers: Mapping[str, str]) -> tuple[bytes, bool]:
        if headers.get("transfer-encoding") != "chunked":
            if "content-length" not in headers:
                return await self.rest(), True
            return await self._bounded(self.reader.readexactly(int(headers["content-length"]))), True
        parts = []
        try:
            while part := await self.chunk():
                parts.append(part)
        except (asyncio.IncompleteReadError, ConnectionError):
            return b"".join(parts), False
        return b"".join(parts), True

    @staticmethod
    async def _bounded(waiting: Awaitable[bytes]) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            return await waiting


class Gateway:
    """The relay behind its protocol on a real port, with an ASGI application for everything else."""

    def __init__(self, stack: AsyncExitStack, protocol: type[asyncio.Protocol], app: object) -> None:
        self._stack = stack
        self.config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False)
        self.config.load()
        self.state = ServerState()
        self.relay: Relay | None = None
        self.records: list[Record] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        make = self.config.http_protocol_class
        server = await loop.create_server(
            lambda: make(config=self.config, server_state=self.state, app_state={}), "127.0.0.1", 0
        )
        self.port: int = server.sockets[0].getsockname()[1]
        self._stack.callback(server.close)
        self._stack.callback(self._drop)

    def _drop(self) -> None:
        for connection in list(self.state.connections):
            connection.transport.abort()
        if self.relay is not None:
            self.relay.close()

    async def caller(self) -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24))
        self._stack.push_async_callback(caller.close)
        return caller

    @property
    def connections(self) -> list[RelayProtocol]:
        return list(self.state.connections)

    def later(self, seconds: float) -> None:
        """Enforce deadlines as if so much time had passed."""
        assert self.relay is not None
        self.relay.sweep(perf_counter() + seconds)

    @property
    def held(self) -> tuple[int, int, int, int]:
        """(active exchanges, outstanding calls, busy connections, waiting calls): all 0 when all is settled."""
        assert self.relay is not None
        endpoints = [endpoint for upstream in self.relay.upstreams.values() for endpoint in upstream.endpoints]
        return (
            len(self.relay.active),
            sum(endpoint.outstanding for endpoint in endpoints),
            sum(endpoint.pool.counts[1] for endpoint in endpoints),
            sum(endpoint.pool.counts[2] for endpoint in endpoints),
        )


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def upstream(stack: AsyncExitStack) -> Callable[..., Awaitable[Upstream]]:
    """Start an upstream with this script; a plain answer instead of a script is given to every request."""

    async def start(script: Script | bytes, port: int = 0, tls: ssl.SSLContext | None = None) -> Upstream:
        async def answer_all(peer: Peer) -> None:
            assert isinstance(script, bytes)
            while True:
                started.requests.append(await peer.request())
                peer.send(script)

        started = Upstream(answer_all if isinstance(script, bytes) else script)
        await started.start(port, tls)
        stack.push_async_callback(started.stop)
        return started

    return start


@pytest.fixture
def open_caller(stack: AsyncExitStack) -> Callable[[int], Awaitable[Caller]]:
    """Connect to a port of this machine."""

    async def connect(port: int) -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", port))
        stack.push_async_callback(caller.close)
        return caller

    return connect


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def serve(stack: AsyncExitStack) -> Callable[..., Awaitable[Gateway]]:
    """Start the protocol with an `accept` of the test's own; more options are `CallerLimits`."""

    async def start(accept: object, app: object = None, body_max_bytes: int = 1 << 20, **limits: object) -> Gateway:
        protocol = Reception(accept, PATHS, body_max_bytes=body_max_bytes, limits=CallerLimits(**limits))
        gateway = Gateway(stack, protocol, app or no_app)
        await gateway.start()
        return gateway

    return start


async def no_app(scope: object, receive: object, send: Callable[[dict[str, object]], Awaitable[None]]) -> None:
    """Answer what is not relayed with 404, as an ASGI application would."""
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


@pytest.fixture
def relay_gateway(stack: AsyncExitStack) -> Callable[..., Awaitable[Gateway]]:
    """Start the whole data plane: feature "draft" from the candidate upstream to the baseline upstream.

    `candidate`, `baseline`: ports; `share`: of the candidate, in thousandths of a percent; `record`: who gets the
    Records instead of the list; `app`: makes the application for the rest of the port; `flag`: more of the feature's
    flag; more: UpstreamSettings.
    """

    async def start(
        *,
        candidate: int,
        baseline: int,
        share: int = 100_000,
        record: Callable[[object], None] | None = None,
        app: Callable[[Relay], object] | None = None,
        trace_ratio: float | None = None,
        quotas: Quotas | None = None,
        tenants: Mapping[str, object] | None = None,
        shedding: Mapping[str, object] | None = None,
        flag: Mapping[str, object] | None = None,
        **settings: object,
    ) -> Gateway:
        arms = {"feature": "draft", "candidate": "inhouse", "baseline": "partner"}
        made = FeatureFlag(**arms, revision=7, share_millipct=share, **(flag or {}))
        snapshot = compile_snapshot({"draft": made}, 1)
        keyring, numbers = Keyring(), count()
        records: list[Record] = []
        keyring.replace([first_key_record(KEY, 0.0, name="test")])
        whole = Settings.model_validate({"tenants": tenants or {}})
        quotas = quotas or Quotas(NoStore())
        places = Shedding(**{"requests_max": 16_384, "queue_max": 0, "queue_wait_s": 2.0, **(shedding or {})})
        relay = Relay(
            door=Door(Tenants(whole), quotas.admission, {}, places),
            keyring=keyring,
            snapshot=lambda: snapshot,
            upstreams={
                name: build_upstream(name, _settings(model, port, settings), f"sk-{name}")
                for name, model, port in (("inhouse", "moe-1", candidate), ("partner", "gpt-1", baseline))
            },
            record=record or records.append,
            next_request_id=lambda: f"req_{next(numbers)}",
            trace_ratio=trace_ratio,
        )
        protocol = Reception(relay.accept, PATHS, body_max_bytes=1 << 20)
        gateway = Gateway(stack, protocol, app(relay) if app else no_app)
        gateway.relay, gateway.records = relay, records
        await gateway.start()
        return gateway

    return start


def _settings(model: str, port: int, more: Mapping[str, object]) -> UpstreamSettings:
    values = {"kind": "vllm", "base_urls": [f"http://127.0.0.1:{port}/v1"], "model": model, **more}
    return UpstreamSettings.model_validate(values)


class Wire:
    """Words of HTTP and SSE for tests, which can't import from a conftest."""

    plain = staticmethod(plain)
    chunk = staticmethod(chunk)
    event = staticmethod(event)
    delta = staticmethod(delta)
    stream_head = STREAM_HEAD
    stream_end = STREAM_END
    finish: ClassVar = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage: ClassVar = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    key = KEY


@pytest.fixture
def wire() -> type[Wire]:
    return Wire


@pytest.fixture
def settled(until):
    """Wait until all is given back, and give the Records: one for each request."""

    async def wait(gateway, count: int = 1) -> list:
        await until(lambda: len(gateway.records) >= count and gateway.held == (0, 0, 0, 0))
        assert len(gateway.records) == count
        assert len({record.request_id for record in gateway.records}) == count
        return gateway.records

    return wait


@pytest.fixture
def stream_of(wire):
    """The bytes of a whole streamed answer."""

    def make(*texts: str, usage: bool = True, done: bool = True) -> bytes:
        events = [*map(wire.delta, texts), wire.event(wire.finish)]
        events += [wire.event(wire.usage)] * usage + [wire.event(b"[DONE]")] * done
        return wire.stream_head + b"".join(map(wire.chunk, events)) + wire.stream_end

    return make


@pytest.fixture
def stalling(upstream, wire):
    """Start an upstream that stalls in a given phase."""

    async def start(phase: str):
        async def stall(peer) -> None:
            server.requests.append(await peer.request())
            if phase == "body":
                peer.send(wire.stream_head + wire.chunk(wire.delta("begun")))
            await peer.request()

        server = await upstream(stall)
        return server

    return start
