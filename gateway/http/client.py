"""Pooled HTTP/1.1 client for the relay: who waits, who is idle, when to connect. The bytes are `connection`'s."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING

from gateway.core.outcome import Failure, Phase
from gateway.http.connection import Connection, Lease

if TYPE_CHECKING:
    import ssl

    from gateway.http.connection import Receiver


class Pool:
    """Connections to one endpoint: newest idle first, at most `connections_max`, bounded FIFO wait."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        connections_max: int = 512,
        waiting_max: int = 4096,
        idle_s: float = 4.0,
        connect_s: float = 2.0,
    ) -> None:
        self.host = host
        self.port = port
        self._tls = tls
        self._connections_max = connections_max
        self._waiting_max = waiting_max
        self._idle_s = idle_s
        self._connect_s = connect_s
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._waiting: deque[Lease] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def counts(self) -> tuple[int, int, int]:
        """(idle, busy, waiting) connections and requests, for gauges and tests."""
        return len(self._idle), len(self._open) - len(self._idle), len(self._waiting)

    def request(self, receiver: Receiver, head: bytes, body: bytes) -> Lease:
        """Send a request, now or as soon as a connection is there. The receiver hears of every end."""
        lease = Lease(receiver, head, body)
        self.submit(lease)
        return lease

    def submit(self, lease: Lease, *, fresh: bool = False) -> None:
        """Put `lease` on an idle connection (unless `fresh`), else queue it and see to it that one is being made."""
        idle = self._idle
        while idle and not fresh:
            connection = idle.pop()
            if connection.usable:
                connection.start(lease)
                return
        if len(self._waiting) >= self._waiting_max:
            asyncio.get_running_loop().call_soon(
                _report, lease, Failure(Phase.CONNECT, "queue_full", "too many waiting")
            )
            return
        self._waiting.append(lease)
        self._connect_if_needed()

    def give_back(self, connection: Connection) -> None:
        """Take a connection whose exchange has ended: next in the queue, or idle."""
        while self._waiting:
            lease = self._waiting.popleft()
            if not lease.cancelled:
                connection.start(lease)
                return
        connection.idle_since_s = perf_counter()
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone and replace it if somebody waits."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting and not self._closed:
            self._connect_if_needed()

    def sweep(self, now_s: float) -> None:
        """Close connections idle for longer than `idle_s` and drop cancelled waiters (`now_s`: perf_counter)."""
        keep = [c for c in self._idle if c.usable and now_s - c.idle_since_s < self._idle_s]
        gone = [c for c in self._idle if c not in keep] if len(keep) < len(self._idle) else []
        self._idle = keep
        for connection in gone:
            connection.abort()
        if any(lease.cancelled for lease in self._waiting):
            self._waiting = deque(lease for lease in self._waiting if not lease.cancelled)

    def close(self) -> None:
        """Close everything; waiting requests fail."""
        self._closed = True
        for task in self._connecting:
            task.cancel()
        for connection in list(self._open):
            connection.shut_down()
        self._fail_waiting(Failure(Phase.CONNECT, "closed", "the gateway is shutting down"), everybody=True)

    def _connect_if_needed(self) -> None:
        room = self._connections_max - len(self._open) - len(self._connecting)
        wanted = min(len(self._waiting) - len(self._connecting), room)
        for _ in range(wanted):
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if self._waiting and not self._closed:
            self._connect_if_needed()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self),
                    self.host,
                    self.port,
                    ssl=self._tls,
                    server_hostname=self.host if self._tls else None,
                )
        except TimeoutError:
            self._fail_waiting(Failure(Phase.CONNECT, "connect_timeout", f"no connection within {self._connect_s} s"))
        except (OSError, ValueError) as error:  # ValueError: a host name that IDNA or TLS refuses
            self._fail_waiting(Failure(Phase.CONNECT, "refused", str(error)))
        else:
            self._open.add(connection)
            self.give_back(connection)

    def _fail_waiting(self, failure: Failure, *, everybody: bool = False) -> None:
        """A failed attempt fails the one who has waited longest; the others have attempts of their own."""
        while self._waiting:
            lease = self._waiting.popleft()
            _report(lease, failure)
            if not everybody and not lease.cancelled:
                return


def _report(lease: Lease, failure: Failure) -> None:
    if not lease.cancelled:
        lease.receiver.on_failure(failure)
