"""One HTTP request as the simulator reads it from a socket."""

from typing import NamedTuple

Headers = tuple[tuple[bytes, bytes], ...]


class Request(NamedTuple):
    """A whole request; header names are in lower case. It is the `nth` (from 0) of connection number `connection`."""

    method: str
    path: str
    body: bytes = b""
    headers: Headers = ()
    keep_alive: bool = True
    query: str = ""
    connection: int = 0
    nth: int = 0

    def has(self, name: bytes) -> bool:
        """Return whether there is a header of that name."""
        return any(each == name for each, _ in self.headers)
