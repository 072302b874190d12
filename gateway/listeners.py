"""The listening sockets. The public port has one per worker; the kernel spreads connections over them (SO_REUSEPORT).

The supervisor keeps all of them open: connections that wait in the queue of a dead worker's socket are accepted by
whoever takes its place. A listening socket that is closed resets the connections in its queue.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from gateway.start_error import StartError

if TYPE_CHECKING:
    from gateway.settings import Settings

BACKLOG = 4096


class Listeners:
    """The public port's sockets, one per slot, and the operator's."""

    def __init__(self, settings: Settings) -> None:
        """Open both ports before anything else is done. Raises `StartError`."""
        server = settings.server
        self.public = [listen("server", server.host, server.port)]
        try:
            self.admin = listen("admin", settings.admin.host, settings.admin.port)
            self.widen(server.workers)
        except BaseException:
            self.close_public()
            raise

    def widen(self, slots: int) -> None:
        """See to it that the public port has a socket for each of so many slots; it never gets fewer."""
        host, port = self.public[0].getsockname()[:2]
        while len(self.public) < slots:
            self.public.append(listen("server", host, port, shared=True))

    def close_public(self) -> None:
        """Let go of the public port; a socket that a worker has too stays open there."""
        for each in self.public:
            each.close()

    def close(self) -> None:
        """Let go of both ports."""
        self.close_public()
        self.admin.close()


def url_of(listener: socket.socket) -> str:
    """The address to show."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def listen(section: str, host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Open one socket; `shared`: beside others of its kind, not listening yet. Raises `StartError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        # Set after the first bind, so that a port in use is refused even if its user shares it, too: two gateways on
        # one port would each get a part of the traffic, and nobody would notice.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if not shared:  # else once a worker accepts from it
            listener.listen(BACKLOG)
    except (OSError, ValueError) as error:  # ValueError: a name that IDNA refuses
        listener.close()
        why = error.strerror if isinstance(error, OSError) else "no usable host name"
        cause = f"cannot listen on {host}:{port} ([{section}]): {why}"
        raise StartError(cause, f"stop what uses it, or set [{section}] host and port") from None
    return listener
