"""Each call of the callers beside what the simulators' ledgers have on it (pure).

A call may arrive at the simulators as often as the gateway says it tried (`x-glidepath-attempts`), not oftener, but for
those that broke there: on a kept connection that ends without a byte of the answer, the gateway sends once more. One
whose answer came whole was answered by one of them; one of which only half was sent never arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from loadtests.simulator.ledger import Digest
from loadtests.soak.answer import Fate
from loadtests.soak.plan import identifier_of
from loadtests.soak.tally import UNSEEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtests.soak.tally import Tally

ATTEMPTS_MAX = 2
BATCH = 5_000
_SHOWN = 20


class Mark(NamedTuple):
    """What the simulators together have on one id."""

    arrived: int
    completed: int
    broken: int = 0


class Audit:
    """Compares call by call; `lost`, `doubled` and `from_nothing` hold the first offenders."""

    def __init__(self) -> None:
        self.calls = 0
        self.lost: list[str] = []
        self.doubled: list[str] = []
        self.from_nothing: list[str] = []
        self.offences = 0
        self.arrived = Digest()
        self.attempts_kept = 0
        """Sum of attempts over kept calls, as their callers read them."""
        self.arrived_kept = 0
        self.broken_kept = 0
        self.extra_kept = 0
        """Sum of the attempts beyond the first."""

    def take(self, tally: Tally, numbers: range, marks: Sequence[Mark]) -> None:
        """Compare these calls of a driver."""
        for number, mark in zip(numbers, marks, strict=True):
            identifier = identifier_of(tally.run, number)
            self.calls += 1
            for _ in range(mark.arrived):
                self.arrived.add(identifier)
            fate, attempts = Fate(tally.fates[number]), tally.attempts[number]
            self._judge(identifier, fate, attempts, mark)
            if not tally.planned_left[number] and attempts != UNSEEN:
                self.attempts_kept += attempts
                self.extra_kept += max(0, attempts - 1)
                self.arrived_kept += mark.arrived
                self.broken_kept += mark.broken

    def _judge(self, identifier: str, fate: Fate, attempts: int, mark: Mark) -> None:
        if mark.arrived - mark.broken > (ATTEMPTS_MAX if attempts == UNSEEN else attempts):
            self._note(self.doubled, identifier)
        if fate is Fate.WHOLE and not (mark.arrived and mark.completed):
            self._note(self.lost, identifier)
        if fate in {Fate.HALF_SENT, Fate.NO_CONNECTION} and mark.arrived:
            self._note(self.from_nothing, identifier)

    def _note(self, offenders: list[str], identifier: str) -> None:
        self.offences += 1
        if len(offenders) < _SHOWN:
            offenders.append(identifier)


def batches(tally: Tally) -> Iterator[range]:
    """A driver's calls in portions that the simulators can be asked about."""
    for start in range(0, tally.made, BATCH):
        yield range(start, min(start + BATCH, tally.made))
