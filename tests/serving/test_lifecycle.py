import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.lifecycle import (
    FINAL,
    TABLE,
    Event,
    IllegalTransitionError,
    Life,
    Phase,
    RestartPolicy,
    advance,
    after_death,
    backoff_s,
)

POLICY = RestartPolicy(
    attempts_before_ready=2,
    attempts_after_ready=4,
    first_delay_s=1.0,
    longest_delay_s=5.0,
    stable_s=100.0,
)


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(Phase, Event)))
def test_every_pair_is_in_the_table_or_refused_without_a_change(phase: Phase, event: Event) -> None:
    life = Life(phase, since_s=1.0, failures=1, ever_ready=True)
    before = msgspec.structs.asdict(life)
    if (phase, event) in TABLE:
        assert advance(life, event, 2.0).phase is TABLE[phase, event]
    else:
        with pytest.raises(IllegalTransitionError, match=event.value):
            advance(life, event, 2.0)
    assert msgspec.structs.asdict(life) == before


def test_final_phases_have_no_way_out_and_all_others_have() -> None:
    leaving = {phase for phase, _ in TABLE}
    assert leaving == set(Phase) - FINAL


def test_every_phase_but_the_first_can_be_reached() -> None:
    assert set(TABLE.values()) == set(Phase) - {Phase.PREPARING}


def test_every_living_phase_can_be_stopped() -> None:
    assert {phase for phase, event in TABLE if event is Event.STOP} == set(Phase) - FINAL - {Phase.DRAINING}


def test_ready_is_remembered_and_deaths_are_counted() -> None:
    life = Life()
    for at_s, event in enumerate([Event.PREPARED, Event.ANSWERED, Event.WARMED, Event.DIED, Event.RETRY], start=1):
        life = advance(life, event, float(at_s))
    assert life == Life(Phase.STARTING, since_s=5.0, failures=1, ever_ready=True)


def test_what_cannot_heal_ends_at_once_before_the_first_ready() -> None:
    event, life = after_death(Life(Phase.STARTING), POLICY, 1.0, can_heal=False)
    assert (event, life.phase) == (Event.GAVE_UP, Phase.FAILED)


def test_what_may_heal_gets_another_attempt_and_no_more() -> None:
    event, life = after_death(Life(Phase.STARTING), POLICY, 1.0, can_heal=True)
    assert (event, life.phase, life.failures) == (Event.DIED, Phase.BACKOFF, 1)
    event, life = after_death(advance(life, Event.RETRY, 2.0), POLICY, 3.0, can_heal=True)
    assert (event, life.phase, life.failures) == (Event.GAVE_UP, Phase.FAILED, 2)


@pytest.mark.parametrize("can_heal", [True, False])
def test_what_has_served_is_restarted_whatever_the_log_says_but_not_for_ever(can_heal: bool) -> None:  # noqa: FBT001
    life = Life(Phase.READY, since_s=0.0, ever_ready=True)
    events = []
    while life.phase not in FINAL:
        event, life = after_death(life, POLICY, 1.0, can_heal=can_heal)
        events.append(event)
        if life.phase is Phase.BACKOFF:
            life = advance(life, Event.RETRY, 1.0)
    assert events == [Event.DIED] * 3 + [Event.GAVE_UP]


def test_a_long_ready_run_wipes_earlier_failures() -> None:
    worn = Life(Phase.READY, since_s=0.0, failures=3, ever_ready=True)
    assert after_death(worn, POLICY, 99.9, can_heal=True)[0] is Event.GAVE_UP
    event, life = after_death(worn, POLICY, 100.0, can_heal=True)
    assert (event, life.failures) == (Event.DIED, 1)


def test_backoff_doubles_up_to_its_bound() -> None:
    assert [backoff_s(failures, POLICY) for failures in (1, 2, 3, 4, 5)] == [1.0, 2.0, 4.0, 5.0, 5.0]


@given(st.integers(1, 10**9))
def test_backoff_is_always_positive_and_bounded(failures: int) -> None:
    assert 0 < backoff_s(failures, POLICY) <= POLICY.longest_delay_s


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_any_history_keeps_its_promises(events: list[Event]) -> None:
    life = Life()
    for event in events:
        try:
            after = advance(life, event, 0.0)
        except IllegalTransitionError:
            continue
        assert life.phase not in FINAL
        assert after.failures >= life.failures
        assert after.ever_ready >= (life.ever_ready or after.phase is Phase.READY)
        life = after
