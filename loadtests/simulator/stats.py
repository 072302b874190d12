"""What the simulator saw: requests by how they ended, by model, endpoint and fault, and each abort with its time."""

from collections import Counter, deque
from enum import StrEnum
from typing import Any, Final

import msgspec

from loadtests.simulator.faults import Fault
from loadtests.simulator.ledger import Ledger, Seen

UNKNOWN_MODEL: Final = "(unknown)"
IDS_KEPT: Final = 100_000
REQUESTS_KEPT: Final = 100
_ABORTS_KEPT: Final = 1000


class Ending(StrEnum):
    """How a request ended: answered in full, left by the client, or broken off by a fault (or the simulator's end)."""

    COMPLETED = "completed"
    ABORTED = "aborted"
    BROKEN = "broken"


class Abort(msgspec.Struct, frozen=True):
    """One request whose client left: when (Unix seconds), how long after it came, and how much it had been sent.

    `request_id` is the simulator's own, `caller_id` the `x-request-id` the request came with.
    """

    at_s: float
    after_s: float
    events_sent: int
    model: str
    request_id: str
    fault: str | None
    path: str
    caller_id: str


class Counts:
    """How many requests of one model on one endpoint started, and how they ended."""

    __slots__ = ("aborted", "broken", "completed", "started")

    def __init__(self) -> None:
        self.started = self.completed = self.aborted = self.broken = 0


class Exchange:
    """One request from its arrival to its one ending; settling twice is an error of the caller."""

    __slots__ = ("counts", "model", "request_id", "seen", "settled", "stats", "stream")

    def __init__(
        self, stats: "Stats", model: str, request_id: str, seen: Seen, counts: Counts, *, stream: bool
    ) -> None:
        self.stats = stats
        self.model = model
        self.request_id = request_id
        self.seen = seen
        self.counts = counts
        self.stream = stream
        self.settled = False

    def settle(self, ending: Ending, after_s: float = 0.0) -> None:
        """Count how this request ended, `after_s` seconds after it came."""
        if self.settled:
            raise RuntimeError(f"request {self.request_id} settled twice")
        self.settled = True
        self.stats.streams_open -= self.stream
        if ending is Ending.COMPLETED:
            self.counts.completed += 1
        elif ending is Ending.ABORTED:
            self.counts.aborted += 1
        else:
            self.counts.broken += 1
        self.stats.ledger.end(self.seen, ending, after_s)

    def abort(self, at_s: float, after_s: float, events_sent: int) -> None:
        """Count that the client left, and when."""
        self.settle(Ending.ABORTED, after_s)
        seen = self.seen
        path = seen.request.path
        self.stats.aborts.append(
            Abort(at_s, after_s, events_sent, self.model, self.request_id, seen.fault, path, seen.identifier)
        )


class Stats:
    """Counters of one simulator; model names come from its configuration, so they stay few."""

    def __init__(self, ids_kept: int = IDS_KEPT, requests_kept: int = REQUESTS_KEPT) -> None:
        self._counts: dict[tuple[str, str], Counts] = {}
        self.statuses: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.aborts: deque[Abort] = deque(maxlen=_ABORTS_KEPT)
        self.ledger = Ledger(ids_kept, requests_kept)
        self.streams_open = 0

    @property
    def started(self) -> int:
        """Return how many requests have come."""
        return sum(counts.started for counts in self._counts.values())

    def begin(
        self, model: str, request_id: str, fault: Fault | None, status: int, seen: Seen, *, stream: bool = False
    ) -> Exchange:
        """Count a request as started and return what settles it."""
        place = (model, seen.request.path)
        counts = self._counts.get(place)
        if counts is None:
            counts = self._counts[place] = Counts()
        counts.started += 1
        self.statuses[status] += 1
        self.streams_open += stream
        if fault is not None:
            self.faults[fault.kind.value] += 1
            seen.fault = fault.kind.value
        seen.status = status
        self.ledger.arrive(seen)
        return Exchange(self, model, request_id, seen, counts, stream=stream)

    def snapshot(self) -> dict[str, Any]:
        """Return all counts as plain data, in total, per model and per endpoint."""
        places = sorted(self._counts)
        return {
            "simulator": True,
            "requests": self._summed(places),
            "models": {name: self._summed([place for place in places if place[0] == name]) for name, _ in places},
            "endpoints": {path: self._summed([place for place in places if place[1] == path]) for _, path in places},
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "faults": dict(sorted(self.faults.items())),
            "streams_open": self.streams_open,
            "ids": self.ledger.snapshot(),
            "aborts": [msgspec.to_builtins(abort) for abort in self.aborts],
        }

    def _summed(self, places: list[tuple[str, str]]) -> dict[str, int]:
        names = ("started", "completed", "aborted", "broken")
        found = {name: sum(getattr(self._counts[place], name) for place in places) for name in names}
        return found | {"in_flight": 2 * found["started"] - sum(found.values())}
