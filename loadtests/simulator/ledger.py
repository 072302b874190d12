"""Who asked what: requests counted by the id their caller gave them, and the last of them kept whole.

Both are bounded. `Digest` isn't: a sum of hashes over any number of ids, so that a soak test can show that nothing was
lost or doubled by comparing two numbers.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import mmh3

from loadtests.simulator.request import Request

_MASK: Final = (1 << 64) - 1
_BODY_SHOWN_BYTES: Final = 64 << 10


class Digest:
    """How many ids there were, and the sum of their hashes modulo 2^64: equal when the same ids came equally often."""

    __slots__ = ("count", "total")

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self.count = 0
        self.total = 0
        for each in ids:
            self.add(each)

    def add(self, identifier: str) -> None:
        """Count one id."""
        self.count += 1
        self.total = (self.total + mmh3.hash64(identifier, signed=False)[0]) & _MASK

    def shown(self) -> dict[str, Any]:
        """Return both numbers as plain data; the sum as hexadecimal digits, which JSON keeps whole."""
        return {"count": self.count, "sum": f"{self.total:016x}"}


class Seen:
    """One request as it came, and how it ended; `ending` and `after_s` are None while it is in progress."""

    __slots__ = ("after_s", "arrived_s", "ending", "fault", "identifier", "request", "status")

    def __init__(self, request: Request, identifier: str, arrived_s: float) -> None:
        self.request = request
        self.identifier = identifier
        self.arrived_s = arrived_s
        self.status = 0
        self.fault: str | None = None
        self.ending: str | None = None
        self.after_s: float | None = None

    def shown(self) -> dict[str, Any]:
        """Return it as plain data: header names in lower case, in their order; the beginning of a long body."""
        found = {name: getattr(self, name) for name in self.__slots__ if name != "request"}
        headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in self.request.headers]
        body = self.request.body[:_BODY_SHOWN_BYTES].decode("utf-8", "replace")
        return found | self.request._asdict() | {"headers": headers, "body": body}


# Four counts of one id in one number: no object for the garbage collector to walk through, of which there are many.
_PLACES: Final = {"arrived": 0, "completed": 16, "aborted": 32, "broken": 48}
_PLACE_MASK: Final = (1 << 16) - 1


class Ledger:
    """The last `ids_kept` ids with their tallies, the last `requests_kept` requests, and digests over all."""

    def __init__(self, ids_kept: int, requests_kept: int) -> None:
        self._ids_kept = ids_kept
        self._tallies: dict[str, int] = {}
        self._requests: deque[Seen] = deque(maxlen=requests_kept)
        self.arrived = Digest()
        self.completed = Digest()
        self.duplicates = 0

    def arrive(self, seen: Seen) -> None:
        """Count a request; without an id it is only kept."""
        self._requests.append(seen)
        identifier = seen.identifier
        if not identifier:
            return
        self.arrived.add(identifier)
        before = self._tallies.get(identifier)
        if before is not None:
            self.duplicates += 1
            self._tallies[identifier] = before + 1
            return
        self._tallies[identifier] = 1
        if len(self._tallies) > self._ids_kept:
            del self._tallies[next(iter(self._tallies))]

    def end(self, seen: Seen, ending: str, after_s: float) -> None:
        """Count how a request ended (`completed`, `aborted` or `broken`)."""
        seen.ending, seen.after_s = ending, after_s
        identifier = seen.identifier
        if ending == "completed" and identifier:
            self.completed.add(identifier)
        before = self._tallies.get(identifier)
        if before is not None:
            self._tallies[identifier] = before + (1 << _PLACES[ending])

    def tallies(self, identifier: str) -> dict[str, int]:
        """Return the counts of one id; zeros when it never came or is forgotten."""
        packed = self._tallies.get(identifier, 0)
        return {name: packed >> place & _PLACE_MASK for name, place in _PLACES.items()}

    def last(self, count: int, identifier: str | None = None) -> list[dict[str, Any]]:
        """Return the last `count` kept requests (of one id), the latest last."""
        found = [seen for seen in self._requests if identifier in (None, seen.identifier)]
        return [seen.shown() for seen in found[max(0, len(found) - count) :]]

    def snapshot(self) -> dict[str, Any]:
        """Return the digests, the number of repeats among the ids kept, and which ids (up to 100) came repeatedly."""
        repeated = [name for name, packed in self._tallies.items() if packed & _PLACE_MASK > 1]
        return {
            "arrived": self.arrived.shown(),
            "completed": self.completed.shown(),
            "duplicates": self.duplicates,
            "repeated": repeated[:100],
        }
