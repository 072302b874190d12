"""Where the scores of judged pairs go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.core.judging.score import Scored


class ScoreSink(Protocol):
    """Whoever wants the scores. `take` returns at once."""

    def take(self, scored: Scored) -> None:
        """Take one. Each pair comes once at most."""
        ...


class NoEvidence:
    """Keeps nothing: the counters of the judges say what was found."""

    def take(self, scored: Scored) -> None:
        """ScoreSink."""
