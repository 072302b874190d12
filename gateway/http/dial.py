"""Making one connection: name -> addresses -> the first socket that answers -> the proxy's tunnel -> TLS."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from gateway.http.tunnel import open_tunnel

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from gateway.http.tunnel import Proxy

_ADDRESSES_MAX = 8
_STAGGER_S = 0.25
"""The next address is tried as well when one has not answered for so long (RFC 8305)."""

_ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)


class Address(NamedTuple):
    """One address of a host, as sockets take it."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]


class Dialer:
    """How to reach one endpoint. The name is looked up for each connection, so that changes of DNS are followed."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, proxy: Proxy | None = None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._proxy = proxy
        self._peer = (proxy.host, proxy.port) if proxy else (host, port)

    async def dial(self, factory: Callable[[], _ProtocolT]) -> _ProtocolT:
        """Connect and make the protocol. Raises OSError, ValueError (a name no resolver takes), TunnelRefusedError."""
        connected = await first_connected(await resolve(*self._peer))
        try:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._proxy and self._tls:
                await open_tunnel(connected, self._host, self._port, self._proxy)
        except BaseException:
            connected.close()
            raise
        # From here on the socket is the loop's, which closes it whatever happens.
        name = self._host if self._tls else None
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(factory, sock=connected, ssl=self._tls, server_hostname=name)
        return protocol


async def resolve(host: str, port: int) -> list[Address]:
    """Addresses of `host` in the order to try them: the resolver's, families taking turns."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))  # type: ignore[arg-type]
    if not addresses:
        raise OSError(f"{host} has no address")
    first = [each for each in addresses if each.family == addresses[0].family]
    others = [each for each in addresses if each.family != addresses[0].family]
    mixed = chain.from_iterable(zip_longest(first, others))
    return [each for each in mixed if each is not None][:_ADDRESSES_MAX]


async def first_connected(addresses: Sequence[Address]) -> socket.socket:
    """A socket to the first address that answers; the others are closed. Raises OSError of the last one that failed."""
    if len(addresses) == 1:
        return await _connect(addresses[0])
    waiting = deque(addresses)
    racing: set[asyncio.Task[socket.socket]] = set()
    failure = OSError("no address")
    try:
        while waiting or racing:
            if waiting:
                racing.add(asyncio.get_running_loop().create_task(_connect(waiting.popleft())))
            patience_s = _STAGGER_S if waiting else None
            done, racing = await asyncio.wait(racing, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            winners = [task for task in done if task.exception() is None]
            if winners:
                racing.update(winners[1:])
                return winners[0].result()
            for task in done:
                failure = task.exception()  # type: ignore[assignment]
        raise failure
    finally:
        for task in racing:
            task.cancel()
            task.add_done_callback(_close)


def _close(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _connect(address: Address) -> socket.socket:
    connecting = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, address.sockaddr)
    except BaseException:
        with suppress(OSError):
            connecting.close()
        raise
    return connecting
