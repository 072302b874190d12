import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.quota import QuotaAsk, QuotaGrant, grant


def ask(amount: int, limit: int = 10) -> QuotaAsk:
    return QuotaAsk("q", 1, amount, limit, 60.0)


@pytest.mark.parametrize(
    ("used", "amount", "granted"),
    [
        (0, 4, 4),
        (8, 4, 2),
        (10, 4, 0),
        (12, 4, 0),  # the limit was lowered meanwhile
        (5, 0, 0),
        (5, -2, -2),
        (5, -9, -5),
        (0, -1, 0),
        (12, -3, -3),
    ],
)
def test_what_is_left_is_granted_and_what_is_out_can_come_back(used: int, amount: int, granted: int) -> None:
    assert grant(used, ask(amount)) == QuotaGrant(granted, used + granted)


@given(st.lists(st.integers(-50, 50)), st.integers(0, 100))
def test_the_sum_of_grants_stays_between_nothing_and_the_limit(amounts: list[int], limit: int) -> None:
    used = 0
    for amount in amounts:
        given_out = grant(used, ask(amount, limit))
        assert abs(given_out.granted) <= abs(amount)
        assert given_out.used == used + given_out.granted
        assert 0 <= given_out.used <= limit
        used = given_out.used
