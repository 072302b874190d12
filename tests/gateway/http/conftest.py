"""A pool and a receiver that keeps what it hears."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from gateway.core.outcome import Failure
from gateway.http.client import Pool
from gateway.http.connection import Answer, Lease

HEAD = b"POST /v1/x HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"


class Heard:
    """A receiver that keeps what it is told, and notices if it is told more after the end."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.failure: Failure | None = None
        self.complete = False
        self.told_after_end = False
        self.ended = asyncio.Event()

    def on_answer(self, answer: Answer, chunks: Sequence[bytes], *, complete: bool) -> None:
        self.told_after_end |= self.ended.is_set()
        self.status, self.headers = answer.status, answer.headers
        self.body += b"".join(chunks)
        if complete:
            self.complete = True
            self.ended.set()

    def on_failure(self, failure: Failure) -> None:
        self.told_after_end |= self.ended.is_set()
        self.failure = failure
        self.ended.set()

    async def end(self) -> "Heard":
        async with asyncio.timeout(20):
            await self.ended.wait()
        assert not self.told_after_end
        return self

    async def broke(self) -> Failure:
        """How it failed."""
        failure = (await self.end()).failure
        assert failure is not None
        assert not self.complete
        return failure


@pytest.fixture
def pool_to(stack) -> Callable[..., Pool]:
    """Make a pool that is closed at the end."""

    def make(port: int, host: str = "127.0.0.1", **options: object) -> Pool:
        pool = Pool(host, port, **options)
        stack.callback(pool.close)
        return pool

    return make


@pytest.fixture
def ask() -> Callable[..., tuple[Heard, Lease]]:
    """Send a request through a pool."""

    def send(pool: Pool, body: bytes = b"{}") -> tuple[Heard, Lease]:
        heard = Heard()
        return heard, pool.request(heard, HEAD % len(body), body)

    return send


@pytest.fixture
def answered(ask) -> Callable[..., Awaitable[Heard]]:
    """Send a request through a pool and wait for its end."""

    async def send(pool: Pool, body: bytes = b"{}") -> Heard:
        return await ask(pool, body)[0].end()

    return send
