"""The life of one worker process as a table, when a dead one is replaced, and who accepts for whom.

                READY            DRAIN
    STARTING ----------> READY ---------> DRAINING
        |                  |                  |
        +--- DRAIN --------|-----> DRAINING   |
        +------------------+------------------+-- EXITED --> GONE

A worker that is DRAINING when it exits did what it was told; any other exit is a death. GONE is final.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence


class State(enum.Enum):
    """Where a worker is in its life; the values are those of the label `state`."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


class Event(enum.Enum):
    """What can happen to it."""

    READY = "ready"
    DRAIN = "drain"
    EXITED = "exited"


TABLE: dict[tuple[State, Event], State] = {
    (State.STARTING, Event.READY): State.READY,
    (State.STARTING, Event.DRAIN): State.DRAINING,
    (State.STARTING, Event.EXITED): State.GONE,
    (State.READY, Event.DRAIN): State.DRAINING,
    (State.READY, Event.EXITED): State.GONE,
    (State.DRAINING, Event.EXITED): State.GONE,
}


class IllegalTransitionError(Exception):
    """An event that cannot happen in this state."""


def advance(state: State, event: Event) -> State:
    """Give the state after `event`. Raises `IllegalTransitionError`."""
    after = TABLE.get((state, event))
    if after is None:
        raise IllegalTransitionError(f"{event.value} cannot happen while {state.value}")
    return after


class RestartPolicy(msgspec.Struct, frozen=True):
    """A worker that lived for `stable_s` is replaced at once; one that died young after a wait that doubles.

    After `deaths_max` young deaths in a row there is no hope, unless other workers do well. None is replaced for its
    memory before `settling_s`: a limit that is too low must not keep replacing for ever.
    """

    stable_s: float = 10.0
    first_wait_s: float = 0.1
    longest_wait_s: float = 10.0
    deaths_max: int = 6
    settling_s: float = 30.0


class Replacement(msgspec.Struct, frozen=True):
    """What a death means: young deaths in a row so far, how long to wait, whether to go on at all."""

    deaths: int
    wait_s: float
    hopeless: bool


def after_death(deaths: int, lived_s: float, policy: RestartPolicy, *, others_ready: bool) -> Replacement:
    """Decide about a successor. `deaths`: young ones in a row of this slot before this one."""
    if lived_s >= policy.stable_s:
        return Replacement(0, 0.0, hopeless=False)
    wait_s = min(policy.longest_wait_s, policy.first_wait_s * 2.0 ** min(deaths, 30))
    return Replacement(deaths + 1, wait_s, hopeless=deaths + 1 >= policy.deaths_max and not others_ready)


class Acceptor(msgspec.Struct, frozen=True):
    """A ready worker, and how many slots' sockets it has."""

    worker: int
    slots: int


def assign(own: Sequence[int | None], acceptors: Sequence[Acceptor]) -> dict[int, tuple[int, ...]]:
    """Give the slots that each ready worker accepts from: its own, and those whose worker is missing, shared out.

    `own`: per slot its ready worker, or None. A connection in the queue of a socket that nobody accepts from waits.
    """
    slots_of: dict[int, list[int]] = {each.worker: [] for each in acceptors}
    for slot, worker in enumerate(own):
        if worker is not None:
            slots_of[worker].append(slot)
            continue
        able = [each.worker for each in acceptors if each.slots > slot]
        if able:
            least = min(able, key=lambda number: len(slots_of[number]))
            slots_of[least].append(slot)
    return {worker: tuple(slots) for worker, slots in slots_of.items()}
