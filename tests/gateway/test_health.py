"""Health checks against a real server; time is what the sweep says."""

import asyncio
from time import perf_counter

import pytest

from gateway.settings import UpstreamSettings
from gateway.upstream import build_upstream

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HEALTH = {"path": "/health?deep=1", "interval_s": 5, "timeout_s": 2, "unhealthy_after": 2}


@pytest.fixture
def checked(stack):
    """An upstream with a health check, and its only endpoint."""

    def make(port: int, api_key: str | None = None, **changes: object):
        values = {"kind": "vllm", "base_urls": [f"http://127.0.0.1:{port}/v1"], "model": "m", "health": HEALTH}
        upstream = build_upstream("inhouse", UpstreamSettings.model_validate(values | changes), api_key)
        stack.callback(upstream.close)
        return upstream, upstream.endpoints[0]

    return make


class Clock:
    """Sweeps as if each check were due."""

    def __init__(self, upstream, until) -> None:
        self._upstream, self._until = upstream, until
        self._check = upstream.endpoints[0].health
        self.now_s = perf_counter()

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds
        self._upstream.sweep(self.now_s)

    async def check(self) -> None:
        """One check from question to answer."""
        self.pass_by(5.0)
        await self._until(lambda: self._check._lease is None)


async def test_the_question(upstream, checked, until) -> None:
    server = await upstream(OK)
    model, endpoint = checked(server.port, "sk-1")
    await Clock(model, until).check()
    (asked,) = server.requests
    assert asked.line == "GET /health?deep=1 HTTP/1.1"
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"
    assert asked.headers["authorization"] == "Bearer sk-1"
    assert endpoint.state == "healthy"
    # A connection of its own.
    assert endpoint.pool.counts == (0, 0, 0)


async def test_it_is_asked_once_per_interval(upstream, checked, until) -> None:
    server = await upstream(OK)
    model, endpoint = checked(server.port)
    clock = Clock(model, until)
    for _ in range(3):
        await clock.check()
        clock.pass_by(1.0)
        clock.pass_by(1.0)
        assert endpoint.health._lease is None
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", ["500 Broken", "404 Not Found", "301 Moved", "429 Busy"])
async def test_it_is_out_after_so_many_bad_answers_and_back_after_one_good(
    upstream, checked, until, status: str
) -> None:
    good = asyncio.Event()

    async def serve(peer) -> None:
        while True:
            await peer.request()
            peer.send(OK if good.is_set() else f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())

    server = await upstream(serve)
    model, endpoint = checked(server.port)
    clock = Clock(model, until)
    await clock.check()
    assert model.choose(None, clock.now_s) is endpoint
    await clock.check()
    assert endpoint.state == "unhealthy"
    assert model.choose(None, clock.now_s) is None
    assert model.retry_after_s(clock.now_s) == 5
    good.set()
    await clock.check()
    assert model.choose(None, clock.now_s) is endpoint


async def test_nobody_there(checked, until, unused_port: int) -> None:
    model, endpoint = checked(unused_port)
    clock = Clock(model, until)
    await clock.check()
    await clock.check()
    assert endpoint.state == "unhealthy"


async def test_an_answer_that_does_not_come(upstream, checked, until) -> None:
    async def silent(peer) -> None:
        server.requests.append(await peer.request())
        await peer.gone()

    server = await upstream(silent)
    model, endpoint = checked(server.port)
    clock = Clock(model, until)
    for number in (1, 2):
        clock.pass_by(5.0)
        await until(lambda number=number: len(server.requests) == number)
        clock.pass_by(1.9)
        assert endpoint.health._lease is not None
        clock.pass_by(0.1)
        assert endpoint.health._lease is None
    assert endpoint.state == "unhealthy"
    await until(lambda: server.open == 0)


async def test_a_full_pool_makes_nothing_look_dead(upstream, checked, until) -> None:
    async def serve(peer) -> None:
        request = await peer.request()
        if request.line.startswith("GET"):
            peer.send(OK)
        await peer.gone()

    server = await upstream(serve)
    model, endpoint = checked(server.port, connections_max=1, waiting_max=1)
    for _ in range(2):
        endpoint.pool.request(Silent(), endpoint.heads["chat"] + b"content-length: 0\r\n\r\n", b"")
    await until(lambda: endpoint.pool.counts == (0, 1, 1))
    clock = Clock(model, until)
    await clock.check()
    await clock.check()
    assert endpoint.health.healthy


async def test_closing_gives_up_the_question(upstream, checked, until) -> None:
    async def silent(peer) -> None:
        server.requests.append(await peer.request())
        await peer.gone()

    server = await upstream(silent)
    model, _ = checked(server.port)
    Clock(model, until).pass_by(5.0)
    await until(lambda: server.requests)
    model.close()
    await until(lambda: server.open == 0)


class Silent:
    """A receiver that does not listen."""

    def on_answer(self, answer: object, data: bytes, *, complete: bool) -> None:
        pass

    def on_failure(self, failure: object) -> None:
        pass
