from itertools import product

import pytest

from rollout.core.errors import RampRefused
from rollout.core.ramp_model import Phase, Progress, Rollback
from rollout.core.ramp_table import Event, Ramp, next_phase, typed, unchanged

DRAFT, READY, RUNNING, PAUSED = Phase.DRAFT, Phase.READY, Phase.RUNNING, Phase.PAUSED
MONITORING, COMPLETED, ROLLED_BACK = Phase.MONITORING, Phase.COMPLETED, Phase.ROLLED_BACK

# What each event makes of each phase, in the order of Phase: DRAFT, READY, RUNNING, PAUSED, MONITORING, ...
NEXT: dict[Event, tuple[Phase | None, ...]] = {
    Event.CREATE: (READY, READY, None, PAUSED, None, READY, ROLLED_BACK),
    Event.START: (None, RUNNING, None, None, None, None, None),
    Event.ADVANCE: (None, None, RUNNING, None, None, None, None),
    Event.MONITOR: (None, None, MONITORING, None, None, None, None),
    Event.PAUSE: (None, None, PAUSED, PAUSED, PAUSED, None, None),
    Event.RESUME: (None, None, None, RUNNING, None, None, None),
    Event.WATCH: (None, None, None, MONITORING, None, None, None),
    Event.JUMP: (None, None, PAUSED, PAUSED, PAUSED, None, None),
    Event.SET_SHARE: (DRAFT, READY, PAUSED, PAUSED, PAUSED, COMPLETED, ROLLED_BACK),
    Event.COMPLETE: (None, None, COMPLETED, COMPLETED, COMPLETED, None, None),
    Event.ROLL_BACK: (ROLLED_BACK,) * 7,
    Event.LOWER: (None, None, None, None, None, None, ROLLED_BACK),
    Event.RESTART: (None, None, None, None, None, None, RUNNING),
    Event.END: (None, DRAFT, DRAFT, DRAFT, DRAFT, None, DRAFT),
    Event.APPROVE: (DRAFT, READY, RUNNING, PAUSED, None, COMPLETED, ROLLED_BACK),
    Event.EXTEND: (None, None, RUNNING, PAUSED, MONITORING, None, None),
    Event.ACK: (None, None, None, PAUSED, None, None, ROLLED_BACK),
    Event.KILL: (DRAFT, READY, PAUSED, PAUSED, PAUSED, COMPLETED, ROLLED_BACK),
    Event.UNKILL: (DRAFT, READY, PAUSED, PAUSED, PAUSED, COMPLETED, ROLLED_BACK),
}


@pytest.mark.parametrize(("event", "phase"), [*product(Event, Phase)])
def test_all_pairs(event: Event, phase: Phase) -> None:
    expected = NEXT[event][list(Phase).index(phase)]
    if expected is not None:
        assert next_phase(phase, event) is expected
        return
    with pytest.raises(RampRefused, match=f"{typed(event)} is not possible while the ramp is {phase}") as refused:
        next_phase(phase, event)
    assert typed(event) not in refused.value.hint.removeprefix("possible now: ").split(", ")


def test_a_refusal_names_the_commands_that_are_possible() -> None:
    with pytest.raises(RampRefused) as refused:
        next_phase(ROLLED_BACK, Event.RESUME)
    assert refused.value.hint == (
        "possible now: abort, ack, apply, approve, end, kill, restart, set-share (only down), unkill"
    )


def test_events_are_named_as_people_type_them() -> None:
    assert [typed(event) for event in (Event.CREATE, Event.ADVANCE, Event.ROLL_BACK)] == ["apply", "promote", "abort"]
    assert typed(Event.START) == "start"


def test_invariant_05_nothing_runs_after_a_kill_is_lifted() -> None:
    assert not {next_phase(phase, Event.UNKILL) for phase in Phase} & {RUNNING, MONITORING}
    assert not {next_phase(phase, Event.KILL) for phase in Phase} & {RUNNING, MONITORING}


def test_every_phase_can_be_rolled_back() -> None:
    assert {next_phase(phase, Event.ROLL_BACK) for phase in Phase} == {ROLLED_BACK}


def test_unchanged_writes_nothing() -> None:
    ramp = Ramp("f", 3, 500, killed=False, plan=None, gates=(), rollback=Rollback(), progress=Progress())
    made = unchanged(ramp)
    assert made.event is None
    assert (made.progress, made.share_millipct, made.memory) == (ramp.progress, 500, ramp.memory)
