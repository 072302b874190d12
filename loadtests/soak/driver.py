"""Callers in one process: kept connections, calls at a rate (or as many at once as allowed), each fate noted."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import httptools

from loadtests.soak.answer import Fate, fate_of
from loadtests.soak.plan import Leave, Mix, PlannedCall, calls_of
from loadtests.soak.tally import UNSEEN, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

_TICK_S = 0.005
_ANSWER_LIMIT_S = 60.0
_MADE_UP_S = 0.25
_RESET = struct.pack("ii", 1, 0)
_RESETS_EVERY = 2


class Orders(NamedTuple):
    """What one driver does. `rate`: calls/s, None for as many as `connections` allow, one after the other."""

    run: str
    host: str
    port: int
    key: str
    seed: int
    mix: Mix
    rate: float | None
    connections: int
    duration_s: float


class Connection(asyncio.Protocol):
    """One connection, one call at a time."""

    _call: PlannedCall | None = None
    _timer: asyncio.TimerHandle | None = None
    _before = "first call of its connection"
    transport: asyncio.Transport

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]

    def send(self, call: PlannedCall) -> None:
        """Write a call, or the half of it."""
        self._call, self._body, self._attempts = call, bytearray(), UNSEEN
        self._parser = httptools.HttpResponseParser(self)
        if call.leave is Leave.SENDING:
            self.transport.write(call.request[: len(call.request) // 2])
            self.leave()
            return
        self.transport.write(call.request)
        loop = asyncio.get_running_loop()
        if call.leave is Leave.SENT:
            self.leave()
        elif call.leave is Leave.LATER:
            self._timer = loop.call_later(call.leave_after_s, self.leave)
        else:
            self._timer = loop.call_later(_ANSWER_LIMIT_S, self._overdue)

    def leave(self) -> None:
        """Go, as planned."""
        call = self._call
        if call is not None:
            self._end(Fate.HALF_SENT if call.leave is Leave.SENDING else Fate.LEFT, "")
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._call is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end(Fate.BROKEN, "no HTTP")
            self.transport.abort()
            return
        call = self._call
        if call is not None and call.leave is Leave.READING:
            self._leave_while_reading(call)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  what was read says more
        """A call that is under way has lost its answer."""
        self._driver.forget(self)
        call = self._call
        if call is None:
            return
        # A stream that tells of an error is not ended properly, so that it can't be taken for a whole one.
        if self._body and fate_of(call, self._parser.get_status_code(), bytes(self._body))[0] is Fate.TOLD:
            self._end(Fate.TOLD, "error event")
        else:
            begun = "body" if self._body else "head" if self._attempts != UNSEEN else "nothing"
            self._end(Fate.BROKEN, f"cut after {begun}, {self._before}")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Httptools."""
        if name.lower() == b"x-glidepath-attempts":
            self._attempts = int(value)

    def on_headers_complete(self) -> None:
        """httptools: an answer the gateway gave without asking anybody names no attempts."""
        if self._attempts == UNSEEN:
            self._attempts = 0

    def on_body(self, data: bytes) -> None:
        """Httptools."""
        self._body += data

    def on_message_complete(self) -> None:
        """Httptools."""
        call = self._call
        if call is None:
            return
        self._end(*fate_of(call, self._parser.get_status_code(), bytes(self._body)))
        if self._parser.should_keep_alive() and not self.transport.is_closing():
            self._driver.take_back(self)
        else:
            self.transport.close()

    def _leave_while_reading(self, call: PlannedCall) -> None:
        """Every second one goes with a reset."""
        if call.number % _RESETS_EVERY:
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.leave()

    def _overdue(self) -> None:
        self._end(Fate.BROKEN, "no answer in time")
        self.transport.abort()

    def _end(self, fate: Fate, problem: str) -> None:
        call, self._call = self._call, None
        self._before = f"after one that was {fate.name.lower()}"
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if call is not None:
            self._driver.note(call, fate, self._attempts, problem)


class Driver:
    """All callers of one process."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._calls = calls_of(orders.run, orders.seed, orders.mix, orders.key)
        self._idle: list[Connection] = []
        self._open = 0
        self._under_way = 0
        self._fates, self._attempts, self._planned_left = bytearray(), bytearray(), bytearray()
        self._problems: Counter[str] = Counter()
        self._late = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_end: Callable[[], None] = lambda: None

    async def run(self) -> Tally:
        """Make calls for the duration, then wait for the last ones."""
        began_s = time.perf_counter()
        if self._orders.rate is None:
            await self._as_fast_as_possible()
        else:
            await self._at(self._orders.rate)
        seconds = time.perf_counter() - began_s
        while self._under_way or self._tasks:  # noqa: ASYNC110  the calls are callbacks
            await asyncio.sleep(_TICK_S)
        for connection in self._idle:
            connection.transport.close()
        fates, attempts, left = bytes(self._fates), bytes(self._attempts), bytes(self._planned_left)
        return Tally(self._orders.run, fates, attempts, left, dict(self._problems), self._late, seconds)

    def note(self, call: PlannedCall, fate: Fate, attempts: int, problem: str) -> None:
        """A call has ended."""
        self._fates[call.number], self._attempts[call.number] = fate, attempts
        if problem:
            self._problems[problem] += 1
        self._under_way -= 1
        self._on_end()

    def take_back(self, connection: Connection) -> None:
        """A connection can be used again."""
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""
        self._open -= 1
        if connection in self._idle:
            self._idle.remove(connection)

    async def _at(self, rate: float) -> None:
        began_s = time.perf_counter()
        due = 0
        while (now_s := time.perf_counter() - began_s) < self._orders.duration_s:
            # After a pause of this process, what is long due is not made up for: it would come as one burst.
            missed = int((now_s - _MADE_UP_S) * rate) - due
            if missed > 0:
                due += missed
                self._late += missed
            while due < now_s * rate:
                due += 1
                self._start()
            await asyncio.sleep(_TICK_S)

    async def _as_fast_as_possible(self) -> None:
        self._on_end = self._start_soon
        for _ in range(self._orders.connections):
            self._start()
        await asyncio.sleep(self._orders.duration_s)
        self._on_end = lambda: None

    def _start_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        if self._orders.rate is not None and not self._idle and self._open >= self._orders.connections:
            self._late += 1
            return
        call = next(self._calls)
        self._fates.append(Fate.PENDING)
        self._attempts.append(UNSEEN)
        self._planned_left.append(call.leave is not None)
        self._under_way += 1
        if self._idle:
            self._idle.pop().send(call)
            return
        self._open += 1
        task = asyncio.get_running_loop().create_task(self._connect(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, call: PlannedCall) -> None:
        loop, orders = asyncio.get_running_loop(), self._orders
        try:
            _, connection = await loop.create_connection(lambda: Connection(self), orders.host, orders.port)
        except OSError as error:
            self._open -= 1
            self.note(call, Fate.NO_CONNECTION, UNSEEN, f"no connection ({type(error).__name__})")
            return
        connection.send(call)


def drive(orders: Orders) -> Tally:
    """Run one driver in a loop of its own; what a process of callers does."""
    try:
        import uvloop  # noqa: PLC0415  a matter of speed only
    except ImportError:
        return asyncio.run(Driver(orders).run())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Driver(orders).run())
