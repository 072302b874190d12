"""A unit that has come of age, on its way into the sums of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rollout.core.claims import Claim

if TYPE_CHECKING:
    from gateway.core.unit_outcomes import Outcome
    from gateway.core.unit_places import Place


class Judged(NamedTuple):
    """A unit that has come of age: what it came to, for each series of its place."""

    place: Place
    arrived_s: float
    digest: int
    candidate: bool
    success: float | None
    outcomes: tuple[Outcome, ...]

    @property
    def claim(self) -> Claim:
        """What stands for it in the store."""
        return Claim(self.place.flag.feature, self.place.draw, self.digest)
