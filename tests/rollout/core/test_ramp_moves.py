from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.errors import RampRefused
from rollout.core.ramp_model import (
    Approval,
    Cause,
    Gate,
    GateKind,
    GateMemory,
    Pause,
    Phase,
    Progress,
    RampPlan,
    Role,
    Rollback,
    Step,
)
from rollout.core.ramp_moves import advance, enter, lowered, moved, pause, roll_back
from rollout.core.ramp_table import Capacity, EffectKind, Event, Ramp
from rollout.core.verdict import Result, Verdict

PLAN = RampPlan(steps=(Step(share=1_000), Step(share=5_000), Step(share=25_000)), cooldown="10m")
APPROVAL = Approval("f", 3, 1, "bob", 40.0)
RUNNING = Progress(phase=Phase.RUNNING, attempt=1, step=0, step_began_s=10.0, paused_s=5.0, approval=APPROVAL)


def ramp_of(progress: Progress = RUNNING, share: int = 1_000, **changes: Any) -> Ramp:
    ramp = Ramp("f", 3, share, killed=False, plan=PLAN, gates=(), rollback=Rollback(), progress=progress)
    return ramp._replace(**changes)


def test_a_move_changes_what_it_names_and_voids_the_approval() -> None:
    made = moved(ramp_of(), Event.EXTEND, "slow day", extended_s=60.0)
    assert made.progress == Progress(
        phase=Phase.RUNNING, attempt=1, step=0, step_began_s=10.0, paused_s=5.0, extended_s=60.0
    )
    assert (made.event, made.reason, made.share_millipct) == (Event.EXTEND, "slow day", 1_000)


def test_a_move_that_the_table_forbids_is_refused() -> None:
    with pytest.raises(RampRefused, match="start is not possible"):
        moved(ramp_of(), Event.START, "")


def test_advancing_sets_share_and_timers() -> None:
    made = advance(ramp_of(), PLAN, 50.0, "proven")
    assert made.progress == Progress(phase=Phase.RUNNING, attempt=1, step=1, step_began_s=50.0)
    assert made.share_millipct == 5_000
    assert [effect.kind for effect in made.effects] == [EffectKind.NEW_EPOCH]


def test_advancing_never_lowers_a_share_set_elsewhere() -> None:
    assert advance(ramp_of(share=9_000), PLAN, 50.0, "proven").share_millipct == 9_000


def test_after_the_last_step_comes_monitoring() -> None:
    last = Progress(phase=Phase.RUNNING, step=2, step_began_s=10.0, paused_s=5.0)
    made = advance(ramp_of(last, 25_000), PLAN, 50.0, "proven")
    assert made.event is Event.MONITOR
    assert made.progress == Progress(phase=Phase.MONITORING, step=2, step_began_s=10.0, monitoring_since_s=50.0)
    assert made.share_millipct == 25_000


def test_what_of_a_pause_lies_before_a_step_is_none_of_the_steps() -> None:
    paused = Progress(phase=Phase.PAUSED, step=2, paused=Pause(Cause.GATE, 20.0, reason="quality"))
    made = enter(ramp_of(paused), Event.CREATE, 0, 50.0, "a new plan")
    assert made.progress.paused == Pause(Cause.GATE, 50.0, reason="quality")
    assert made.progress.elapsed_s(90.0) == 0.0


def test_a_pause_keeps_share_step_and_timers() -> None:
    memory = GateMemory(1, blind_since_s=30.0)
    made = pause(ramp_of(memory=memory), Cause.SYSTEM, 60.0, "no data")
    assert made.progress.phase is Phase.PAUSED
    assert made.progress.paused == Pause(Cause.SYSTEM, 60.0, reason="no data")
    assert made.progress.elapsed_s(1e6) == RUNNING.elapsed_s(60.0)
    assert (made.share_millipct, made.memory) == (1_000, GateMemory(1))
    assert [effect.text for effect in made.effects] == ["paused: no data"]


def test_pausing_twice_keeps_the_first() -> None:
    first = pause(ramp_of(), Cause.GATE, 60.0, "errors").progress
    again = pause(ramp_of(first), Cause.OPERATOR, 80.0, "panic", actor="ann")
    assert again.progress == first
    assert again.effects == ()


def test_a_rollback_is_recorded_with_its_cooldown() -> None:
    made = roll_back(ramp_of(), Cause.GATE, 60.0, "errors", Capacity())
    back = made.progress.rolled_back
    assert back is not None
    assert (back.by, back.at_s, back.cooldown_ends_s, back.to_share, back.reason) == (Cause.GATE, 60, 660, 0, "errors")
    assert (made.share_millipct, made.progress.phase) == (0, Phase.ROLLED_BACK)
    assert [effect.text for effect in made.effects] == ["rolled back: errors"]


def test_a_rollback_by_a_gate_keeps_what_all_of_them_said() -> None:
    gates = (
        Gate(name="errors", role=Role.HARD, source="promql", kind=GateKind.THRESHOLD, query="a long one", limit=0.1),
        Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="form", margin=0.1),
    )
    said = [
        Verdict("errors", Result.PASS, "at most 0.1 wanted", 59.0, 50.0, "a long one", 0.01, 0.1, 9),
        Verdict("worse", Result.FAIL, "effect -0.3", 60.0, 50.0, "form", 200.0, 115.0, 90),
    ]
    ramp = ramp_of()._replace(gates=gates)
    back = roll_back(ramp, Cause.GATE, 60.0, "why", Capacity(), gate="worse", verdicts=said).progress.rolled_back
    assert back is not None
    assert (back.gate, back.verdicts) == ("worse", (replace(said[0], metric=""), said[1]))
    again = roll_back(
        ramp._replace(progress=Progress(phase=Phase.ROLLED_BACK, rolled_back=back)),
        Cause.OPERATOR, 61.0, "faster", Capacity(),
    ).progress.rolled_back  # fmt: skip
    assert again == replace(back, staged_s=61.0)


def test_a_rollback_without_a_plan_has_no_cooldown() -> None:
    back = roll_back(ramp_of(plan=None), Cause.OPERATOR, 60.0, "errors", Capacity(), actor="ann").progress.rolled_back
    assert back is not None
    assert (back.cooldown_ends_s, back.actor) == (60.0, "ann")


def test_a_rollback_told_twice_keeps_its_record() -> None:
    first = roll_back(ramp_of(share=25_000, rollback=Rollback("staged")), Cause.GATE, 60.0, "errors", Capacity())
    assert first.share_millipct == 5_000
    later = ramp_of(first.progress, 5_000, rollback=Rollback("staged"))
    again = roll_back(later, Cause.OPERATOR, 61.0, "faster", Capacity())
    assert again.share_millipct == 1_000
    assert again.progress.rolled_back is not None
    assert (again.progress.rolled_back.at_s, again.progress.rolled_back.staged_s) == (60.0, 61.0)


def test_a_record_that_is_lacking_is_made_anew() -> None:
    lost = Progress(phase=Phase.ROLLED_BACK)
    made = roll_back(ramp_of(lost), Cause.OPERATOR, 60.0, "again", Capacity())
    assert made.progress.rolled_back is not None


def test_stages_go_down_the_plan() -> None:
    staged = ramp_of(rollback=Rollback("staged"))
    shares = [staged._replace(share_millipct=share) for share in (100_000, 25_000, 24_999, 5_000, 1_000, 0)]
    assert [lowered(ramp, 0, Capacity())[0] for ramp in shares] == [25_000, 5_000, 5_000, 1_000, 0, 0]
    assert lowered(shares[1]._replace(plan=None), 0, Capacity())[0] == 0
    assert lowered(shares[3], 2_000, Capacity())[0] == 2_000


CHECKED = Rollback(partner_capacity_check=True)


def test_invariant_21_a_baseline_with_room_gets_everything_at_once() -> None:
    ramp = ramp_of(share=25_000, rollback=CHECKED)
    assert lowered(ramp, 0, Capacity(baseline=100_000)) == (0, ())


def test_invariant_21_a_short_baseline_gets_what_it_bears_with_an_alarm() -> None:
    ramp = ramp_of(share=25_000, rollback=CHECKED)
    share, (alarm,) = lowered(ramp, 0, Capacity(baseline=90_000))
    assert (share, alarm.kind) == (10_000, EffectKind.ALARM)
    assert alarm.text == "the baseline bears 90% of the traffic: the share falls to 10% for now"
    assert lowered(ramp, 0, Capacity(baseline=-5))[0] == 25_000
    assert lowered(ramp, 0, Capacity(baseline=10))[0] == 25_000


def test_invariant_21_what_nobody_has_measured_stops_no_rollback() -> None:
    share, (alarm,) = lowered(ramp_of(share=25_000, rollback=CHECKED), 0, Capacity())
    assert share == 0
    assert "without knowing" in alarm.text


@given(
    st.integers(0, 100_000),
    st.builds(
        Rollback,
        mode=st.sampled_from(["instant", "staged"]),
        to_share=st.integers(0, 100_000),
        partner_capacity_check=st.booleans(),
    ),
    st.none() | st.integers(-10, 200_000),
)
def test_invariant_16_a_rollback_exposes_nobody_new(share: int, rollback: Rollback, bears: int | None) -> None:
    made = roll_back(ramp_of(share=share, rollback=rollback), Cause.GATE, 60.0, "errors", Capacity(baseline=bears))
    assert 0 <= made.share_millipct <= share
    assert made.progress.rolled_back is not None
    assert made.share_millipct >= made.progress.rolled_back.to_share
