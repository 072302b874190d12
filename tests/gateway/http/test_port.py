"""The public port of one worker: whose sockets it accepts from, and how its connections end."""

import asyncio
import contextlib
import socket

import pytest

from gateway.core.errors import ApiError, render_body
from gateway.http.port import PublicPort
from gateway.http.server import Reception


async def app(scope: object, receive: object, send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


class Served:
    """A port, the relay requests that came, and the sockets it may accept from."""

    def __init__(self) -> None:
        self.incoming = []
        protocol = Reception(self.incoming.append, {b"/v1/chat/completions": "chat"}, body_max_bytes=1 << 20)
        self.port = PublicPort(app, protocol, keep_alive_s=75)
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]

    def answer(self) -> None:
        self.incoming.pop(0).respond(200, b"", render_body(ApiError(200, "", "")))


@pytest.fixture
async def served(stack) -> Served:
    served = Served()
    for each in served.sockets:
        each.setblocking(False)
        stack.callback(each.close)
    stack.push_async_callback(served.port.accept_from, ())
    stack.callback(served.port.abort)
    await served.port.accept_from(served.sockets)
    return served


@pytest.fixture
def caller(served: Served, open_caller):
    async def connect(socket_number: int = 0):
        return await open_caller(served.sockets[socket_number].getsockname()[1])

    return connect


async def test_it_accepts_from_the_sockets_it_is_told_to(served: Served, caller, until) -> None:
    for number in (0, 1):
        one = await caller(number)
        one.get("/healthz")
        answer = await one.answer()
        assert answer.status == 200
        assert "date" in answer.headers
    await served.port.accept_from(served.sockets[:1])
    waiting = await caller(1)
    waiting.get("/healthz")
    (await caller(0)).get("/healthz")
    await until(lambda: len(served.port.connections) == 3)
    await served.port.accept_from(served.sockets)
    assert (await waiting.answer()).status == 200


class Line(asyncio.Protocol):
    """A worker's line to its supervisor: whatever comes is an order to accept nobody any more."""

    def __init__(self, port: PublicPort) -> None:
        self.port = port
        self.open_after: asyncio.Task[int] | None = None

    def data_received(self, data: bytes) -> None:
        self.open_after = asyncio.get_running_loop().create_task(self._obey())

    async def _obey(self) -> int:
        await self.port.accept_from(())
        return len(self.port.connections)


def queued(listener: socket.socket) -> int:
    """Connections that whoever accepts from it next will get."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


async def test_when_it_accepts_no_longer_who_was_accepted_is_among_the_connections(served, stack, until) -> None:
    """A busy worker finds both in one turn of its loop: callers, and the order to end. Else it ends without them."""
    ours, theirs = socket.socketpair()
    stack.enter_context(ours)
    loop = asyncio.get_running_loop()
    transport, line = await loop.create_unix_connection(lambda: Line(served.port), sock=theirs)
    stack.callback(transport.close)
    ours.send(b"order")
    for each in served.sockets:
        stack.enter_context(socket.create_connection(each.getsockname()))
    await until(lambda: line.open_after)
    assert await line.open_after + sum(queued(each) for each in served.sockets) == len(served.sockets)


async def test_a_drained_connection_ends_with_an_answer_that_says_so(served: Served, caller, until) -> None:
    relayed, plain, idle = await caller(), await caller(), await caller()
    plain.get("/healthz")
    assert "connection" not in (await plain.answer()).headers
    relayed.post({})
    await until(lambda: served.incoming and len(served.port.connections) == 3)
    served.port.begin_drain()
    served.answer()
    plain.get("/healthz")
    idle.post({})
    await until(lambda: served.incoming)
    served.answer()
    for each in (relayed, plain, idle):
        assert (await each.answer()).headers["connection"] == "close"
        assert await each.rest() == b""
    late = await caller()
    late.get("/healthz")
    assert (await late.answer()).headers["connection"] == "close"
    await until(lambda: not served.port.connections)


async def test_an_answer_that_had_begun_keeps_its_connection_open(served: Served, caller, until) -> None:
    one = await caller()
    one.post({})
    await until(lambda: served.incoming)
    incoming = served.incoming.pop()
    incoming.begin(200, b"", b"first")
    served.port.begin_drain()
    incoming.finish(b"last")
    answer = await one.answer()
    assert (answer.body, answer.headers.get("connection")) == (b"firstlast", None)
    one.get("/healthz")
    assert (await one.answer()).headers["connection"] == "close"


async def test_only_idle_connections_are_closed_as_idle(served: Served, caller, until) -> None:
    silent, busy, answered = await caller(), await caller(), await caller()
    busy.post({})
    answered.get("/healthz")
    await answered.answer()
    await until(lambda: served.incoming and len(served.port.connections) == 3)
    served.port.close_idle(60)
    assert len(served.port.connections) == 3
    await until(lambda: served.port.close_idle(0) or len(served.port.connections) == 1)
    assert await silent.rest() == await answered.rest() == b""
    served.answer()
    assert (await busy.answer()).status == 200
    served.port.abort()
    assert await busy.rest() == b""


async def test_a_connection_whose_request_has_come_but_is_not_read_yet_is_not_idle(
    served: Served, caller, until
) -> None:
    one = await caller()
    await until(lambda: served.port.connections)
    one.get("/healthz")
    served.port.close_idle(0)
    assert (await one.answer()).status == 200
    await until(lambda: served.port.close_idle(0) or not served.port.connections)
