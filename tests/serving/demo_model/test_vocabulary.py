from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.demo_model.vocabulary import LISTS, NUMBERS, draw


@pytest.mark.parametrize("kind", LISTS)
def test_lists_hold_no_entry_twice(kind: str) -> None:
    assert len(set(LISTS[kind])) == len(LISTS[kind]) > 2


@given(st.lists(st.sampled_from([*LISTS, *NUMBERS]), max_size=4), st.integers(0, 2**32))
def test_values_come_from_the_lists_and_differ_within_a_kind(kinds: list[str], seed: int) -> None:
    drawn = list(zip(kinds, draw(kinds, random.Random(seed)), strict=True))
    assert len(set(drawn)) == len(drawn)
    assert all(value in LISTS[kind] for kind, value in drawn if kind in LISTS)
    assert all(any(c.isdigit() for c in value) for kind, value in drawn if kind in NUMBERS)
