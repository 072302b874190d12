from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.gates import Result, Verdict
from rollout.core.hold import Hold, HoldReason
from rollout.core.model import FeatureFlag, Kill
from rollout.core.ramp_model import Cause, Pause, Phase, Progress, RampPlan, RolledBack, Step, Window
from rollout.core.ramp_shown import Shown
from rollout.core.ramp_state import UNSEEN_MAX_S, Look, RampState, state_of

NOW = 10_000.0
PLAN = RampPlan(
    steps=(Step(share=1_000, bake="10m"), Step(share=5_000, bake="10m"), Step(share=50_000)), post_monitor="1h"
)
PAUSE = Pause(Cause.OPERATOR, NOW - 30, "ann", "lunch")
BACK = RolledBack(Cause.GATE, NOW - 60, NOW + 540, NOW - 60, 0, reason="gate errors failed")
RUNNING = Progress(phase=Phase.RUNNING, step=1, step_began_s=NOW - 12)
FLAG = FeatureFlag(
    feature="f", candidate="c", baseline="b", revision=7, share_millipct=5_000, ramp=PLAN, progress=RUNNING
)
VERDICT = Verdict("errors", Result.FAIL, "too many", NOW - 3, value=0.2, limit=0.05)
FAILING = Hold(HoldReason.FAILING, 0.2, 0.05, "errors", "too many")
SHOWN = Shown(7, Phase.RUNNING, 1, NOW - 3, "one", (FAILING, Hold(HoldReason.BAKING, 9.0, 600.0)), (VERDICT,))


def at(phase: Phase, *, plan: RampPlan | None = PLAN, share: int = 5_000, **progress: Any) -> FeatureFlag:
    return replace(FLAG, ramp=plan, share_millipct=share, progress=replace(RUNNING, phase=phase, **progress))


def state(flag: FeatureFlag, look: Look = Look(), *, killed_locally: bool = False) -> RampState:  # noqa: B008
    found = state_of(flag, look, NOW, killed_locally=killed_locally)
    assert found is not None
    return found


def texts(flag: FeatureFlag, look: Look = Look(), *, killed_locally: bool = False) -> list[str]:  # noqa: B008
    return [str(hold) for hold in state(flag, look, killed_locally=killed_locally).holds]


def test_a_flag_without_a_ramp_has_no_state() -> None:
    assert state_of(at(Phase.DRAFT, plan=None), Look(), NOW) is None


def test_a_ramp_is_shown_with_what_a_controller_saw() -> None:
    assert state(FLAG, Look(SHOWN)) == RampState(
        phase=Phase.RUNNING,
        step=1,
        steps=3,
        step_share=5_000,
        next_share=50_000,
        paused=None,
        rolled_back=None,
        holds=(FAILING, Hold(HoldReason.BAKING, 12.0, 600.0)),
        verdicts=(VERDICT,),
        looked_at_s=NOW - 3,
        controller="one",
    )


def test_what_was_seen_of_another_revision_is_not_shown() -> None:
    other = state(replace(FLAG, revision=8), Look(SHOWN))
    assert (other.verdicts, other.looked_at_s, other.controller) == ((), None, None)
    assert [hold.reason for hold in other.holds] == [HoldReason.BAKING]


def test_what_the_gates_said_last_is_shown_while_nobody_asks_them() -> None:
    quiet = replace(SHOWN, verdicts=(), last=(VERDICT,))
    aborted = at(Phase.ROLLED_BACK, rolled_back=replace(BACK, by=Cause.OPERATOR), share=0)
    killed = replace(at(Phase.PAUSED, paused=PAUSE), kill=Kill(True, "ann", NOW, "smoke"))
    for flag in (aborted, killed):
        assert state(flag, Look(quiet)).verdicts == (VERDICT,)
        assert state(flag).verdicts == ()
    other = replace(VERDICT, gate="slow")
    failed = at(Phase.ROLLED_BACK, rolled_back=replace(BACK, verdicts=(other,)), share=0)
    assert state(failed, Look(quiet)).verdicts == (other,), "what it was decided by"


@pytest.mark.parametrize(
    ("flag", "shown"),
    [
        (at(Phase.DRAFT), ["not_started: a draft, or ended: apply it with --anew"]),
        (at(Phase.READY), ["not_started: start it"]),
        (at(Phase.RUNNING), ["baking: 12 s of 10 min"]),
        (at(Phase.RUNNING, step_began_s=0.0), []),
        (at(Phase.RUNNING, step=5), []),
        (at(Phase.PAUSED, paused=PAUSE), ["paused: for 30 s (by operator ann: lunch)"]),
        (
            at(Phase.PAUSED, paused=Pause(Cause.SYSTEM, NOW, reason="no data", acked_by="bob")),
            ["paused: for 0 s (by system: no data; seen by bob)"],
        ),
        (at(Phase.PAUSED), ["paused"]),
        (at(Phase.MONITORING, monitoring_since_s=NOW - 60), ["monitoring: 1 min of 1 h"]),
        (at(Phase.COMPLETED), []),
        (at(Phase.ROLLED_BACK, rolled_back=BACK), ["rolling_back: at 5%, down to 0% (by gate: gate errors failed)"]),
        (
            at(Phase.ROLLED_BACK, rolled_back=BACK, share=0),
            ["cooldown: 1 min of 10 min (by gate: gate errors failed)"],
        ),
        (
            at(Phase.ROLLED_BACK, rolled_back=replace(BACK, cooldown_ends_s=NOW), share=0),
            ["rolled_back: for 1 min (by gate: gate errors failed; restart it, or end it)"],
        ),
        (at(Phase.ROLLED_BACK), ["rolled_back: restart it, or end it"]),
    ],
)
def test_without_any_controller_the_flag_alone_says_why(flag: FeatureFlag, shown: list[str]) -> None:
    assert texts(flag) == shown


def test_a_first_step_may_await_its_approval() -> None:
    plan = RampPlan(steps=(Step(share=1_000, approval=True), Step(share=5_000)))
    assert texts(at(Phase.READY, plan=plan, share=0)) == [
        "not_started: start it",
        "awaiting_approval: 0 of 1 (for step 0, by somebody else than the proposer)",
    ]
    assert texts(at(Phase.READY, plan=plan)) == ["not_started: start it"]


def test_the_window_and_the_next_approval_are_known_without_a_controller() -> None:
    steps = (Step(share=5_000), Step(share=6_000, approval=True))
    flag = at(Phase.RUNNING, plan=RampPlan(steps=steps, windows=(Window(opens="08:00", closes="09:00"),)), step=0)
    assert texts(flag) == [
        "outside_window: now Thu 02:46 UTC, opens Thu 08:00 (open daily 08:00-09:00 +00:00)",
        "awaiting_approval: 0 of 1 (for step 1, by somebody else than the proposer)",
    ]


def test_a_kill_comes_first_and_says_whose_it_is() -> None:
    killed = replace(at(Phase.PAUSED, paused=PAUSE), kill=Kill(on=True, actor="eve", at_s=NOW - 5, reason="errors"))
    assert texts(killed, killed_locally=True) == [
        "killed: for 5 s (by eve: errors)",
        "paused: for 30 s (by operator ann: lunch)",
    ]
    assert texts(at(Phase.COMPLETED), killed_locally=True) == ["killed: on this replica alone"]


@pytest.mark.parametrize(
    ("flag", "moved"),
    [
        (at(Phase.DRAFT), False),
        (at(Phase.READY), False),
        (at(Phase.RUNNING), True),
        (at(Phase.PAUSED, paused=PAUSE), True),
        (at(Phase.MONITORING, monitoring_since_s=0.0), True),
        (at(Phase.COMPLETED), False),
        (at(Phase.ROLLED_BACK, rolled_back=BACK), True),
        (at(Phase.ROLLED_BACK, rolled_back=BACK, share=0), False),
    ],
)
def test_nobody_looking_is_a_hold_of_what_a_controller_would_move(flag: FeatureFlag, *, moved: bool) -> None:
    late = Look(written_s=NOW - UNSEEN_MAX_S - 1)
    assert ("no_controller: nobody has looked for 11 s, limit 10 s" in texts(flag, late)) is moved
    for fine in (Look(), Look(written_s=NOW - UNSEEN_MAX_S), Look(SHOWN, written_s=0.0), Look(written_s=NOW + 60)):
        assert not any(text.startswith("no_controller") for text in texts(flag, fine))


def test_a_controller_that_went_away_is_told_by_its_last_look() -> None:
    gone = Look(replace(SHOWN, at_s=NOW - 60))
    assert texts(FLAG, gone) == [
        "no_controller: nobody has looked for 1 min, limit 10 s",
        "failing: gate errors: 0.2, limit 0.05 (too many)",
        "baking: 12 s of 10 min",
    ]


def test_without_the_store_nobody_knows_of_controllers() -> None:
    away = Look(written_s=0.0, store_fault="no answer", store_read_s=NOW - 7)
    assert texts(FLAG, away) == ["store_unavailable: last read 7 s ago (no answer)", "baking: 12 s of 10 min"]
    assert texts(at(Phase.COMPLETED), Look(store_fault="no answer")) == ["store_unavailable: never read (no answer)"]


@pytest.mark.parametrize(
    ("flag", "step_share", "next_share"),
    [
        (at(Phase.READY, share=0, step=-1), None, 1_000),
        (at(Phase.READY, share=6_000, step=-1), None, 6_000),
        (at(Phase.RUNNING, share=5_000), 5_000, 50_000),
        (at(Phase.RUNNING, share=60_000), 5_000, 60_000),
        (at(Phase.RUNNING, step=2), 50_000, None),
        (at(Phase.RUNNING, step=9), None, None),
        (at(Phase.PAUSED, share=500, step=-1), None, 1_000),
        (at(Phase.PAUSED, monitoring_since_s=1.0), 5_000, None),
        (at(Phase.MONITORING, step=2), 50_000, None),
        (at(Phase.ROLLED_BACK, rolled_back=BACK), 5_000, None),
    ],
)
def test_the_share_of_the_step_and_the_next(flag: FeatureFlag, step_share: int | None, next_share: int | None) -> None:
    found = state(flag)
    assert (found.step_share, found.next_share) == (step_share, next_share)


progresses = st.builds(
    Progress,
    phase=st.sampled_from(Phase),
    step=st.integers(-1, 5),
    step_began_s=st.floats(0, 2e9),
    paused=st.none() | st.just(PAUSE),
    monitoring_since_s=st.none() | st.floats(0, 2e9),
    rolled_back=st.none() | st.just(BACK),
)


@given(progresses, st.integers(0, 100_000), st.booleans(), st.floats(0, 2e9))
def test_any_flag_can_be_shown(progress: Progress, share: int, killed: bool, now_s: float) -> None:  # noqa: FBT001
    flag = replace(FLAG, progress=progress, share_millipct=share, kill=Kill(on=killed))
    found = state_of(flag, Look(SHOWN, written_s=5.0), now_s)
    assert found is not None
    order = list(HoldReason)
    positions = [order.index(hold.reason) for hold in found.holds]
    assert positions == sorted(positions)
    assert all(str(hold) for hold in found.holds)
