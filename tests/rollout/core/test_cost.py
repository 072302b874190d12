"""Money is exact, adds up in any order, and a saving is compared within a share, never across shares."""

from __future__ import annotations

import math
import random
from statistics import variance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.cost import (
    PAID_MAX_PICOUSD,
    PICOUSD,
    TOKENS_MAX,
    CostSums,
    Gpus,
    Pricing,
    Stratum,
    TokenPrice,
    add,
    arm_cost,
    cost_cap_picousd,
    cost_score,
    one,
    saving_in_full,
    saving_so_far,
    token_price,
)
from rollout.core.errors import InvalidArgument

PARTNER = token_price(2.5, 10.0)
FREE = TokenPrice()
TOKENS = st.none() | st.integers(0, 1 << 20)


def many(
    count: int, price: TokenPrice, prompt: int = 1000, completion: int = 100, *, accepted: bool = True
) -> CostSums:
    return add(one(price, prompt, completion, accepted=accepted) for _ in range(count))


def test_a_million_tokens_cost_the_price_to_the_last_digit() -> None:
    assert PARTNER.of(1_000_000, 0) == int(2.5 * PICOUSD)
    assert token_price(0.000001, 0).of(1_000_000, 0) == PICOUSD // 1_000_000


@pytest.mark.parametrize("usd", [-1.0, math.inf, math.nan])
def test_what_is_no_price_is_refused(usd: float) -> None:
    with pytest.raises(InvalidArgument, match="price"):
        token_price(usd, 0.0)
    with pytest.raises(InvalidArgument, match="price"):
        token_price(0.0, usd)


def test_gpu_time_is_paid_by_the_hour() -> None:
    fleet = Gpus(gpus=8, microusd_per_hour=2_500_000)
    assert fleet.cost_picousd(3_600_000) == 20 * PICOUSD
    assert fleet.cost_picousd(1_800_000) == 10 * PICOUSD
    assert Gpus().cost_picousd(3_600_000) == 0


def test_an_upstream_has_a_price_by_tokens_or_by_gpus() -> None:
    assert Pricing(PARTNER).known
    assert Pricing(gpus=Gpus(8, 1)).known
    assert not Pricing(FREE, Gpus(8, 0)).known


def test_what_no_request_can_cost_is_cut_off() -> None:
    absurd = one(token_price(10**9, 0), 2**53, None, accepted=True)
    assert (absurd.prompt_tokens, absurd.picousd) == (TOKENS_MAX, PAID_MAX_PICOUSD)
    failed = one(PARTNER, None, None, accepted=False, answered=False)
    assert failed == CostSums(requests=1)


def test_a_share_with_one_request_takes_its_spread_from_all_others() -> None:
    rows = [(TokenPrice(), 10), (TokenPrice(1), 10), (TokenPrice(3), 10)]
    spread = add(one(price, tokens, 0, accepted=True) for price, tokens in rows)
    alone = one(TokenPrice(2), 10, 0, accepted=True)
    saved = saving_so_far([Stratum(spread, spread), Stratum(alone, alone)], 0)
    assert saved is not None
    assert saved.lower_picousd is not None
    assert saved.lower_picousd < saved.picousd == 0.0


@given(st.lists(st.tuples(TOKENS, TOKENS, st.booleans(), st.integers(0, 10**9))), st.randoms(use_true_random=False))
def test_sums_add_up_in_any_order_and_grouping(
    asks: list[tuple[int | None, int | None, bool, int]], chance: random.Random
) -> None:
    parts = [
        one(PARTNER, prompt, completion, accepted=ok, extra_picousd=extra) for prompt, completion, ok, extra in asks
    ]
    whole = add(parts)
    chance.shuffle(parts)
    cut = len(parts) // 2
    assert add([add(parts[:cut]), add(parts[cut:])]) == whole
    assert whole.picousd == sum(
        PARTNER.of(prompt or 0, completion or 0) + extra for prompt, completion, _, extra in asks
    )
    assert whole.tokens == sum((prompt or 0) + (completion or 0) for prompt, completion, _, _ in asks)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=30))
def test_the_variance_is_that_of_the_prices(prompts: list[int]) -> None:
    sums = add(one(TokenPrice(1), prompt, 0, accepted=True) for prompt in prompts)
    assert sums.variance == pytest.approx(variance(prompts))


def test_requests_without_token_counts_are_told_apart() -> None:
    sums = add([one(PARTNER, None, None, accepted=True), one(PARTNER, 10, None, accepted=False)])
    assert (sums.requests, sums.accepted, sums.unmetered) == (2, 1, 1)
    assert CostSums().per_request_picousd is CostSums().variance is None


def test_an_arm_pays_for_what_nobody_accepted() -> None:
    sums = add([many(3, PARTNER), many(1, PARTNER, accepted=False)])
    cost = arm_cost(sums)
    assert cost.per_accepted_picousd == pytest.approx((cost.per_request_picousd or 0) * 4 / 3)
    assert cost.per_million_tokens_picousd == pytest.approx(4 * 3.5e9 * 1e6 / 4400)


def test_gpu_time_over_the_tokens_served_is_the_in_house_price() -> None:
    cost = arm_cost(many(1000, FREE), gpu_picousd=11 * PICOUSD)
    assert cost.per_million_tokens_picousd == pytest.approx(10 * PICOUSD)
    assert cost.picousd == 11 * PICOUSD
    nothing = arm_cost(CostSums(), gpu_picousd=5)
    assert nothing.per_request_picousd is nothing.per_accepted_picousd is nothing.per_million_tokens_picousd is None


def test_what_is_saved_is_what_the_partner_would_have_been_paid_less_the_gpus() -> None:
    strata = [Stratum(many(10, FREE), many(90, PARTNER))]
    each = PARTNER.of(1000, 100)
    now, full = saving_so_far(strata, 5 * each), saving_in_full(strata, 5 * each)
    assert now is not None
    assert full is not None
    assert (now.picousd, now.lower_picousd, now.upper_picousd, now.extrapolated) == (5 * each, 5 * each, 5 * each, 0)
    assert full.picousd == 95 * each


def test_prices_are_compared_within_a_share() -> None:
    """Dear hours at a small share, cheap hours at a large one: the arms cost the same, and pooling would hide it."""
    dear, cheap = TokenPrice(100), TokenPrice(1)
    strata = [Stratum(many(1, dear), many(99, dear)), Stratum(many(50, cheap), many(50, cheap))]
    saved = saving_so_far(strata, 0)
    assert saved is not None
    assert saved.picousd == 0.0


def test_without_a_baseline_nearby_the_mean_of_all_others_stands_in() -> None:
    strata = [
        Stratum(many(10, FREE), many(10, PARTNER)),
        Stratum(many(7, FREE), CostSums()),
        Stratum(CostSums(), CostSums()),
    ]
    saved = saving_so_far(strata, 0)
    assert saved is not None
    assert (saved.picousd, saved.extrapolated) == (17 * PARTNER.of(1000, 100), 7)
    assert saving_so_far(strata[1:], 0) is None


def test_before_the_candidate_had_a_request_its_tokens_are_taken_as_free() -> None:
    full = saving_in_full([Stratum(CostSums(), many(10, PARTNER))], 0)
    assert full is not None
    assert full.picousd == 10 * PARTNER.of(1000, 100)
    assert full.lower_picousd is full.upper_picousd is None


def test_the_interval_covers_what_it_claims() -> None:
    chance = random.Random(7)
    missed, runs, share, count = 0, 400, 0.2, 300
    for _ in range(runs):
        asks = [(chance.random() < share, int(chance.lognormvariate(5, 0.7))) for _ in range(count)]
        candidate = add(one(TokenPrice(), tokens, 0, accepted=True) for mine, tokens in asks if mine)
        baseline = add(one(TokenPrice(1000), tokens, 0, accepted=True) for mine, tokens in asks if not mine)
        full = saving_in_full([Stratum(candidate, baseline)], 0)
        assert full is not None
        assert full.lower_picousd is not None
        assert full.upper_picousd is not None
        truth = count * 1000 * math.exp(5 + 0.7**2 / 2)
        missed += not full.lower_picousd <= truth <= full.upper_picousd
    assert missed / runs < 0.1


@given(st.integers(0, 10**15), st.integers(0, 10**12))
def test_the_score_of_a_cost_stays_in_its_range(picousd: int, p999: int) -> None:
    cap = cost_cap_picousd(p999)
    assert 0.0 <= cost_score(picousd, cap) <= 1.0
    assert cost_score(picousd, cap) >= cost_score(picousd + 1, cap)
    assert cost_score(0, cap) == 1.0
    assert cost_score(cap, cap) == 0.0
