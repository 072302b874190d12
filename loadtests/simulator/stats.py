"""What the simulator saw: requests by how they ended, by model and by fault, and each abort with its time."""

from collections import Counter, deque
from enum import StrEnum
from typing import Any, Final

import msgspec

from loadtests.simulator.faults import Fault

UNKNOWN_MODEL: Final = "(unknown)"
_ABORTS_KEPT: Final = 1000


class Ending(StrEnum):
    """How a request ended: answered in full, left by the client, or broken off by a fault (or the simulator's end)."""

    COMPLETED = "completed"
    ABORTED = "aborted"
    BROKEN = "broken"


class Abort(msgspec.Struct, frozen=True):
    """One request whose client left: when (Unix seconds), how long after it came, and how much it had been sent."""

    at_s: float
    after_s: float
    events_sent: int
    model: str
    request_id: str
    fault: str | None


class Exchange:
    """One request from its arrival to its one ending; settling twice is an error of the caller."""

    __slots__ = ("fault", "model", "request_id", "settled", "stats", "status")

    def __init__(self, stats: "Stats", model: str, request_id: str, fault: Fault | None, status: int) -> None:
        self.stats = stats
        self.model = model
        self.request_id = request_id
        self.fault = None if fault is None else fault.kind.value
        self.status = status
        self.settled = False

    def settle(self, ending: Ending) -> None:
        """Count how this request ended."""
        if self.settled:
            raise RuntimeError(f"request {self.request_id} settled twice")
        self.settled = True
        self.stats.ended[self.model, ending] += 1

    def abort(self, at_s: float, after_s: float, events_sent: int) -> None:
        """Count that the client left, and when."""
        self.settle(Ending.ABORTED)
        self.stats.aborts.append(Abort(at_s, after_s, events_sent, self.model, self.request_id, self.fault))


class Stats:
    """Counters of one simulator; model names come from its configuration, so they stay few."""

    def __init__(self) -> None:
        self.started: Counter[str] = Counter()
        self.ended: Counter[tuple[str, Ending]] = Counter()
        self.statuses: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.aborts: deque[Abort] = deque(maxlen=_ABORTS_KEPT)

    def begin(self, model: str, request_id: str, fault: Fault | None, status: int) -> Exchange:
        """Count a request as started and return what settles it."""
        self.started[model] += 1
        self.statuses[status] += 1
        if fault is not None:
            self.faults[fault.kind.value] += 1
        return Exchange(self, model, request_id, fault, status)

    def snapshot(self) -> dict[str, Any]:
        """Return all counts as plain data, in total and per model."""
        return {
            "simulator": True,
            "requests": self._counts(list(self.started)),
            "models": {model: self._counts([model]) for model in sorted(self.started)},
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "faults": dict(sorted(self.faults.items())),
            "aborts": [msgspec.to_builtins(abort) for abort in self.aborts],
        }

    def _counts(self, models: list[str]) -> dict[str, int]:
        counts = {"started": sum(self.started[model] for model in models)}
        counts |= {ending.value: sum(self.ended[model, ending] for model in models) for ending in Ending}
        return counts | {"in_flight": 2 * counts["started"] - sum(counts.values())}
