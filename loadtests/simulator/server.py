"""Starts and stops the simulator: in a running event loop (tests), or as a process until it is told to stop."""

import asyncio
import gc
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from loadtests.errors import PortUnavailableError
from loadtests.simulator.config import SimulatorConfig, load_references
from loadtests.simulator.partner import Partner
from loadtests.simulator.protocol import PartnerProtocol

try:
    import uvloop

    _new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:  # uvloop is a matter of speed only
    _new_loop = asyncio.new_event_loop


class RunningSimulator:
    """A simulator that listens; an async context manager that stops it."""

    def __init__(self, server: asyncio.Server, host: str, partner: Partner, connections: set[PartnerProtocol]) -> None:
        self._server = server
        self._connections = connections
        self.host = host
        self.partner = partner
        self.port: int = server.sockets[0].getsockname()[1]

    @property
    def origin(self) -> str:
        """Return scheme, host and port."""
        return f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """Return the base URL an OpenAI client is given."""
        return f"{self.origin}/v1"

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        self._server.close()
        for connection in tuple(self._connections):
            connection.stop()
        await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def start(config: SimulatorConfig, host: str = "127.0.0.1", port: int = 0) -> RunningSimulator:
    """Listen on `host:port` (0 picks a free one); raises InvalidFileError and PortUnavailableError."""
    partner = Partner(config, load_references(config), time.time())
    connections: set[PartnerProtocol] = set()
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: PartnerProtocol(partner, connections), host, port, backlog=4096)
    except OSError as error:
        cause = f"the simulator cannot listen on {host}:{port}: {error.strerror or error}"
        raise PortUnavailableError(cause, "choose another --port or --host, or stop what listens there") from None
    return RunningSimulator(server, host, partner, connections)


def run(config: SimulatorConfig, host: str, port: int, announce: Callable[[RunningSimulator], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is called once the port is open. Raises what `start` raises."""
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_serve(config, host, port, announce))


async def _serve(config: SimulatorConfig, host: str, port: int, announce: Callable[[RunningSimulator], None]) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with await start(config, host, port) as simulator:
        gc.collect()
        gc.freeze()
        announce(simulator)
        await stopped.wait()
