from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.errors import InvalidArgument
from rollout.core.ramp_goal import Goal, Outcome, Situation, outcome, parse_goal
from rollout.core.ramp_model import Phase

REACHED, ENDED, PAUSED, UNDER_WAY = Outcome.REACHED, Outcome.ENDED, Outcome.PAUSED, Outcome.UNDER_WAY
AWAITED = Outcome.AWAITED


@pytest.mark.parametrize(
    ("text", "goal"),
    [
        ("completed", Goal("completed", phase=Phase.COMPLETED)),
        (" step:0 ", Goal("step:0", step=0)),
        ("share:12.5%", Goal("share:12.5%", share_millipct=12_500)),
        ("phase:monitoring", Goal("phase:monitoring", phase=Phase.MONITORING)),
    ],
)
def test_what_can_be_waited_for(text: str, goal: Goal) -> None:
    assert parse_goal(text) == goal


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "step:N"),
        ("done", "step:N"),
        ("completed:now", "step:N"),
        ("step:-1", "counted from 0"),
        ("step:1000", "counted from 0"),
        ("step:٣", "counted from 0"),
        ("share:0%", "greater"),
        ("share:0.5", "percentage"),
        ("phase:RUNING", "did you mean RUNNING?"),
        ("phase:", "phases: DRAFT"),
    ],
)
def test_what_cannot_is_refused_with_what_can(text: str, hint: str) -> None:
    with pytest.raises(InvalidArgument) as fault:
        parse_goal(text)
    assert hint in fault.value.hint


# Of each phase: what a ramp in step 1 of 3 with 5 % in force has made of each goal.
TABLE = {
    "completed": (AWAITED, AWAITED, UNDER_WAY, PAUSED, UNDER_WAY, REACHED, ENDED),
    "step:1": (AWAITED, AWAITED, REACHED, REACHED, REACHED, REACHED, ENDED),
    "step:2": (AWAITED, AWAITED, UNDER_WAY, PAUSED, UNDER_WAY, ENDED, ENDED),
    "share:5%": (REACHED, REACHED, REACHED, REACHED, REACHED, REACHED, ENDED),
    "share:6%": (AWAITED, AWAITED, UNDER_WAY, PAUSED, UNDER_WAY, ENDED, ENDED),
    "phase:RUNNING": (AWAITED, AWAITED, REACHED, PAUSED, UNDER_WAY, ENDED, ENDED),
    "phase:PAUSED": (AWAITED, AWAITED, UNDER_WAY, REACHED, UNDER_WAY, ENDED, ENDED),
    "phase:ROLLED_BACK": (AWAITED, AWAITED, UNDER_WAY, PAUSED, UNDER_WAY, ENDED, REACHED),
}


@pytest.mark.parametrize(("text", "phase"), [*product(TABLE, Phase)])
def test_all_pairs_of_goal_and_phase(text: str, phase: Phase) -> None:
    now = Situation(phase, 5_000, step=1, steps=3)
    assert outcome(parse_goal(text), now) is TABLE[text][list(Phase).index(phase)]


@pytest.mark.parametrize(("text", "phase"), [*product(TABLE, Phase)])
def test_nothing_but_a_stop_is_reached_while_nobody_gets_the_candidate(text: str, phase: Phase) -> None:
    off = Situation(phase, 0, off=True, step=1, steps=3)
    stops = text in {"phase:PAUSED", "phase:ROLLED_BACK"} and text.endswith(phase)
    assert outcome(parse_goal(text), off) is (REACHED if stops else ENDED)


@pytest.mark.parametrize(
    ("holds", "found"),
    [
        (("awaiting_approval",), AWAITED),
        (("baking", "awaiting_approval"), UNDER_WAY),
        ((), UNDER_WAY),
    ],
)
def test_an_approval_is_awaited_when_nothing_else_holds(holds: tuple[str, ...], found: Outcome) -> None:
    now = Situation(Phase.RUNNING, 5_000, step=1, steps=3, holds=holds)
    assert outcome(parse_goal("completed"), now) is found
    assert outcome(parse_goal("completed"), now._replace(phase=Phase.MONITORING)) is UNDER_WAY
    assert outcome(parse_goal("step:1"), now) is REACHED


def test_without_a_ramp_only_a_share_can_be_waited_for() -> None:
    assert outcome(parse_goal("share:5%"), Situation(None, 5_000)) is REACHED
    assert outcome(parse_goal("share:6%"), Situation(None, 5_000)) is UNDER_WAY
    for text in ("completed", "step:0", "phase:RUNNING"):
        with pytest.raises(InvalidArgument, match="no ramp"):
            outcome(parse_goal(text), Situation(None, 5_000))


def test_a_step_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="no step 3") as fault:
        outcome(parse_goal("step:3"), Situation(Phase.RUNNING, 0, steps=3))
    assert fault.value.hint == "use 0..2"


odd = st.sampled_from(["", "step:", "share:", "phase:"]).flatmap(lambda kind: st.text(max_size=9).map(kind.__add__))


@given(odd)
def test_any_text_is_a_goal_or_refused(text: str) -> None:
    try:
        goal = parse_goal(text)
    except InvalidArgument:
        return
    assert sum(part is not None for part in goal[1:]) == 1
