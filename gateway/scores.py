"""Where the scores of judged pairs go, and what a judge has lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.core.judging.score import Lost, Scored, Spared


class ScoreSink(Protocol):
    """Whoever wants the scores. Returns at once."""

    def take(self, scored: Scored) -> None:
        """Take one. Each pair comes once at most."""
        ...

    def lose(self, lost: Lost) -> None:
        """Note that a pair has no score because of its judge."""
        ...

    def spare(self, spared: Spared) -> None:
        """Note that a pair gets none by rule."""
        ...
