"""The ramp's table of phases, and the values that go in and out of its steps.

| phase       | happens                                          | and then the phase is             |
| ----------- | ------------------------------------------------ | --------------------------------- |
| DRAFT       | create                                           | READY                             |
| READY       | start; end                                       | RUNNING; DRAFT                    |
| RUNNING     | advance; monitor (the last step is proven)       | RUNNING; MONITORING               |
| MONITORING  | complete                                         | COMPLETED                         |
| RUNNING, MONITORING | pause, kill, unkill, jump, set_share     | PAUSED                            |
| PAUSED      | resume; watch (it was monitoring); create        | RUNNING; MONITORING; PAUSED       |
| RUNNING, PAUSED, MONITORING | complete; end                    | COMPLETED; DRAFT                  |
| any         | roll_back                                        | ROLLED_BACK                       |
| ROLLED_BACK | lower, create; after the cooldown restart or end | ROLLED_BACK; RUNNING, DRAFT       |
| COMPLETED   | create                                           | READY                             |

Commands that leave the phase as it is are in `_TABLE` alone. Whatever it doesn't name raises `RampRefused` and changes
nothing. A kill lies over the phases: while it is on nobody gets the candidate, and what ran before is paused after it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rollout.core.errors import RampRefused
from rollout.core.hold import Hold, HoldReason
from rollout.core.ramp_model import Gate, GateMemory, Phase, Progress, RampPlan, Rollback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollout.core.gates import Reading, Verdict

__all__ = [
    "Capacity", "Effect", "EffectKind", "Event", "Hold", "HoldReason", "Observations", "Ramp", "Transition",
    "next_phase", "typed", "unchanged",
]  # fmt: skip


class Event(StrEnum):
    """What can happen to a ramp: commands, and what ticks find."""

    CREATE = "create"
    START = "start"
    ADVANCE = "advance"
    MONITOR = "monitor"
    PAUSE = "pause"
    RESUME = "resume"
    WATCH = "watch"
    JUMP = "jump"
    SET_SHARE = "set_share"
    COMPLETE = "complete"
    ROLL_BACK = "roll_back"
    LOWER = "lower"
    RESTART = "restart"
    END = "end"
    APPROVE = "approve"
    EXTEND = "extend"
    ACK = "ack"
    KILL = "kill"
    UNKILL = "unkill"


_FOUND_BY_TICKS = frozenset({Event.MONITOR, Event.WATCH, Event.LOWER})

_TYPED = {
    Event.CREATE: "apply",
    Event.ADVANCE: "promote",
    Event.ROLL_BACK: "abort",
    Event.SET_SHARE: "set-share",
    Event.WATCH: "resume",
}

_STOPPED = dict.fromkeys((Event.PAUSE, Event.KILL, Event.UNKILL, Event.JUMP, Event.SET_SHARE), Phase.PAUSED)
_ENDED = {Event.COMPLETE: Phase.COMPLETED, Event.ROLL_BACK: Phase.ROLLED_BACK, Event.END: Phase.DRAFT}


def _kept(phase: Phase, *events: Event) -> dict[Event, Phase]:
    return dict.fromkeys(events, phase)


_TABLE: Mapping[Phase, Mapping[Event, Phase]] = {
    Phase.DRAFT: {
        Event.CREATE: Phase.READY,
        Event.ROLL_BACK: Phase.ROLLED_BACK,
        **_kept(Phase.DRAFT, Event.APPROVE, Event.SET_SHARE, Event.KILL, Event.UNKILL),
    },
    Phase.READY: {
        Event.START: Phase.RUNNING,
        Event.ROLL_BACK: Phase.ROLLED_BACK,
        Event.END: Phase.DRAFT,
        **_kept(Phase.READY, Event.CREATE, Event.APPROVE, Event.SET_SHARE, Event.KILL, Event.UNKILL),
    },
    Phase.RUNNING: {
        Event.MONITOR: Phase.MONITORING,
        **_STOPPED,
        **_ENDED,
        **_kept(Phase.RUNNING, Event.ADVANCE, Event.APPROVE, Event.EXTEND),
    },
    Phase.PAUSED: {
        Event.RESUME: Phase.RUNNING,
        Event.WATCH: Phase.MONITORING,
        **_STOPPED,
        **_ENDED,
        **_kept(Phase.PAUSED, Event.CREATE, Event.APPROVE, Event.EXTEND, Event.ACK),
    },
    Phase.MONITORING: {
        **_STOPPED,
        **_ENDED,
        **_kept(Phase.MONITORING, Event.EXTEND),
    },
    Phase.COMPLETED: {
        Event.CREATE: Phase.READY,
        Event.ROLL_BACK: Phase.ROLLED_BACK,
        **_kept(Phase.COMPLETED, Event.APPROVE, Event.SET_SHARE, Event.KILL, Event.UNKILL),
    },
    Phase.ROLLED_BACK: {
        Event.RESTART: Phase.RUNNING,
        Event.END: Phase.DRAFT,
        **_kept(Phase.ROLLED_BACK, Event.ROLL_BACK, Event.LOWER, Event.CREATE, Event.APPROVE, Event.ACK),
        **_kept(Phase.ROLLED_BACK, Event.SET_SHARE, Event.KILL, Event.UNKILL),
    },
}


_LOWERED, _ONLY_DOWN = (Phase.ROLLED_BACK, "set-share"), "set-share (only down)"


def typed(event: Event) -> str:
    """Name an event as the command that people type; the audit log and the API have its own name."""
    return _TYPED.get(event, event.value)


def next_phase(phase: Phase, event: Event) -> Phase:
    """Look the event up; RampRefused, with what is possible instead, when the phase doesn't allow it."""
    row = _TABLE[phase]
    if event not in row:
        names = sorted(typed(each) for each in row if each not in _FOUND_BY_TICKS)
        possible = ", ".join(_ONLY_DOWN if (phase, name) == _LOWERED else name for name in names)
        raise RampRefused(f"{typed(event)} is not possible while the ramp is {phase}", f"possible now: {possible}")
    return row[event]


class Capacity(NamedTuple):
    """How large a part of this feature's traffic each side bears in all, in millipct; None: nobody has measured it."""

    candidate: int | None = None
    baseline: int | None = None


class Observations(NamedTuple):
    """What a tick is told about the world, nothing of it trusted.

    `gates`: by name, a Reading for thresholds, a Verdict for evidence. `samples`: units assigned to the candidate since
    `samples_since_s`. `sample_ratio`: FAIL when the arms' sizes contradict the share. `faults`: in the configuration.
    """

    gates: Mapping[str, Reading | Verdict] = {}
    samples: int | None = None
    samples_since_s: float | None = None
    sample_ratio: Verdict | None = None
    faults: tuple[str, ...] = ()
    capacity: Capacity = Capacity()


class Ramp(NamedTuple):
    """What the state machine needs of a flag, and the gates' memory. `killed`: by the flag, or on this replica."""

    feature: str
    revision: int
    share_millipct: int
    killed: bool
    plan: RampPlan | None
    gates: tuple[Gate, ...]
    rollback: Rollback
    progress: Progress
    memory: GateMemory = GateMemory()


class EffectKind(StrEnum):
    """What the shell does after the write, besides telling of the event."""

    ALARM = "alarm"
    NEW_EPOCH = "new_epoch"
    """Evidence of a step starts from here."""


class Effect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An effect and its text."""

    kind: EffectKind
    text: str = ""


class Transition(NamedTuple):
    """What a tick or a command makes of a ramp.

    With an `event` the flag is written (compare-and-set on the revision the ramp was read at) and the event told;
    without one only `memory` may have changed, and the rest is for showing.
    """

    event: Event | None
    progress: Progress
    share_millipct: int
    memory: GateMemory
    reason: str = ""
    effects: tuple[Effect, ...] = ()
    holds: tuple[Hold, ...] = ()
    verdicts: tuple[Verdict, ...] = ()


def unchanged(ramp: Ramp, holds: tuple[Hold, ...] = (), verdicts: tuple[Verdict, ...] = ()) -> Transition:
    """Return the transition that writes nothing."""
    return Transition(None, ramp.progress, ramp.share_millipct, ramp.memory, holds=holds, verdicts=verdicts)
