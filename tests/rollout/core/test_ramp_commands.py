from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.core import ramp_commands as commands
from rollout.core.errors import (
    ApprovalRequired,
    InvalidArgument,
    InvalidDocument,
    RampRefused,
    RolloutError,
    ShareIncreaseRefused,
)
from rollout.core.ramp_commands import Order
from rollout.core.ramp_model import (
    Approval,
    Cause,
    GateMemory,
    Pause,
    Phase,
    Progress,
    RampPlan,
    Rollback,
    RolledBack,
    Step,
)
from rollout.core.ramp_plan import Findings
from rollout.core.ramp_table import Capacity, Event, Ramp, Transition

NOW = 10_000.0
PLAN = RampPlan(
    steps=(
        Step(share=1_000, max_duration="1h"),
        Step(share=5_000),
        Step(share=25_000, approval=True),
        Step(share=100_000),
    )
)
ANN, BOB = Order("ann", "it is time", NOW), Order("bob", "looks fine", NOW)
RUNNING = Progress(phase=Phase.RUNNING, attempt=1, step=1, step_began_s=9_000.0, proposer="ann")
PAUSED = replace(RUNNING, phase=Phase.PAUSED, paused=Pause(Cause.GATE, 9_500.0, reason="quality"))
BACK = RolledBack(Cause.GATE, 9_000.0, NOW + 100, 9_000.0, to_share=0)
ROLLED_BACK = Progress(phase=Phase.ROLLED_BACK, attempt=1, step=1, rolled_back=BACK)
APPROVED = Approval("f", 3, 2, "bob", NOW)


def ramp_of(progress: Progress = RUNNING, share: int = 5_000, **changes: Any) -> Ramp:
    ramp = Ramp("f", 3, share, killed=False, plan=PLAN, gates=(), rollback=Rollback(), progress=progress)
    return ramp._replace(**changes)


def written(ramp: Ramp, made: Transition) -> Ramp:
    """The ramp after the shell has stored what a command made of it."""
    return ramp._replace(
        revision=ramp.revision + 1, share_millipct=made.share_millipct, progress=made.progress, memory=made.memory
    )


def test_create_makes_a_draft_ready() -> None:
    made = commands.create(ramp_of(Progress(), 0), ANN, Findings(warnings=("it is slow",)))
    assert made.progress == Progress(phase=Phase.READY, proposer="ann")
    completed = Progress(phase=Phase.COMPLETED, attempt=4, step=3, skipped=(1,))
    assert commands.create(ramp_of(completed), ANN, Findings()).progress == Progress(
        phase=Phase.READY, attempt=4, proposer="ann"
    )


def test_create_in_a_pause_goes_on_from_the_present_share() -> None:
    made = commands.create(ramp_of(PAUSED, 30_000), BOB, Findings())
    assert (made.progress.phase, made.progress.step, made.share_millipct) == (Phase.PAUSED, 2, 30_000)
    assert (made.progress.step_began_s, made.progress.proposer) == (NOW, "bob")


def test_create_with_other_questions_is_another_attempt() -> None:
    kept = commands.create(ramp_of(PAUSED, 30_000), BOB, Findings()).progress
    assert (kept.attempt, kept.ramp_began_s) == (PAUSED.attempt, PAUSED.ramp_began_s)
    made = commands.create(ramp_of(PAUSED, 30_000), BOB, Findings(), afresh=True).progress
    assert made == replace(kept, attempt=PAUSED.attempt + 1, ramp_began_s=NOW)


def test_create_after_a_rollback_changes_the_plan_alone() -> None:
    made = commands.create(ramp_of(ROLLED_BACK, 0), BOB, Findings())
    assert made.progress == replace(ROLLED_BACK, proposer="bob")


def test_a_plan_with_faults_or_none_is_not_created() -> None:
    with pytest.raises(InvalidDocument, match="too steep; too fast"):
        commands.create(ramp_of(Progress(), 0), ANN, Findings(("too steep", "too fast")))
    with pytest.raises(RampRefused, match="has no ramp"):
        commands.create(ramp_of(Progress(), 0, plan=None), ANN, Findings())


@pytest.mark.parametrize("command", [commands.start, commands.resume, commands.advance, commands.restart])
def test_without_a_ramp_that_is_what_is_said(command: Callable[[Ramp, Order], object]) -> None:
    with pytest.raises(RampRefused, match="has no ramp") as refused:
        command(ramp_of(Progress(), 0, plan=None), ANN)
    assert refused.value.hint == "apply a document with one"


READY = Progress(phase=Phase.READY, attempt=1, proposer="ann")


def test_start_begins_with_the_first_step() -> None:
    made = commands.start(ramp_of(READY, 0), BOB)
    began = {"ramp_began_s": NOW, "step_began_s": NOW}
    assert made.progress == Progress(phase=Phase.RUNNING, attempt=2, step=0, proposer="bob", **began)
    assert made.share_millipct == 1_000


def test_start_keeps_a_share_that_people_have_raised() -> None:
    made = commands.start(ramp_of(READY, 30_000), BOB)
    assert (made.share_millipct, made.progress.step) == (30_000, 2)


def test_a_first_step_may_need_approval_too() -> None:
    careful = RampPlan(steps=(Step(share=1_000, approval=True),))
    ready = ramp_of(READY, 0, plan=careful)
    with pytest.raises(ApprovalRequired, match="raising the share to 1% needs the approval of step 0"):
        commands.start(ready, ANN)
    approved = written(ready, commands.approve(ready, BOB))
    assert commands.start(approved, ANN).share_millipct == 1_000
    with pytest.raises(ApprovalRequired):
        commands.start(approved, BOB)


def test_invariant_18_restart_needs_the_cooldown_to_be_over() -> None:
    ramp = ramp_of(ROLLED_BACK, 0)
    with pytest.raises(RampRefused, match="the cooldown lasts another 100 s"):
        commands.restart(ramp, ANN)
    made = commands.restart(ramp, ANN._replace(at_s=NOW + 100))
    assert (made.progress.phase, made.share_millipct, made.progress.attempt) == (Phase.RUNNING, 1_000, 2)
    assert made.progress.rolled_back is None


def test_invariant_18_restart_needs_the_rollback_to_be_finished() -> None:
    with pytest.raises(RampRefused, match="not finished: 5% is on its way to 0%"):
        commands.restart(ramp_of(ROLLED_BACK, 5_000), ANN._replace(at_s=NOW + 1e6))


def test_invariant_18_no_other_way_leads_out_of_a_rollback() -> None:
    with pytest.raises(RampRefused, match="cooldown"):
        commands.end(ramp_of(ROLLED_BACK, 0), ANN)
    with pytest.raises(ShareIncreaseRefused, match="rolled back"):
        commands.set_share(ramp_of(ROLLED_BACK, 0), ANN, 1)
    assert commands.end(ramp_of(ROLLED_BACK, 0), ANN._replace(at_s=NOW + 100)).progress.phase is Phase.DRAFT
    assert commands.set_share(ramp_of(ROLLED_BACK, 500), ANN, 100).share_millipct == 100


def test_a_lost_record_of_a_rollback_locks_nobody_out() -> None:
    assert commands.restart(ramp_of(Progress(phase=Phase.ROLLED_BACK), 0), ANN).share_millipct == 1_000


def test_pause_says_who_and_why() -> None:
    made = commands.pause(ramp_of(), BOB)
    assert made.progress.paused == Pause(Cause.OPERATOR, NOW, "bob", "looks fine")
    assert made.share_millipct == 5_000


def test_invariant_11_resume_adds_exactly_the_paused_time() -> None:
    before = replace(PAUSED, paused_s=20.0)
    made = commands.resume(ramp_of(before), BOB)
    assert (made.event, made.progress.phase, made.progress.paused) == (Event.RESUME, Phase.RUNNING, None)
    assert made.progress.paused_s == 520.0
    assert made.progress.elapsed_s(NOW) == before.elapsed_s(NOW) == 480.0
    backwards = commands.resume(ramp_of(before), BOB._replace(at_s=9_000.0))
    assert backwards.progress.paused_s == 20.0


def test_a_pause_nobody_recorded_took_no_time() -> None:
    assert commands.resume(ramp_of(replace(PAUSED, paused=None)), BOB).progress.paused_s == 0.0


def test_resume_goes_back_to_monitoring() -> None:
    made = commands.resume(ramp_of(replace(PAUSED, step=3, monitoring_since_s=9_400.0)), BOB)
    assert (made.event, made.progress.phase) == (Event.WATCH, Phase.MONITORING)
    assert made.progress.elapsed_s(NOW) == 100.0


def test_resume_wants_time_left() -> None:
    spent = replace(PAUSED, step=0, step_began_s=1_000.0)
    with pytest.raises(RampRefused, match="step 0 has used up its 3600 s"):
        commands.resume(ramp_of(spent), BOB)
    extended = commands.extend(ramp_of(spent), BOB, 6_000.0).progress
    assert commands.resume(ramp_of(extended), BOB).progress.phase is Phase.RUNNING


def test_resume_of_a_step_that_the_plan_lost_is_left_to_the_next_tick() -> None:
    assert commands.resume(ramp_of(replace(PAUSED, step=9)), BOB).progress.phase is Phase.RUNNING


def test_advance_marks_the_step_it_skips() -> None:
    ramp = ramp_of(replace(RUNNING, step=0), 1_000)
    made = commands.advance(ramp, BOB)
    assert (made.share_millipct, made.progress.step, made.progress.skipped) == (5_000, 1, (0,))
    last = ramp_of(replace(RUNNING, step=3, skipped=(3,)), 100_000)
    watched = commands.advance(last, BOB)
    assert (watched.progress.phase, watched.progress.skipped) == (Phase.MONITORING, (3,))


def test_invariant_17_advance_needs_an_approval_by_a_second_person() -> None:
    with pytest.raises(ApprovalRequired, match="step 2 by a second person"):
        commands.advance(ramp_of(), ANN)
    approved = ramp_of(replace(RUNNING, approval=APPROVED))
    assert commands.advance(approved, ANN).share_millipct == 25_000
    with pytest.raises(ApprovalRequired):
        commands.advance(approved, BOB)
    with pytest.raises(ApprovalRequired):
        commands.advance(approved._replace(revision=4), ANN)


def test_jump_lands_paused() -> None:
    made = commands.jump(ramp_of(), ANN, 0)
    assert (made.progress.phase, made.progress.step, made.share_millipct) == (Phase.PAUSED, 0, 1_000)
    assert made.progress.paused == Pause(Cause.OPERATOR, NOW, "ann", "it is time")
    assert made.progress.elapsed_s(NOW + 50) == 0.0


def test_a_jump_over_an_approval_needs_one_for_where_it_lands() -> None:
    with pytest.raises(ApprovalRequired, match="step 3"):
        commands.jump(ramp_of(), ANN, 3)
    given = ramp_of(replace(RUNNING, approval=replace(APPROVED, step=3)))
    assert commands.jump(given, ANN, 3).share_millipct == 100_000


@pytest.mark.parametrize("step", [-1, 4])
def test_a_jump_to_nowhere(step: int) -> None:
    with pytest.raises(InvalidArgument, match=f"no step {step}"):
        commands.jump(ramp_of(), ANN, step)


@pytest.mark.parametrize(("share", "step"), [(0, -1), (999, -1), (1_000, 0), (4_999, 0), (5_000, 1)])
def test_invariant_12_a_share_set_by_hand_pauses_the_automation(share: int, step: int) -> None:
    ramp = ramp_of(memory=GateMemory(1, blind_since_s=1.0))
    made = commands.set_share(ramp, ANN, share)
    assert (made.share_millipct, made.progress.step, made.progress.phase) == (share, step, Phase.PAUSED)
    assert made.memory.blind_since_s is None


@pytest.mark.parametrize("phase", [Phase.DRAFT, Phase.READY, Phase.COMPLETED])
def test_a_share_set_while_nothing_runs_is_just_set(phase: Phase) -> None:
    made = commands.set_share(ramp_of(Progress(phase=phase), 0), ANN, 5_000)
    assert (made.share_millipct, made.progress) == (5_000, Progress(phase=phase, proposer="ann"))


def test_without_a_plan_shares_are_moved_by_people() -> None:
    assert commands.set_share(ramp_of(Progress(), 0, plan=None), ANN, 100_000).share_millipct == 100_000
    lost = commands.set_share(ramp_of(plan=None), ANN, 6_000)
    assert (lost.progress.phase, lost.progress.step) == (Phase.PAUSED, -1)


@pytest.mark.parametrize(("share", "step"), [(5_001, 2), (25_000, 2), (25_001, 3), (100_000, 3)])
def test_a_share_set_by_hand_needs_the_approval_of_the_step_it_reaches_into(share: int, step: int) -> None:
    with pytest.raises(ApprovalRequired, match=f"approval of step {step}"):
        commands.set_share(ramp_of(), ANN, share)
    given = ramp_of(replace(RUNNING, approval=replace(APPROVED, step=step)))
    assert commands.set_share(given, ANN, share).share_millipct == share


def test_beyond_the_last_step_its_approval_counts() -> None:
    plan = RampPlan(steps=(Step(share=1_000), Step(share=5_000, approval=True)))
    with pytest.raises(ApprovalRequired, match="approval of step 1"):
        commands.set_share(ramp_of(plan=plan), ANN, 6_000)
    assert commands.set_share(ramp_of(share=25_000), ANN, 100_000).share_millipct == 100_000


@pytest.mark.parametrize("share", [-1, 100_001])
def test_a_share_that_is_none(share: int) -> None:
    with pytest.raises(InvalidArgument, match="is not a share"):
        commands.set_share(ramp_of(), ANN, share)


def test_invariant_17_an_approval_is_bound_to_the_revision_it_makes() -> None:
    made = commands.approve(ramp_of(), BOB)
    assert made.progress == replace(RUNNING, approval=Approval("f", 4, 2, "bob", NOW))
    assert commands.approve(ramp_of(), BOB, 3).progress.approval == Approval("f", 4, 3, "bob", NOW)
    assert commands.approve(ramp_of(READY, 5_000), BOB).progress.approval == Approval("f", 4, 1, "bob", NOW)


def test_invariant_17_who_proposed_cannot_approve() -> None:
    with pytest.raises(RampRefused, match="'ann' proposed it"):
        commands.approve(ramp_of(), ANN)


@pytest.mark.parametrize("step", [-1, 4])
def test_there_must_be_a_step_to_approve(step: int) -> None:
    with pytest.raises(InvalidArgument, match="no step"):
        commands.approve(ramp_of(), BOB, step)
    with pytest.raises(InvalidArgument, match="no step 4"):
        commands.approve(ramp_of(replace(RUNNING, step=3)), BOB)


def test_extend_adds_up() -> None:
    once = commands.extend(ramp_of(), BOB, 60.0).progress
    assert commands.extend(ramp_of(once), BOB, 30.0).progress.extended_s == 90.0


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan")])
def test_an_extension_that_is_none(seconds: float) -> None:
    with pytest.raises(InvalidArgument, match="no time to add"):
        commands.extend(ramp_of(), BOB, seconds)


def test_ack_names_who_looks_after_it() -> None:
    paused, back = commands.ack(ramp_of(PAUSED), BOB).progress, commands.ack(ramp_of(ROLLED_BACK, 0), BOB).progress
    assert paused == replace(PAUSED, paused=replace(PAUSED.paused, acked_by="bob"))  # type: ignore[type-var]
    assert back == replace(ROLLED_BACK, rolled_back=replace(BACK, acked_by="bob"))


def test_complete_ends_where_it_stands() -> None:
    made = commands.complete(ramp_of(PAUSED), BOB)
    assert (made.progress.phase, made.share_millipct, made.progress.skipped) == (Phase.COMPLETED, 5_000, (1,))
    assert made.progress.paused is None


def test_roll_back_asks_the_capacity_it_is_told() -> None:
    checked = ramp_of(rollback=Rollback(partner_capacity_check=True), share=50_000)
    made = commands.roll_back(checked, BOB, Capacity(baseline=60_000))
    assert (made.progress.phase, made.share_millipct) == (Phase.ROLLED_BACK, 40_000)
    assert commands.roll_back(ramp_of(), BOB).share_millipct == 0


def test_end_forgets_the_ramp_but_not_how_often_it_was_tried() -> None:
    made = commands.end(ramp_of(), BOB)
    assert made.progress == Progress(phase=Phase.DRAFT, attempt=1, proposer="bob")
    assert made.share_millipct == 5_000


@pytest.mark.parametrize("lift", [commands.kill, commands.unkill])
def test_invariant_05_a_kill_and_its_lifting_leave_nothing_running(lift: Callable[[Ramp, Order], Transition]) -> None:
    made = lift(ramp_of(), BOB)
    assert (made.progress.phase, made.share_millipct) == (Phase.PAUSED, 5_000)
    assert made.progress.paused == Pause(Cause.OPERATOR, NOW, "bob", "looks fine")
    assert lift(ramp_of(READY, 0), BOB).progress == READY


KILLED = {"killed": True}
RAISING: dict[str, Callable[[], Transition]] = {
    "start": lambda: commands.start(ramp_of(READY, 0, **KILLED), ANN),
    "start at the share it has": lambda: commands.start(ramp_of(READY, 1_000, **KILLED), ANN),
    "restart": lambda: commands.restart(ramp_of(replace(ROLLED_BACK, rolled_back=None), 0, **KILLED), ANN),
    "resume": lambda: commands.resume(ramp_of(PAUSED, **KILLED), ANN),
    "advance": lambda: commands.advance(ramp_of(replace(RUNNING, step=0), 1_000, **KILLED), ANN),
    "advance to monitoring": lambda: commands.advance(ramp_of(replace(RUNNING, step=3), 100_000, **KILLED), ANN),
    "jump": lambda: commands.jump(ramp_of(**KILLED), ANN, 2),
    "set_share": lambda: commands.set_share(ramp_of(**KILLED), ANN, 5_001),
}


@pytest.mark.parametrize("name", RAISING)
def test_invariant_05_nothing_rises_under_a_kill(name: str) -> None:
    with pytest.raises(ShareIncreaseRefused, match="is killed"):
        RAISING[name]()


def test_under_a_kill_the_share_may_fall() -> None:
    assert commands.set_share(ramp_of(killed=True), ANN, 10).share_millipct == 10
    assert commands.roll_back(ramp_of(killed=True), ANN).share_millipct == 0


COMMANDS: dict[Event, Callable[[Ramp, Order], Transition]] = {
    Event.CREATE: lambda ramp, order: commands.create(ramp, order, Findings()),
    Event.START: commands.start,
    Event.RESTART: commands.restart,
    Event.PAUSE: commands.pause,
    Event.RESUME: commands.resume,
    Event.ADVANCE: commands.advance,
    Event.JUMP: lambda ramp, order: commands.jump(ramp, order, 0),
    Event.SET_SHARE: lambda ramp, order: commands.set_share(ramp, order, 0),
    Event.APPROVE: commands.approve,
    Event.EXTEND: lambda ramp, order: commands.extend(ramp, order, 1.0),
    Event.ACK: commands.ack,
    Event.COMPLETE: commands.complete,
    Event.ROLL_BACK: commands.roll_back,
    Event.END: commands.end,
    Event.KILL: commands.kill,
    Event.UNKILL: commands.unkill,
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_wants_an_actor_and_a_reason(name: Event) -> None:
    phases = [Phase.READY, Phase.RUNNING, Phase.PAUSED, Phase.ROLLED_BACK]
    for order in (ANN._replace(actor=" "), ANN._replace(reason=" ")):
        refusals: list[RolloutError] = []
        for phase in phases:
            with pytest.raises(RolloutError) as refused:
                COMMANDS[name](ramp_of(Progress(phase=phase), 0), order)
            refusals.append(refused.value)
        assert any(isinstance(each, InvalidArgument) for each in refusals)


def test_safe_commands_are_those_that_expose_nobody() -> None:
    assert {Event.KILL, Event.PAUSE, Event.ROLL_BACK} == commands.SAFE
    for name in commands.SAFE:
        assert COMMANDS[name](ramp_of(), ANN).share_millipct <= 5_000
