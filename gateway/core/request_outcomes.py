"""What requests of users come to, as far as their Records tell: whether the assigned arm gave an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.units import success_of
from rollout.core.evidence.names import ERRORS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.outcome import Record
    from rollout.core.evidence.plans import Series

ABSENT = -1.0


class AnswersOnly:
    """Implements `Outcomes`: requests are absent from all series but those of errors."""

    def of(self, record: Record, series: Sequence[Series]) -> tuple[float | None, ...]:
        """See `Outcomes`."""
        return tuple([success_of(record) if each.metric == ERRORS else ABSENT for each in series])

    def learn(self, now_s: float, due: Sequence[Record]) -> None:
        """See `Outcomes`."""
