"""The life of one served model, as a table.

                     PREPARED         ANSWERED          WARMED
    PREPARING ------------> STARTING ---------> WARMING --------> READY
        |                    ^  |                  |                |
        |              RETRY |  +------ DIED ------+----- DIED -----+
        |                    |  v
        |                   BACKOFF
        |
        +- GAVE_UP -> FAILED   (also from STARTING, WARMING, READY)
        +- STOP ----> STOPPED  (also from BACKOFF: there is no process to drain)

    STARTING, WARMING, READY -- STOP --> DRAINING -- EXITED --> STOPPED

Why these states and no others. vLLM *answers* (`/health`, `/v1/models`) before it has ever computed a token, so
STARTING and WARMING are apart and only a generated token makes READY. A process that hangs is killed first and then
DIED, so there is one way to lose an engine. BACKOFF holds no process: waiting and running are never mixed. DRAINING
accepts no DIED: an engine that dies while draining has EXITED, which is what was wanted. STOPPED and FAILED are final.

Whether a dead engine is worth restarting is decided by `after_death`, from the history alone. Before the first READY
a cause that cannot heal (unknown architecture, damaged weights) ends at once and others get few attempts, because the
operator is waiting for the message. What has served once can serve again, whatever its log says: it gets more
attempts, and its failures are forgotten once it has been ready for a while. Time comes in as an argument, so a
history can be replayed.
"""

from __future__ import annotations

import enum

import msgspec


class Phase(enum.Enum):
    """Where a served model is in its life."""

    PREPARING = "preparing"
    STARTING = "starting"
    WARMING = "warming"
    READY = "ready"
    BACKOFF = "backoff"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Event(enum.Enum):
    """What can happen to it."""

    PREPARED = "prepared"
    ANSWERED = "answered"
    WARMED = "warmed"
    DIED = "died"
    RETRY = "retry"
    GAVE_UP = "gave up"
    STOP = "stop"
    EXITED = "exited"


TABLE: dict[tuple[Phase, Event], Phase] = {
    (Phase.PREPARING, Event.PREPARED): Phase.STARTING,
    (Phase.PREPARING, Event.GAVE_UP): Phase.FAILED,
    (Phase.PREPARING, Event.STOP): Phase.STOPPED,
    (Phase.STARTING, Event.ANSWERED): Phase.WARMING,
    (Phase.STARTING, Event.DIED): Phase.BACKOFF,
    (Phase.STARTING, Event.GAVE_UP): Phase.FAILED,
    (Phase.STARTING, Event.STOP): Phase.DRAINING,
    (Phase.WARMING, Event.WARMED): Phase.READY,
    (Phase.WARMING, Event.DIED): Phase.BACKOFF,
    (Phase.WARMING, Event.GAVE_UP): Phase.FAILED,
    (Phase.WARMING, Event.STOP): Phase.DRAINING,
    (Phase.READY, Event.DIED): Phase.BACKOFF,
    (Phase.READY, Event.GAVE_UP): Phase.FAILED,
    (Phase.READY, Event.STOP): Phase.DRAINING,
    (Phase.BACKOFF, Event.RETRY): Phase.STARTING,
    (Phase.BACKOFF, Event.STOP): Phase.STOPPED,
    (Phase.DRAINING, Event.EXITED): Phase.STOPPED,
}

FINAL = frozenset({Phase.STOPPED, Phase.FAILED})


class IllegalTransitionError(Exception):
    """An event that cannot happen in this phase; the life is unchanged."""


class Life(msgspec.Struct, frozen=True):
    """One model's history, as far as decisions need it. Times are seconds on the caller's clock."""

    phase: Phase = Phase.PREPARING
    since_s: float = 0.0
    failures: int = 0
    ever_ready: bool = False


class RestartPolicy(msgspec.Struct, frozen=True):
    """How often and how fast to restart. A run of `stable_s` in READY wipes earlier failures."""

    attempts_before_ready: int = 2
    attempts_after_ready: int = 6
    first_delay_s: float = 1.0
    longest_delay_s: float = 60.0
    stable_s: float = 120.0


def advance(life: Life, event: Event, now_s: float) -> Life:
    """Give the life after `event`. Raises IllegalTransitionError, leaving `life` as it is."""
    phase = TABLE.get((life.phase, event))
    if phase is None:
        raise IllegalTransitionError(f"{event.value} cannot happen while {life.phase.value}")
    failures = life.failures + 1 if phase in {Phase.BACKOFF, Phase.FAILED} else life.failures
    return Life(phase, now_s, failures, life.ever_ready or phase is Phase.READY)


def after_death(life: Life, policy: RestartPolicy, now_s: float, *, can_heal: bool) -> tuple[Event, Life]:
    """Decide what a dead engine means: (DIED, life in BACKOFF) or (GAVE_UP, life in FAILED)."""
    settled = life.phase is Phase.READY and now_s - life.since_s >= policy.stable_s
    counted = msgspec.structs.replace(life, failures=0) if settled else life
    allowed = policy.attempts_after_ready if life.ever_ready else policy.attempts_before_ready
    event = Event.DIED if (can_heal or life.ever_ready) and counted.failures + 1 < allowed else Event.GAVE_UP
    return event, advance(counted, event, now_s)


def backoff_s(failures: int, policy: RestartPolicy) -> float:
    """Give the seconds to wait after `failures` deaths in a row (1 or more): doubling, bounded."""
    return min(policy.longest_delay_s, policy.first_delay_s * 2.0 ** min(failures - 1, 30))
