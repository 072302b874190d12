from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.lives import (
    TABLE,
    Acceptor,
    Event,
    IllegalTransitionError,
    Replacement,
    RestartPolicy,
    State,
    advance,
    after_death,
    assign,
)

POLICY = RestartPolicy(stable_s=10.0, first_wait_s=0.1, longest_wait_s=1.0, deaths_max=6)


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_every_pair(state: State, event: Event) -> None:
    if (state, event) in TABLE:
        assert advance(state, event) is TABLE[state, event]
    else:
        with pytest.raises(IllegalTransitionError, match=f"{event.value} cannot happen while {state.value}"):
            advance(state, event)


def test_whoever_lives_can_die_and_the_dead_stay_dead() -> None:
    assert all(advance(state, Event.EXITED) is State.GONE for state in State if state is not State.GONE)
    assert not [pair for pair in TABLE if pair[0] is State.GONE]


def test_a_worker_that_lived_is_replaced_at_once_and_its_slot_starts_afresh() -> None:
    assert after_death(5, 10.0, POLICY, others_ready=False) == Replacement(0, 0.0, hopeless=False)


def test_dying_young_waits_longer_each_time_up_to_a_bound() -> None:
    waits = [after_death(deaths, 1.0, POLICY, others_ready=True).wait_s for deaths in range(6)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert after_death(10_000, 1.0, POLICY, others_ready=True).wait_s == 1.0


@pytest.mark.parametrize(
    ("deaths", "others_ready", "hopeless"), [(4, False, False), (5, False, True), (5, True, False)]
)
def test_hope_ends_after_too_many_deaths_unless_others_do_well(
    deaths: int, *, others_ready: bool, hopeless: bool
) -> None:
    verdict = after_death(deaths, 9.9, POLICY, others_ready=others_ready)
    assert (verdict.deaths, verdict.hopeless) == (deaths + 1, hopeless)


@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_every_slot_is_accepted_from_by_one_worker(ready: list[bool]) -> None:
    own = [slot + 100 if is_ready else None for slot, is_ready in enumerate(ready)]
    assigned = assign(own, [Acceptor(worker, len(ready)) for worker in own if worker is not None])
    accepted = sorted(slot for slots in assigned.values() for slot in slots)
    assert accepted == (list(range(len(ready))) if any(ready) else [])
    for slot, worker in enumerate(own):
        assert worker is None or slot in assigned[worker]
    if assigned:
        sizes = [len(slots) for slots in assigned.values()]
        assert max(sizes) - min(sizes) <= 1


def test_a_worker_that_has_no_socket_of_a_slot_is_not_asked_to_accept_from_it() -> None:
    assert assign([1, None], [Acceptor(1, 1)]) == {1: (0,)}
    assert assign([1, 2, None], [Acceptor(1, 2), Acceptor(2, 3)]) == {1: (0,), 2: (1, 2)}
