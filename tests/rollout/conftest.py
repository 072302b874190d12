"""A SQLite store, a clock that is set by hand, a follower that is driven by hand, and a web server that obeys."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from fastapi import FastAPI

from rollout.adapters import open_store
from rollout.api.router import router
from rollout.follower import Follower
from rollout.ports import Store
from rollout.seed import ensure_features
from rollout.surroundings import Surroundings
from tests.rollout.admin_port import WANTED, authorize_exactly
from tests.rollout.stores import ContendedStore

_NOTHING_KNOWN = Surroundings()


class ManualClock:
    def __init__(self) -> None:
        self.at_s = 1_000.0

    def now_s(self) -> float:
        return self.at_s


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(store_path: Path) -> AsyncIterator[Store]:
    opened = open_store(f"sqlite:///{store_path}")
    yield opened
    await opened.close()


@pytest.fixture
async def seeded(store: Store, clock: ManualClock) -> Store:
    await ensure_features(store, WANTED, clock)
    return store


@pytest.fixture
async def contended(store_path: Path, clock: ManualClock) -> AsyncIterator[ContendedStore]:
    """A store with rivals, and one feature."""
    made = ContendedStore(store_path)
    await ensure_features(made, {"summarize": WANTED["summarize"]}, clock)
    yield made
    await made.close()


@pytest.fixture
def kill_path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "killed"


@pytest.fixture
async def follower(seeded: Store, clock: ManualClock, kill_path: Path) -> Follower:
    made = Follower(seeded, clock, kill_file=kill_path)
    assert await made.refresh()
    return made


@pytest.fixture
async def operator_api() -> AsyncIterator[Callable[..., httpx2.AsyncClient]]:
    """Make clients of the operator API; their headers name the actor, as "operator:ann"."""
    made: list[httpx2.AsyncClient] = []

    def make(
        store: Store,
        follower: Follower,
        clock: ManualClock,
        actor: str = "operator:ann",
        around: Surroundings = _NOTHING_KNOWN,
    ) -> httpx2.AsyncClient:
        app = FastAPI()
        app.include_router(router(store, follower, clock, authorize_exactly, around=around), prefix="/api/v1")
        transport, headers = httpx2.ASGITransport(app), {"Authorization": actor}
        made.append(httpx2.AsyncClient(transport=transport, base_url="http://api/api/v1", headers=headers))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


class Asked(NamedTuple):
    """One request that a `Web` got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Web:
    """A real HTTP server on a free port. `reply` makes the raw answer of a request; None leaves it without one."""

    def __init__(self, reply: Callable[[Asked], bytes | None]) -> None:
        self.reply = reply
        self.asked: list[Asked] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                pairs = (line.split(": ", 1) for line in head[1:] if line)
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                asked = Asked(*head[0].split()[:2], headers, body)
                self.asked.append(asked)
                answer = self.reply(asked)
                if answer is not None:
                    writer.write(answer)
                    await writer.drain()
        writer.close()


def http_answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture
async def web() -> AsyncIterator[Callable[..., Awaitable[Web]]]:
    started: list[Web] = []

    async def start(reply: Callable[[Asked], bytes | None] | bytes, tls: ssl.SSLContext | None = None) -> Web:
        started.append(Web((lambda _: reply) if isinstance(reply, bytes) else reply))
        await started[-1].start(tls)
        return started[-1]

    yield start
    for each in started:
        await each.stop()


@pytest.fixture
def answer() -> Callable[..., bytes]:
    """Make the raw bytes of an HTTP answer: status, body, header lines."""
    return http_answer
