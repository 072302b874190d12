"""What a script waits for with a ramp, and whether it has come, still can, or no longer will without a person."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.errors import InvalidArgument, nearest_names
from rollout.core.hold import HoldReason
from rollout.core.ramp_model import BEFORE_FIRST, Phase
from rollout.core.share import format_share, parse_share

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_HINT = "use completed, step:N, share:25% or phase:NAME"
_STOPS = (Phase.DRAFT, Phase.READY, Phase.PAUSED, Phase.ROLLED_BACK)
"""Phases that may be waited for while nobody gets the candidate."""
_ON_COURSE = (Phase.RUNNING, Phase.PAUSED, Phase.MONITORING, Phase.COMPLETED)


class Goal(NamedTuple):
    """One of a phase, a step (from 0), or a share in force (millipct) to be reached; `text` as it was written."""

    text: str
    phase: Phase | None = None
    step: int | None = None
    share_millipct: int | None = None


class Situation(NamedTuple):
    """What counts of a flag; `phase` is None without a ramp, `off` while it is killed or disabled.

    `holds`: why its share doesn't rise now, as `core.hold` names it.
    """

    phase: Phase | None
    in_force_millipct: int
    off: bool = False
    step: int = BEFORE_FIRST
    steps: int = 0
    holds: tuple[str, ...] = ()


class Outcome(StrEnum):
    """How it stands with a goal; UNDER_WAY alone may change without a person."""

    REACHED = "reached"
    ENDED = "ended"
    """Killed, disabled, rolled back, or completed short of the goal."""
    PAUSED = "paused"
    """Paused."""
    AWAITED = "awaited"
    """Not started, or held by nothing but a missing approval."""
    UNDER_WAY = "under_way"


def parse_goal(text: str) -> Goal:
    """Read "completed", "step:2", "share:25%" or "phase:MONITORING"; InvalidArgument for anything else."""
    kind, _, rest = text.strip().partition(":")
    read = _KINDS.get(kind)
    if read is None:
        raise InvalidArgument(f"{text!r} can't be waited for", _HINT)
    return read(rest)._replace(text=text.strip())


def outcome(goal: Goal, now: Situation) -> Outcome:
    """Judge; InvalidArgument for a goal that this flag's ramp can never reach."""
    _refuse_unreachable(goal, now)
    if goal.phase in _STOPS and now.phase is goal.phase:
        return Outcome.REACHED
    if now.off:
        return Outcome.ENDED
    if _is_reached(goal, now):
        return Outcome.REACHED
    if now.phase in (Phase.COMPLETED, Phase.ROLLED_BACK):
        return Outcome.ENDED
    if now.phase is Phase.PAUSED:
        return Outcome.PAUSED
    return Outcome.AWAITED if _awaits_a_person(now) else Outcome.UNDER_WAY


def _awaits_a_person(now: Situation) -> bool:
    if now.phase in (Phase.DRAFT, Phase.READY):
        return True
    return now.phase is Phase.RUNNING and set(now.holds) == {HoldReason.AWAITING_APPROVAL}


def _is_reached(goal: Goal, now: Situation) -> bool:
    if goal.phase is not None:
        return now.phase is goal.phase
    if goal.step is not None:
        return now.phase in _ON_COURSE and now.step >= goal.step
    # While it is rolled back a share is on its way down.
    return now.phase is not Phase.ROLLED_BACK and now.in_force_millipct >= (goal.share_millipct or 0)


def _refuse_unreachable(goal: Goal, now: Situation) -> None:
    if goal.share_millipct is not None:
        return
    if now.phase is None:
        raise InvalidArgument("it has no ramp", "wait for a share, as in share:25%, or give it a ramp")
    if goal.step is not None and goal.step >= now.steps:
        raise InvalidArgument(f"there is no step {goal.step}", f"use 0..{now.steps - 1}")


def _completed(rest: str) -> Goal:
    if rest:
        raise InvalidArgument(f"{rest!r} says nothing of being completed", _HINT)
    return Goal("", phase=Phase.COMPLETED)


def _phase(rest: str) -> Goal:
    name = rest.strip().upper()
    if name not in Phase.__members__:
        nearest = nearest_names(name, Phase.__members__)
        meant = f"did you mean {nearest[0]}?" if nearest else f"phases: {', '.join(Phase)}"
        raise InvalidArgument(f"{rest!r} is no phase of a ramp", meant)
    return Goal("", phase=Phase[name])


def _step(rest: str) -> Goal:
    if re.fullmatch(r"[0-9]{1,3}", rest) is None:
        raise InvalidArgument(f"{rest!r} is no step", "steps are counted from 0, as in step:2")
    return Goal("", step=int(rest))


def _share(rest: str) -> Goal:
    millipct = parse_share(rest)
    if not millipct:
        raise InvalidArgument(f"a share of {format_share(millipct)} is always reached", "wait for a greater one")
    return Goal("", share_millipct=millipct)


_KINDS: Mapping[str, Callable[[str], Goal]] = {
    "completed": _completed,
    "phase": _phase,
    "step": _step,
    "share": _share,
}
