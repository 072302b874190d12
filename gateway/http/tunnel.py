"""The way through an outbound proxy: a tunnel (CONNECT) for https, the whole URL in the request line for http.

The proxy's credentials go to the proxy, and into no error and no log.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import socket

_HEAD_MAX_BYTES = 16_384
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n")


class TunnelRefusedError(Exception):
    """The proxy did not open the tunnel."""


class Proxy(NamedTuple):
    """Where the proxy is, and the header line that opens it ("" if it is open to all)."""

    host: str
    port: int
    authorization: str

    def __repr__(self) -> str:
        """Without the credentials."""
        return f"Proxy({self.host}:{self.port})"


def proxy_of(url: str, credentials: str | None) -> Proxy:
    """The proxy at `url` (http://host[:port]); `credentials`: `user:password`."""
    parts = urlsplit(url)
    token = b64encode(credentials.encode()).decode("ascii") if credentials else ""
    line = f"proxy-authorization: Basic {token}\r\n" if token else ""
    return Proxy(parts.hostname or "", parts.port or 80, line)


def connect_request(host: str, port: int, proxy: Proxy) -> bytes:
    """Ask for a tunnel to `host`."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{proxy.authorization}\r\n".encode("ascii")


async def open_tunnel(connected: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Turn `connected`, non-blocking, to the proxy, into a socket to `host`. Raises `TunnelRefusedError`, OSError."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connected, connect_request(host, port, proxy))
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0:
        if len(answer) > _HEAD_MAX_BYTES:
            raise TunnelRefusedError("the proxy's answer is too large")
        received = await loop.sock_recv(connected, 4096)
        if not received:
            raise TunnelRefusedError("the proxy closed the connection")
        answer += received
    status = _STATUS_LINE.match(answer)
    if status is None:
        raise TunnelRefusedError("the proxy's answer is not HTTP")
    if not status[1].startswith(b"2"):
        raise TunnelRefusedError(f"the proxy answered {status[1].decode()}")
    if end + 4 != len(answer):
        # A TLS server waits for its client: these bytes are the proxy's own.
        raise TunnelRefusedError("the proxy said more than that the tunnel is open")
