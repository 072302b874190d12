"""A simulator on a free port, and a client that shows what is really on the wire."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from loadtests.simulator import Fault, Latency, RunningSimulator, SimulatorConfig, start

INSTANT = Latency(ttft_median_s=0, inter_token_median_s=0)
DEADLINE_S = 20


class Wire:
    """One raw connection to a simulator."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, path: str, body: object | None = None, *headers: str, method: str = "POST") -> None:
        data = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(data)}", *headers, "", ""]
        self.writer.write("\r\n".join(lines).encode() + data)

    async def rest(self) -> bytes:
        """Everything until the peer closes; raises ConnectionResetError on RST."""
        return await asyncio.wait_for(self.reader.read(), DEADLINE_S)

    async def until(self, marker: bytes) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(marker), DEADLINE_S)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


def chat(prompt: str = "hello", **more: object) -> dict[str, object]:
    return {"model": "simulated-partner", "messages": [{"role": "user", "content": prompt}], **more}


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  the condition is another connection's counter
            await asyncio.sleep(0.005)


@pytest.fixture
async def simulate() -> AsyncIterator[Callable[..., Awaitable[RunningSimulator]]]:
    running: list[RunningSimulator] = []

    async def begin(*faults: Fault, **config: object) -> RunningSimulator:
        simulator = await start(SimulatorConfig(**{"latency": INSTANT, "faults": faults} | config))
        running.append(simulator)
        return simulator

    yield begin
    for simulator in running:
        await simulator.close()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[RunningSimulator], Awaitable[Wire]]]:
    wires: list[Wire] = []

    async def begin(simulator: RunningSimulator) -> Wire:
        wires.append(Wire(*await asyncio.open_connection(simulator.host, simulator.port)))
        return wires[-1]

    yield begin
    for wire in wires:
        await wire.close()


@pytest.fixture
def chat_body() -> Callable[..., dict[str, object]]:
    return chat


@pytest.fixture(name="eventually")
def eventually_() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    return eventually


class _AsksForTheKey(BaseHTTPRequestHandler):
    """Lists its models to the right key alone, as a gateway does."""

    def do_GET(self) -> None:
        right = self.path == "/v1/models" and self.headers["authorization"] == "Bearer right"
        self.send_response(200 if right else 401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def asking_url():
    """The base URL of a server that takes the key "right" only."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _AsksForTheKey)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()
