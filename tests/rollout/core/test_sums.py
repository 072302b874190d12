from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core import sums
from rollout.core.errors import InvalidArgument
from rollout.core.sums import (
    ELEMENTS_MAX,
    VALUES_PER_FLUSH_MAX,
    Replacement,
    SumKey,
    check_flush,
    check_replacement,
    fits,
    merge,
)

KEY = SumKey("f", 0, "ttft_s|0.02")
vectors = st.lists(st.integers(-(2**50), 2**50), max_size=5)


@given(vectors, vectors, vectors)
def test_any_order_of_adding_gives_the_same(first: list[int], second: list[int], third: list[int]) -> None:
    assert merge(merge(first, second), third) == merge(first, merge(third, second))
    assert merge(first, []) == first


def test_the_shorter_vector_ends_in_zeros() -> None:
    assert merge([1], [1, 2]) == [2, 2]


def test_a_sum_stays_in_64_bits() -> None:
    assert merge([2**61], [2**61]) == [2**62]
    assert not fits(2**62, 2**20)
    for sign in (1, -1):
        with pytest.raises(InvalidArgument):
            merge([sign * 2**62], [sign * 2**20])


def test_a_flush_that_can_be_added_passes() -> None:
    check_flush({KEY: [0] * ELEMENTS_MAX}, "worker 1:7")
    check_flush({}, "1")


@pytest.mark.parametrize(
    ("key", "vector", "flush_id"),
    [
        (KEY, [1], ""),
        (KEY, [1], "\n"),
        (KEY, [], "1"),
        (KEY, [0] * (ELEMENTS_MAX + 1), "1"),
        (KEY._replace(name="x" * 201), [1], "1"),
        (KEY._replace(epoch=-1), [1], "1"),
        (KEY._replace(epoch=2**53), [1], "1"),
        (KEY, [2**63], "1"),
    ],
)
def test_a_flush_that_no_store_would_take_is_refused(key: SumKey, vector: Any, flush_id: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_flush({key: vector}, flush_id)
    assert refused.value.hint


def test_a_flush_is_bounded() -> None:
    deltas = {KEY._replace(epoch=number): [0] * 64 for number in range(sums.VALUES_PER_FLUSH_MAX // 64 + 1)}
    with pytest.raises(InvalidArgument, match="too many"):
        check_flush(deltas, "1")
    assert "too many" in sums.too_many().cause


def test_a_replacement_is_bounded() -> None:
    check_replacement(Replacement("draft", 1, {"old": [1], "new": []}, {"new": [2]}))
    for found, instead in (
        ({"old": [0] * (VALUES_PER_FLUSH_MAX + 1)}, {}),
        ({"": [1]}, {}),
        ({}, {"new": []}),
        ({}, {"new": [2**62 + 1_024]}),
    ):
        with pytest.raises(InvalidArgument):
            check_replacement(Replacement("draft", 1, found, instead))
