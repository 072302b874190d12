"""Starts and stops the simulator: in a running event loop (tests), or as a process until it is told to stop."""

import asyncio
import gc
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from loadtests.simulator.config import SimulatorConfig, load_references
from loadtests.simulator.control import Desk
from loadtests.simulator.door import Door
from loadtests.simulator.partner import Partner
from loadtests.simulator.protocol import PartnerProtocol

try:
    import uvloop

    _new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
except ImportError:  # uvloop is a matter of speed only
    _new_loop = asyncio.new_event_loop


class RunningSimulator:
    """A simulator that listens; an async context manager that stops it."""

    def __init__(self, partner: Partner, door: Door, control: Door | None) -> None:
        self._doors = [door] if control is None else [door, control]
        self.host = door.host
        self.port = door.port
        self.control_port = self.port if control is None else control.port
        self.partner = partner

    @property
    def origin(self) -> str:
        """Return scheme, host and port."""
        return f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """Return the base URL an OpenAI client is given."""
        return f"{self.origin}/v1"

    @property
    def control_url(self) -> str:
        """Return where `/simulator/...` is served even while the other port refuses connections."""
        return f"http://{self.host}:{self.control_port}"

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        for door in self._doors:
            door.close()
        # Dropped connections are lost in the next turn of the loop; their requests are settled by then.
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def start(
    config: SimulatorConfig, host: str = "127.0.0.1", port: int = 0, control_port: int | None = None
) -> RunningSimulator:
    """Listen on `host:port` (0 picks a free one), and for control paths on a port of their own if one is given.

    Raises InvalidFileError and PortUnavailableError.
    """
    partner = Partner(config, load_references(config), time.time())

    def make(entered: Door) -> PartnerProtocol:
        return PartnerProtocol(desk, entered)

    door = Door(host, port, make)
    desk = Desk(partner, door)
    await door.open()
    control = None if control_port is None else Door(host, control_port, make)
    if control is not None:
        await control.open()
    return RunningSimulator(partner, door, control)


def run(
    config: SimulatorConfig,
    host: str,
    port: int,
    announce: Callable[[RunningSimulator], None],
    control_port: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; `announce` is called once the port is open. Raises what `start` raises."""
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        runner.run(_serve(config, host, port, control_port, announce))


async def _serve(
    config: SimulatorConfig,
    host: str,
    port: int,
    control_port: int | None,
    announce: Callable[[RunningSimulator], None],
) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with await start(config, host, port, control_port) as simulator:
        gc.collect()
        gc.freeze()
        announce(simulator)
        await stopped.wait()
