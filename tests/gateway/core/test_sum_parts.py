"""No part is too large, none is empty, and together they are the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import sum_parts as module
from rollout.core.sums import SumKey

MOST = 10


@given(st.lists(st.integers(1, MOST), max_size=30))
def test_parts_are_bounded_and_add_up(sizes: list[int]) -> None:
    deltas = {SumKey("draft", 0, f"name.{number}"): [number] * size for number, size in enumerate(sizes)}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "VALUES_PER_FLUSH_MAX", MOST)
        parts = list(module.in_parts(deltas, "f"))
    assert [flush_id for flush_id, _ in parts] == [f"f.{number}" for number in range(len(parts))]
    assert all(0 < sum(map(len, part.values())) <= MOST for _, part in parts)
    assert [item for _, part in parts for item in part.items()] == list(deltas.items())
