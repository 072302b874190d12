"""Costs survive the store exactly: added in any order and partition, for years, within 64 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.core.cost import PAID_MAX_PICOUSD, TOKENS_MAX, CostSums, Stratum, TokenPrice, add, one, saving_so_far
from rollout.core.cost_sums import (
    ELEMENT_MAX,
    ELEMENTS,
    REQUESTS_MAX,
    cost_key,
    has_begun,
    is_counted,
    shadow_key,
    shadows_of,
    strata_of,
    sums_of,
    together,
    vector_of,
)
from rollout.core.model import Arm, FeatureFlag
from rollout.core.ramp_model import Phase, Progress
from rollout.core.sums import ELEMENTS_MAX, SumKey, fits, merge

if TYPE_CHECKING:
    import random

PROGRESS = Progress(phase=Phase.RUNNING, attempt=2)
FLAG = FeatureFlag(feature="draft", candidate="a", baseline="b", share_millipct=5_000, progress=PROGRESS)
TOKENS = st.none() | st.integers(0, 2**53)
PRICES = st.builds(TokenPrice, st.integers(0, 10**15), st.integers(0, 10**15))
REQUESTS = st.builds(one, PRICES, TOKENS, TOKENS, accepted=st.booleans(), answered=st.booleans())


@given(REQUESTS)
def test_no_request_passes_the_bound_that_lets_years_of_them_fit(sums: CostSums) -> None:
    vector = vector_of(sums)
    assert len(vector) == ELEMENTS <= ELEMENTS_MAX
    assert all(0 <= element <= ELEMENT_MAX for element in vector)
    assert all(fits(0, element * REQUESTS_MAX) for element in vector)


def test_the_dearest_and_longest_request_fits_as_often_too() -> None:
    worst = one(TokenPrice(PAID_MAX_PICOUSD, 0), 2**53, 2**53, accepted=True)
    assert (worst.prompt_tokens, worst.picousd) == (TOKENS_MAX, PAID_MAX_PICOUSD)
    assert max(vector_of(worst)) == ELEMENT_MAX
    assert ELEMENT_MAX * REQUESTS_MAX == 2**62
    assert REQUESTS_MAX / 1_000 / (365 * 86_400) > 8


@given(st.lists(REQUESTS, max_size=12), st.randoms(use_true_random=False), st.integers(1, 5))
def test_any_order_and_partition_adds_up_to_the_same(
    requests: list[CostSums], chance: random.Random, writers: int
) -> None:
    chance.shuffle(shuffled := list(requests))
    stored: list[int] = []
    for writer in range(writers):
        stored = merge(stored, vector_of(add(shuffled[writer::writers])))
    assert sums_of(stored) == add(requests)


@given(st.lists(REQUESTS, min_size=1, max_size=8), st.lists(REQUESTS, min_size=1, max_size=8), st.integers(2, 4))
def test_a_saving_does_not_depend_on_how_a_share_was_written(
    candidate: list[CostSums], baseline: list[CostSums], writers: int
) -> None:
    kept: dict[SumKey, list[int]] = {}
    for arm, requests in ((Arm.CANDIDATE, candidate), (Arm.BASELINE, baseline)):
        key = cost_key("draft", PROGRESS, 5_000, arm)
        for writer in range(writers):
            kept[key] = merge(kept.get(key, ()), vector_of(add(requests[writer::writers])))
    whole = Stratum(add(candidate), add(baseline))
    assert strata_of("draft", PROGRESS, kept) == (whole,)
    assert saving_so_far(strata_of("draft", PROGRESS, kept), 7) == saving_so_far([whole], 7)


@given(st.lists(REQUESTS, min_size=2, max_size=6), st.lists(REQUESTS, min_size=2, max_size=6), st.integers(2, 5))
def test_a_saving_is_that_of_a_stratum_in_equal_parts(
    candidate: list[CostSums], baseline: list[CostSums], parts: int
) -> None:
    part = Stratum(add(candidate), add(baseline))
    whole = Stratum(add([part.candidate] * parts), add([part.baseline] * parts))
    split, at_once = saving_so_far([part] * parts, 0), saving_so_far([whole], 0)
    assert split is not None
    assert at_once is not None
    largest = max(whole.candidate.picousd, whole.baseline.picousd, 1) * whole.candidate.requests
    assert split.picousd == pytest.approx(at_once.picousd, abs=1e-9 * largest)


def test_nothing_stored_is_nothing() -> None:
    assert sums_of(()) == CostSums() == shadows_of("draft", PROGRESS, {})
    assert strata_of("draft", PROGRESS, {}) == ()
    assert together(()) == Stratum(CostSums(), CostSums())


def test_only_this_attempt_of_this_feature_is_read_by_share() -> None:
    here = vector_of(one(TokenPrice(3), 10, 0, accepted=True))
    sums = {
        cost_key("draft", PROGRESS, 25_000, Arm.BASELINE): here,
        cost_key("draft", PROGRESS, 1_000, Arm.CANDIDATE): here,
        cost_key("draft", replace(PROGRESS, attempt=1), 1_000, Arm.BASELINE): here,
        cost_key("other", PROGRESS, 1_000, Arm.BASELINE): here,
        shadow_key("draft", PROGRESS): merge(here, here),
        SumKey("draft", 2, "units.1000"): (5, 5),
        SumKey("draft", 2, "cost.1000.neither"): here,
    }
    small, large = strata_of("draft", PROGRESS, sums)
    assert (small.candidate.picousd, small.baseline.requests) == (30, 0)
    assert (large.candidate.requests, large.baseline.picousd) == (0, 30)
    assert together((small, large)) == Stratum(small.candidate, large.baseline)
    assert shadows_of("draft", PROGRESS, sums).requests == 2


@pytest.mark.parametrize(
    ("phase", "attempt", "share", "counted"),
    [
        (Phase.RUNNING, 1, 1, True),
        (Phase.PAUSED, 1, 1, True),
        (Phase.COMPLETED, 3, 100_000, True),
        (Phase.RUNNING, 1, 0, False),
        (Phase.READY, 0, 5_000, False),
        (Phase.ROLLED_BACK, 1, 5_000, False),
        (Phase.DRAFT, 1, 5_000, False),
    ],
)
def test_a_ramp_is_counted_from_its_start_until_it_is_rolled_back(
    phase: Phase, attempt: int, share: int, *, counted: bool
) -> None:
    flag = replace(FLAG, share_millipct=share, progress=Progress(phase=phase, attempt=attempt))
    assert is_counted(flag) is counted
    assert has_begun(flag) is (counted or (phase is Phase.RUNNING and not share))
