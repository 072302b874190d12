"""How much of what a gate is about stands behind what it says: a part of its verdict, for people and the audit log."""

from __future__ import annotations

import msgspec


class ArmCoverage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of one arm. `judged`: have an outcome; `left_out`: have none, though nothing kept it away before the draw.

    `rated`: those of the judged that callers have rated, None where nobody asks for ratings.
    """

    judged: int = 0
    left_out: int = 0
    rated: int | None = None

    @property
    def all(self) -> int:
        """Both, the judged and the left out."""
        return self.judged + self.left_out

    @property
    def left_out_ratio(self) -> float:
        """The left out of all, 0 where there is nobody."""
        return self.left_out / self.all if self.all else 0.0


class Coverage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of both arms, in the gate's scope. `of`: what is counted ("units", "requests", "shadow calls").

    `limit`: the ratio of left out in either arm above which a gate that lets the share grow has no answer.
    """

    of: str
    candidate: ArmCoverage
    baseline: ArmCoverage
    limit: float

    @property
    def by_arm(self) -> tuple[tuple[str, ArmCoverage], ...]:
        """Both, with their names."""
        return ("candidate", self.candidate), ("baseline", self.baseline)
