from collections import Counter
from math import ceil, exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.balance import LOAD_BOUND, choose, endpoint_seed

SEEDS = [endpoint_seed(f"http://10.0.0.{number}:8000/v1") for number in range(20)]
busy = st.lists(st.integers(0, 1000), min_size=1, max_size=20)


def by_key(outstanding: list[int], candidates: list[int], key: bytes) -> int:
    return choose(outstanding, candidates, turn=0, seeds=SEEDS, key=key)


def test_nobody_to_ask() -> None:
    assert choose([0, 0], [], turn=3) == -1
    assert by_key([0, 0], [], b"k") == -1


@pytest.mark.parametrize("key", [None, b"conversation"])
def test_the_only_one(key: bytes | None) -> None:
    assert choose([9, 1_000, 0], [1], turn=7, seeds=SEEDS, key=key) == 1


@given(busy, st.integers(0, 1 << 40), st.data())
def test_without_a_key_one_of_the_least_busy_candidates(outstanding: list[int], turn: int, data) -> None:
    candidates = sorted(data.draw(st.sets(st.sampled_from(range(len(outstanding))), min_size=1)))
    chosen = choose(outstanding, candidates, turn=turn)
    assert chosen in candidates
    assert outstanding[chosen] == min(outstanding[index] for index in candidates)


@given(st.integers(1, 20), st.integers(0, 1000))
def test_equals_take_turns(count: int, first: int) -> None:
    chosen = [choose([0] * count, range(count), turn=first + turn) for turn in range(count)]
    assert sorted(chosen) == list(range(count))


@given(st.binary(max_size=40), st.integers(1, 20))
def test_a_key_stays_with_its_endpoint(key: bytes, count: int) -> None:
    chosen = by_key([0] * count, list(range(count)), key)
    assert {by_key([0] * count, list(range(count))[::-1], key) for _ in range(3)} == {chosen}


@given(st.binary(max_size=40), st.integers(2, 20), st.data())
def test_an_endpoint_that_goes_moves_its_own_keys_only(key: bytes, count: int, data) -> None:
    everybody = list(range(count))
    gone = data.draw(st.sampled_from(everybody))
    before = by_key([0] * count, everybody, key)
    after = by_key([0] * count, [index for index in everybody if index != gone], key)
    assert after != gone
    assert before in (after, gone)


@given(busy, st.binary(max_size=40))
def test_the_load_bound_holds(outstanding: list[int], key: bytes) -> None:
    everybody = list(range(len(outstanding)))
    chosen = by_key(outstanding, everybody, key)
    if len(everybody) > 1:
        assert outstanding[chosen] < ceil(LOAD_BOUND * (sum(outstanding) + 1) / len(outstanding))


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=300), st.integers(1, 10))
def test_no_endpoint_is_ever_over_the_bound_as_requests_pile_up(keys: list[bytes], count: int) -> None:
    outstanding = [0] * count
    for key in keys:
        outstanding[by_key(outstanding, list(range(count)), key)] += 1
    assert max(outstanding) <= ceil(LOAD_BOUND * len(keys) / count)


def test_over_the_bound_the_next_in_the_keys_own_order() -> None:
    everybody = list(range(5))
    own = by_key([0] * 5, everybody, b"k")
    following = by_key([0] * 5, [index for index in everybody if index != own], b"k")
    outstanding = [0] * 5
    outstanding[own] = 100
    assert by_key(outstanding, everybody, b"k") == following


@pytest.mark.parametrize("count", [2, 3, 7, 20])
def test_keys_spread_evenly(count: int) -> None:
    keys = 20_000
    chosen = Counter(by_key([0] * count, list(range(count)), b"conversation-%d" % number) for number in range(keys))
    # Hoeffding, for all endpoints together: a fair choice is further off than this once in a million times.
    off = next(n for n in range(keys) if 2 * count * exp(-2 * n * n / keys) < 1e-6)
    assert all(abs(chosen[index] - keys / count) <= off for index in range(count))


def test_seeds_differ_and_last() -> None:
    assert len(set(SEEDS)) == len(SEEDS)
    assert endpoint_seed("http://127.0.0.1:8000/v1") == 3_655_959_489
