from hypothesis import given
from hypothesis import strategies as st

from gateway.core.balance import least_outstanding


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20))
def test_the_first_of_the_least_busy(outstanding: list[int]) -> None:
    chosen = least_outstanding(outstanding)
    assert outstanding[chosen] == min(outstanding)
    assert min(outstanding) not in outstanding[:chosen]


def test_equal_load_spreads_over_all_endpoints() -> None:
    outstanding = [0, 0, 0]
    for _ in range(30):
        outstanding[least_outstanding(outstanding)] += 1
    assert outstanding == [10, 10, 10]
