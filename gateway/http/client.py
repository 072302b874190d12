"""Pooled HTTP/1.1 client for the relay: who waits, who is idle, when to connect. The bytes are `connection`'s.

Who finds no idle connection stands in line and has an attempt to connect made for it, begun when it came. Whatever
becomes free first, a connection given back or a new one, serves the one who has waited longest. An attempt that fails
fails only the one it was begun for; if that one has been served meanwhile, nobody. If that one has left, the attempt
is given up, so that nobody ever waits for it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from time import perf_counter
from typing import TYPE_CHECKING

from gateway.core.outcome import Failure, Phase
from gateway.http.connection import Connection
from gateway.http.dial import Dialer
from gateway.http.lease import Lease
from gateway.http.tunnel import TunnelRefusedError

if TYPE_CHECKING:
    from gateway.http.lease import Receiver
    from gateway.http.tunnel import Proxy

ANSWER_MAX_BYTES = 64 * 1024 * 1024


class Attempt:
    """One attempt to connect. `lease`: who counts on it; `own`: whether it was begun for that one."""

    __slots__ = ("lease", "own", "task")

    def __init__(self, lease: Lease) -> None:
        self.lease: Lease | None = lease
        self.own = True
        self.task: asyncio.Task[None] | None = None


class Pool:
    """Connections to one endpoint: newest idle first, at most `connections_max`; FIFO wait of `waiting_max` more."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        connections_max: int = 512,
        waiting_max: int = 4096,
        queue_timeout_s: float = 10.0,
        idle_s: float = 4.0,
        connect_s: float = 2.0,
        answer_max_bytes: int = ANSWER_MAX_BYTES,
    ) -> None:
        self.host = host
        self.port = port
        self.answer_max_bytes = answer_max_bytes
        self._dialer = Dialer(host, port, tls=tls, proxy=proxy)
        self._connections_max = connections_max
        self._waiting_max = waiting_max
        self._queue_timeout_s = queue_timeout_s
        self._idle_s = idle_s
        self._connect_s = connect_s
        # Newest last, so oldest first.
        self._idle: dict[Connection, None] = {}
        self._open: set[Connection] = set()
        # Who waits, since when; those of them on whom no attempt is spent; attempts on which nobody counts any more.
        self._waiting: OrderedDict[Lease, float] = OrderedDict()
        self._unattended: OrderedDict[Lease, None] = OrderedDict()
        self._spare: OrderedDict[Attempt, None] = OrderedDict()
        self._attempts: set[Attempt] = set()
        self._closed = False

    @property
    def counts(self) -> tuple[int, int, int]:
        """(idle, busy, waiting) connections and requests, for gauges and tests."""
        return len(self._idle), len(self._open) - len(self._idle), len(self._waiting)

    @property
    def connecting(self) -> int:
        """Attempts to connect that are under way."""
        return len(self._attempts)

    def request(self, receiver: Receiver, head: bytes, body: bytes) -> Lease:
        """Send a request, now or as soon as a connection is there. The receiver hears of every end, never from here."""
        lease = Lease(receiver, head, body)
        self.send(lease)
        return lease

    def send(self, lease: Lease) -> None:
        """Likewise, for who has made the lease."""
        idle = self._idle
        while idle:
            connection = idle.popitem()[0]
            if not connection.closing:
                connection.start(lease)
                return
        self.submit(lease)

    def submit(self, lease: Lease) -> None:
        """Put `lease` in line for a connection that is given back or made."""
        if self._closed or (not self._room and len(self._unattended) >= self._waiting_max):
            kind, text = ("closed", "the pool is closed") if self._closed else ("queue_full", "too many are waiting")
            asyncio.get_running_loop().call_soon(lease.fail, Failure(Phase.CONNECT, kind, text))
            return
        lease.queue = self
        self._waiting[lease] = perf_counter()
        self._connect_for(lease)

    def leave(self, lease: Lease) -> None:
        """Forget one who waits, and the attempt made for it."""
        attempt = self._remove(lease)
        if attempt is not None:
            self._give_up(attempt)
        self._connect_next()

    def give_back(self, connection: Connection) -> None:
        """Take a connection whose exchange has ended: next in line, or idle."""
        if not self._waiting:
            connection.idle_since_s = perf_counter()
            self._idle[connection] = None
            return
        lease = next(iter(self._waiting))
        attempt = self._remove(lease)
        if attempt is not None:
            self._reassign(attempt)
        connection.start(lease)

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is gone and replace it if somebody waits."""
        self._open.discard(connection)
        self._idle.pop(connection, None)
        self._connect_next()

    def sweep(self, now_s: float) -> None:
        """Close connections idle for longer than `idle_s`, fail who waited too long (`now_s`: perf_counter)."""
        while self._idle:
            connection = next(iter(self._idle))
            if now_s - connection.idle_since_s < self._idle_s:
                break
            del self._idle[connection]
            connection.abort()
        while self._waiting:
            lease, since_s = next(iter(self._waiting.items()))
            if now_s - since_s < self._queue_timeout_s:
                break
            lease.queue = None
            self.leave(lease)
            lease.fail(Failure(Phase.CONNECT, "queue_timeout", f"no connection free within {self._queue_timeout_s} s"))

    def close(self) -> None:
        """Close everything; waiting requests fail."""
        self._closed = True
        for attempt in list(self._attempts):
            self._give_up(attempt)
        for connection in list(self._open):
            connection.shut_down()
        while self._waiting:
            lease = next(iter(self._waiting))
            self._remove(lease)
            lease.fail(Failure(Phase.CONNECT, "closed", "the gateway is shutting down"))

    @property
    def _room(self) -> bool:
        return len(self._open) + len(self._attempts) < self._connections_max

    def _remove(self, lease: Lease) -> Attempt | None:
        """Take `lease` out of the line; the attempt it counted on is nobody's then."""
        del self._waiting[lease]
        attempt, lease.attempt, lease.queue = lease.attempt, None, None
        if attempt is None:
            self._unattended.pop(lease, None)
        else:
            attempt.lease = None
        return attempt

    def _reassign(self, attempt: Attempt) -> None:
        """Whoever has no attempt counts on one whose lease has been served by another connection."""
        if not self._unattended:
            self._spare[attempt] = None
            return
        lease = self._unattended.popitem(last=False)[0]
        lease.attempt, attempt.lease, attempt.own = attempt, lease, False

    def _connect_for(self, lease: Lease) -> None:
        """Begin an attempt for one who waits, if need be instead of a spare one."""
        if not self._room:
            if not self._spare:
                self._unattended[lease] = None
                return
            self._give_up(next(iter(self._spare)))
        attempt = lease.attempt = Attempt(lease)
        self._attempts.add(attempt)
        attempt.task = asyncio.get_running_loop().create_task(self._connect(attempt))

    def _connect_next(self) -> None:
        """Use the room there may be now for those who have no attempt."""
        while self._unattended and self._room and not self._closed:
            self._connect_for(self._unattended.popitem(last=False)[0])

    def _give_up(self, attempt: Attempt) -> None:
        self._attempts.discard(attempt)
        self._spare.pop(attempt, None)
        if attempt.task is not None:
            attempt.task.cancel()

    async def _connect(self, attempt: Attempt) -> None:
        try:
            async with asyncio.timeout(self._connect_s):
                connection = await self._dialer.dial(lambda: Connection(self))
        except Exception as error:  # noqa: BLE001  whatever it was, nobody may go on waiting for this attempt
            self._end(attempt, None, _failure_of(error, self._connect_s))
        else:
            self._end(attempt, connection, Failure(Phase.CONNECT, "reset", "closed as soon as it was open"))

    def _end(self, attempt: Attempt, connection: Connection | None, failure: Failure) -> None:
        """Account for an attempt that succeeded (`connection`) or failed."""
        if attempt not in self._attempts:
            # Given up at the very moment it succeeded.
            if connection is not None:
                connection.abort()
            return
        self._attempts.discard(attempt)
        self._spare.pop(attempt, None)
        lease, attempt.lease = attempt.lease, None
        if lease is not None:
            lease.attempt = None
        if connection is not None and not connection.closing:
            if lease is not None:
                self._unattended[lease] = None
                self._unattended.move_to_end(lease, last=False)
            self._open.add(connection)
            self.give_back(connection)
        elif lease is not None and attempt.own:
            self._remove(lease)
            self._connect_next()
            lease.fail(failure)
            return
        elif lease is not None:
            self._connect_for(lease)
        self._connect_next()


def _failure_of(error: Exception, connect_s: float) -> Failure:
    """What went wrong with an attempt. The texts are for the log; ValueError: a name that IDNA or TLS refuses."""
    if isinstance(error, TimeoutError):
        return Failure(Phase.CONNECT, "connect_timeout", f"no connection within {connect_s} s")
    if isinstance(error, TunnelRefusedError):
        return Failure(Phase.CONNECT, "proxy_refused", str(error))
    kind = "tls" if isinstance(error, ssl.SSLError) else "refused"
    return Failure(Phase.CONNECT, kind, str(error) or type(error).__name__)
