"""Ports: found free for a demo, checked free for a stack at fixed ones."""

import random
import socket
from collections.abc import Iterable, Mapping

from loadtests.demo.errors import PortTakenError
from loadtests.demo.layout import HOST, Ports

# Below the range from which outgoing connections take theirs, so that none is taken between finding and using it.
_RANGE = range(20_000, 32_000)


def free_ports() -> Ports:
    """Return ports on which nothing listens."""
    drawn = (port for port in random.sample(_RANGE, len(_RANGE)) if is_free(port))
    return Ports(*(next(drawn) for _ in Ports._fields))


def check_free(ports: Ports, options: Mapping[str, str], parts: Iterable[str] = Ports._fields) -> None:
    """Raise PortTakenError for the first port that is in use; `options` says which option moves a part."""
    for part in parts:
        port = getattr(ports, part)
        if not is_free(port):
            cause = f"port {port} on {HOST}, meant for {part}, is in use"
            raise PortTakenError(cause, f"stop what listens there, or choose another with {options[part]}")


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
