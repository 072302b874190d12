"""What the callers of one or more drivers saw, small enough for a million calls."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from loadtests.soak.answer import Fate

UNSEEN = 255
"""No answer's head was seen, so the number of attempts is not known."""


class Tally(NamedTuple):
    """Of one driver: by call number a `Fate`, the attempts the answer's head named, and whether it was to be left.

    `problems` counts words on what was not whole; `late` how many calls were not made as no connection was to be had.
    """

    run: str
    fates: bytes
    attempts: bytes
    planned_left: bytes
    problems: dict[str, int]
    late: int
    seconds: float

    @property
    def made(self) -> int:
        """Calls for which anything was sent, or a connection tried."""
        return len(self.fates)

    def counts(self, *, left: bool) -> Counter[Fate]:
        """How many calls of the kept or of the left ones met which fate."""
        pairs = zip(self.fates, self.planned_left, strict=True)
        return Counter(Fate(fate) for fate, planned in pairs if bool(planned) is left)


def summed(tallies: list[Tally], *, left: bool) -> Counter[Fate]:
    """The counts of several drivers."""
    return sum((tally.counts(left=left) for tally in tallies), Counter[Fate]())


def problems_of(tallies: list[Tally]) -> Counter[str]:
    """What was not whole, over all drivers."""
    return sum((Counter(tally.problems) for tally in tallies), Counter[str]())
