from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcome import Failure, Phase
from gateway.core.retry import (
    BACKOFF_MIN_S,
    BACKOFF_SPAN_S,
    Move,
    Reach,
    RetryBudget,
    RetryRules,
    Situation,
    Where,
    next_move,
    reach_of_failure,
    reach_of_status,
)

RULES = RetryRules()
ALONE = Situation(fallback=False, another=False, left_s=60.0)
situations = st.builds(
    Situation,
    fallback=st.booleans(),
    another=st.booleans(),
    left_s=st.floats(-1, 600),
    retry_after_s=st.none() | st.floats(0, 200),
    client_retries=st.integers(0, 3),
    affordable=st.booleans(),
    draw=st.floats(0, 1, exclude_max=True),
)


@pytest.mark.parametrize(
    ("kind", "reach"),
    [
        ("refused", Reach.ENDPOINT),
        ("connect_timeout", Reach.ENDPOINT),
        ("reset", Reach.ENDPOINT),
        ("bad_answer", Reach.ENDPOINT),
        ("empty_stream", Reach.ENDPOINT),
        ("queue_full", Reach.SLOW),
        ("first_byte_timeout", Reach.SLOW),
        ("ejected", Reach.UPSTREAM),
        ("answer_too_large", Reach.UPSTREAM),
        ("total_timeout", Reach.FINAL),
        ("closed", Reach.FINAL),
    ],
)
def test_reach_by_kind_of_failure(kind: str, reach: Reach) -> None:
    assert reach_of_failure(Failure(Phase.CONNECT, kind, "")) is reach


@pytest.mark.parametrize(
    ("reach", "statuses"),
    [
        (Reach.ENDPOINT, [500, 502, 503, 529]),
        (Reach.LIMIT, [429]),
        (Reach.SLOW, [408, 504]),
        (Reach.UPSTREAM, [301, 307, 401, 403, 404, 405, 407]),
        (Reach.FINAL, [200, 201, 400, 409, 413, 415, 422, 451, 501]),
    ],
)
def test_reach_by_status(reach: Reach, statuses: list[int]) -> None:
    assert {reach_of_status(status) for status in statuses} == {reach}


@pytest.mark.parametrize(
    ("reach", "moves"),
    [
        (Reach.ENDPOINT, (Where.FALLBACK, Where.FALLBACK, Where.ANOTHER, Where.SAME)),
        (Reach.LIMIT, (Where.FALLBACK, Where.FALLBACK, Where.SAME, Where.SAME)),
        (Reach.SLOW, (Where.FALLBACK, Where.FALLBACK, Where.ANOTHER, None)),
        (Reach.UPSTREAM, (Where.FALLBACK, Where.FALLBACK, None, None)),
        (Reach.FINAL, (None, None, None, None)),
    ],
)
def test_who_gets_the_extra_attempt(reach: Reach, moves: tuple[Where | None, ...]) -> None:
    for (fallback, another), where in zip(product((True, False), repeat=2), moves, strict=True):
        move = next_move(reach, Situation(fallback, another, 60.0, retry_after_s=1.0), RULES)
        assert (move and move.where) == where


@pytest.mark.parametrize("retry_after_s", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("reach", [Reach.LIMIT, Reach.ENDPOINT])
def test_the_wait_an_upstream_asks_for_is_kept(reach: Reach, retry_after_s: float) -> None:
    assert next_move(reach, ALONE._replace(retry_after_s=retry_after_s), RULES) == Move(Where.SAME, retry_after_s)


def test_a_wait_beyond_the_rules_or_the_deadline_is_left_to_the_caller() -> None:
    assert next_move(Reach.LIMIT, ALONE._replace(retry_after_s=6.0), RULES) is None
    assert next_move(Reach.LIMIT, ALONE._replace(retry_after_s=2.0, left_s=2.0), RULES) is None


def test_a_limit_without_a_wait_is_not_guessed_at() -> None:
    assert next_move(Reach.LIMIT, ALONE, RULES) is None


@given(st.floats(0, 1, exclude_max=True))
def test_without_a_wait_a_short_random_one_is_taken(draw: float) -> None:
    move = next_move(Reach.ENDPOINT, ALONE._replace(draw=draw), RULES)
    assert move is not None
    assert BACKOFF_MIN_S <= move.wait_s <= BACKOFF_MIN_S + BACKOFF_SPAN_S


def test_an_sdk_that_retries_itself_is_not_multiplied() -> None:
    assert next_move(Reach.ENDPOINT, ALONE._replace(client_retries=1), RULES) is None
    move = next_move(Reach.ENDPOINT, ALONE._replace(client_retries=1, another=True), RULES)
    assert move == Move(Where.ANOTHER)


@given(situations, st.sampled_from(Reach))
def test_no_move_ever_breaks_a_bound(now: Situation, reach: Reach) -> None:
    for rules in (RULES, RetryRules(enabled=False), RetryRules(wait_max_s=0)):
        move = next_move(reach, now, rules)
        if move is None:
            continue
        assert reach is not Reach.FINAL
        assert 0 <= move.wait_s < now.left_s
        assert move.wait_s <= rules.wait_max_s
        if move.where is Where.FALLBACK:
            assert now.fallback
        else:
            assert rules.enabled
            assert now.affordable
            assert not now.fallback
        if move.where is Where.ANOTHER:
            assert now.another


def test_a_budget_bounds_extra_attempts_to_a_share() -> None:
    budget = RetryBudget(0.2)
    extra = 0
    for _ in range(10_000):
        budget.deposit()
        if budget.affordable:
            budget.withdraw()
            extra += 1
    assert 2_000 <= extra <= 2_010


def test_a_budget_saved_up_is_bounded() -> None:
    budget = RetryBudget(0.5)
    for _ in range(10_000):
        budget.deposit()
    assert budget.balance <= 100.5


def test_no_budget_no_extra_attempt() -> None:
    budget = RetryBudget(0.0)
    budget.deposit()
    assert not budget.affordable
