from __future__ import annotations

from typing import Any

import pytest

from gateway.core.admission.leasing import (
    ASKS_MAX,
    IDLE_S,
    KEPT_S,
    PROBE_S,
    STANDING_PER_ROUND,
    VISITS_MAX,
    Leasing,
    ahead_wanted,
    change_wanted,
    measure,
)
from gateway.core.admission.meter import CONCURRENT, MONEY, REQUESTS, TOKENS, Meter
from rollout.core.quota import QuotaGrant

NOW_S = 1_800_000_000.0


def meter(slot: int = REQUESTS, limit: int = 6_400, *, free: int = 0, used: int = 0, **given: Any) -> Meter:
    made = Meter("tenant", "acme", slot, limit)
    made.roll(NOW_S)
    made.granted = made.free = free
    made.used = used
    made.asked_at_s = made.visited_at_s = made.moved_at_s = NOW_S
    made.active = True
    for name, value in given.items():
        setattr(made, name, value)
    return made


def near_its_end() -> Meter:
    """Half a second before the next window, in use."""
    made = meter(peak=3)
    made.moved_at_s = made.until_s - 0.5
    return made


def leasing() -> Leasing:
    return Leasing(lambda: None)


def asked(plan: Leasing, now_s: float) -> list[tuple[str, int]]:
    return [(each.ask.name, each.ask.amount) for each in plan.plan(now_s)]


def test_the_rate_is_the_net_use_smoothed() -> None:
    made = meter(free=1_000)
    for tick in range(1, 101):
        made.free -= 10
        measure(made, NOW_S + tick * 0.1)
    assert 90 < made.rate_per_s < 101
    assert made.seen == made.taken == 1_000


def test_refunds_do_not_make_a_rate_negative() -> None:
    made = meter(TOKENS, free=100)
    made.free += 500
    measure(made, NOW_S + 0.1)
    assert made.rate_per_s == 0.0


def test_an_idle_meter_forgets_what_it_was_used_for() -> None:
    made = meter(free=50, peak=9, wanted=3, rate_per_s=40.0)
    measure(made, NOW_S + IDLE_S)
    assert (made.peak, made.wanted) == (9, 3)
    measure(made, NOW_S + IDLE_S + 1)
    assert (made.peak, made.wanted, made.rate_per_s) == (0, 0, 0.0)


def test_a_clock_set_back_does_not_keep_a_meter_busy() -> None:
    made = meter(peak=9)
    measure(made, NOW_S - 3_600)
    assert (made.asked_at_s, made.moved_at_s, made.rate_per_s) == (NOW_S - 3_600, NOW_S - 3_600, 0.0)


def test_slots_under_way_are_no_idleness() -> None:
    made = meter(CONCURRENT, free=5, peak=1)
    made.free -= 2
    made.seen = 2
    measure(made, NOW_S + 100)
    assert (made.peak, made.moved_at_s) == (1, NOW_S + 100)


@pytest.mark.parametrize(
    ("given", "change"),
    [
        ({"rate_per_s": 100.0, "peak": 1}, 101),
        ({"rate_per_s": 100.0, "free": 60}, None),
        ({"rate_per_s": 100.0, "free": 40}, 60),
        ({"free": -3}, 3),
        ({"free": 70, "used": 70}, -70),
        ({"rate_per_s": 10.0, "free": 70, "used": 70}, -60),
        # near the limit: a quarter of what is left
        ({"rate_per_s": 100.0, "used": 6_360}, 10),
        ({"rate_per_s": 100.0, "used": 6_400, "free": 40}, -30),
        # refused for want of a block: at least one such request, and no giving back
        ({"wanted": 500, "peak": 50, "used": 6_380}, 50),
        ({"wanted": 500, "peak": 50, "used": 6_400, "free": 50}, None),
        ({"wanted": 500, "peak": 50}, 500),
        ({"slot": CONCURRENT, "limit": 64, "peak": 1}, 1),
        ({"slot": CONCURRENT, "limit": 64, "granted": 8, "peak": 1}, 3),
        ({"slot": MONEY}, 200),
        ({"slot": MONEY, "free": 200, "used": 6_400}, -150),
        ({"retired": True, "free": 7}, -7),
        ({"retired": True, "free": -7}, None),
    ],
)
def test_a_block_is_what_is_used_in_a_while_less_near_the_limit(given: dict[str, Any], change: int | None) -> None:
    assert change_wanted(meter(**given), NOW_S) == change


def test_a_used_up_limit_is_asked_for_now_and_then() -> None:
    made = meter(used=6_400, free=-3)
    assert change_wanted(made, NOW_S + PROBE_S / 2) is None
    assert change_wanted(made, NOW_S + PROBE_S) == 3


@pytest.mark.parametrize(("active", "after_s"), [(True, 1), (False, 5)])
def test_what_is_left_is_heard_now_and_then(*, active: bool, after_s: float) -> None:
    made = meter(active=active)
    assert change_wanted(made, NOW_S + after_s - 0.1) is None
    assert change_wanted(made, NOW_S + after_s) == 0


@pytest.mark.parametrize(
    ("given", "before_end_s", "ahead"),
    [
        ({"rate_per_s": 100.0}, 1.5, 0),
        ({"rate_per_s": 100.0}, 0.9, 100),
        ({"rate_per_s": 100.0, "next_granted": 70}, 0.9, 30),
        ({"rate_per_s": 100.0, "next_granted": 170}, 0.9, 0),
        ({"rate_per_s": 9_999.0}, 0.9, 1_600),
        ({"rate_per_s": 100.0, "next_used": 6_400}, 0.9, 0),
        ({"slot": CONCURRENT, "granted": 8, "peak": 1}, 2.9, 8),
        ({"slot": CONCURRENT, "granted": 8, "peak": 1}, 3.1, 0),
        ({"slot": MONEY}, 500, 200),
        ({"slot": MONEY, "retired": True}, 500, 0),
    ],
)
def test_the_next_window_is_leased_shortly_before_it_begins(
    given: dict[str, Any], before_end_s: float, ahead: int
) -> None:
    made = meter(**given)
    assert ahead_wanted(made, made.until_s - before_end_s) == ahead


def test_a_hungry_meter_comes_first_and_calls_once() -> None:
    calls: list[int] = []
    plan = Leasing(lambda: calls.append(1))
    first, second = meter(active=False, peak=2), meter(active=False, peak=2, name="other")
    plan.use(first)
    for each in (second, second, first):
        plan.need(each)
    assert (len(calls), plan.urgent) == (1, True)
    assert asked(plan, NOW_S + 0.1) == [("other", 2), ("tenant:acme:requests", 2)]
    assert not plan.urgent
    plan.need(first)
    assert len(calls) == 2


def test_an_ask_says_when_its_window_may_be_forgotten() -> None:
    made, plan = near_its_end(), leasing()
    plan.need(made)
    now_s = made.until_s - 0.5
    now, ahead = (each.ask for each in plan.plan(now_s))
    assert (now.window, now.limit, now.expires_at_s) == (made.window, 6_400, made.until_s + KEPT_S)
    assert (ahead.window, ahead.amount, ahead.expires_at_s) == (made.window + 1, 3, made.until_s + 60 + KEPT_S)


def test_grants_are_booked_in_their_windows() -> None:
    made, plan = near_its_end(), leasing()
    plan.need(made)
    sent = plan.plan(made.until_s - 0.5)
    plan.take(sent, [QuotaGrant(2, 900), QuotaGrant(3, 30)])
    assert (made.granted, made.free, made.used) == (2, 2, 900)
    assert (made.next_granted, made.next_used) == (3, 30)


def test_grants_that_come_after_the_window_turned_are_booked_in_the_new_one() -> None:
    made, plan = near_its_end(), leasing()
    plan.need(made)
    sent = plan.plan(made.until_s - 0.5)
    made.roll(made.until_s)
    plan.take(sent, [QuotaGrant(2, 900), QuotaGrant(3, 30)])
    assert (made.granted, made.free, made.used, made.next_granted) == (3, 3, 30, 0)


def test_what_is_given_back_is_gone_at_once_and_for_good() -> None:
    made, plan = meter(free=70, used=70), leasing()
    plan.need(made)
    sent = plan.plan(NOW_S + 0.1)
    assert [each.ask.amount for each in sent] == [-70]
    assert (made.free, made.granted, made.taken) == (0, 0, 0)
    plan.lose()
    assert (made.free, plan.down) == (0, True)
    plan.take(sent, [QuotaGrant(-70, 5)])
    assert (made.free, made.used, plan.down) == (0, 5, False)


def test_a_meter_without_use_is_visited_until_it_has_given_all_back() -> None:
    made, plan = meter(free=40, used=40, active=False, seen=0), leasing()
    plan.use(made)
    assert asked(plan, NOW_S + 0.1) == [(made.name, -40)]
    assert made.active
    plan.plan(NOW_S + IDLE_S + 1)
    assert not made.active
    assert plan.plan(NOW_S + IDLE_S + 3) == []


@pytest.mark.parametrize(
    ("given", "stays"),
    [
        ({"free": -2}, True),
        ({"free": -2, "used": 6_400}, False),
        ({"slot": CONCURRENT, "granted": 2, "free": 0, "used": 2}, True),
        ({"slot": MONEY, "free": 200, "used": 200}, False),
    ],
)
def test_what_has_something_to_do_stays_active(*, given: dict[str, Any], stays: bool) -> None:
    made, plan = meter(active=False, **given), leasing()
    made.seen = made.taken
    plan.use(made)
    plan.plan(NOW_S + IDLE_S + 2)
    assert made.active is stays


def test_a_kept_meter_is_looked_after_until_it_is_retired() -> None:
    made, plan = meter(MONEY, active=False), leasing()
    plan.keep(made)
    sent = plan.plan(NOW_S + 0.1)
    plan.take(sent, [QuotaGrant(200, 200)])
    assert made.free == 200
    assert asked(plan, NOW_S + 60) == [(made.name, 0)]
    made.retired = True
    assert asked(plan, NOW_S + 61) == [(made.name, -200)]
    assert plan.plan(NOW_S + 200) == []


def test_a_round_is_bounded_and_the_next_one_goes_on() -> None:
    plan = leasing()
    money = [Meter("key", f"key_{number}", MONEY, 3_200) for number in range(ASKS_MAX + 100)]
    for each in money:
        plan.keep(each)
    assert len(plan.plan(NOW_S)) == ASKS_MAX
    assert plan.urgent
    assert len(plan.plan(NOW_S + 0.1)) == ASKS_MAX
    assert not plan.urgent
    assert all(each.asked_at_s for each in money)


def test_what_was_not_visited_comes_first_next_time() -> None:
    plan = leasing()
    many = [meter(visited_at_s=0.0, active=False) for _ in range(VISITS_MAX + 50)]
    for each in many:
        plan.use(each)
    plan.plan(NOW_S + 0.1)
    assert plan.behind
    assert sum(each.visited_at_s > NOW_S for each in many) == VISITS_MAX
    plan.plan(NOW_S + 0.2)
    assert all(each.visited_at_s > NOW_S for each in many)
    assert plan.behind  # the first ones are due again
    for each in many[VISITS_MAX:]:
        each.moved_at_s = 0.0
    plan.plan(NOW_S + 0.3)
    plan.plan(NOW_S + 0.4)
    assert not plan.behind


def test_kept_meters_are_visited_in_turns() -> None:
    plan = leasing()
    money = [meter(MONEY, active=False, moved_at_s=0.0) for _ in range(STANDING_PER_ROUND + 50)]
    for each in money:
        plan.keep(each)
    for _ in range(2):
        plan.take(sent := plan.plan(NOW_S + 0.1), [QuotaGrant(200, 200)] * len(sent))
    plan.plan(NOW_S + 20)
    assert {each.asked_at_s for each in money} == {NOW_S + 20, NOW_S + 0.1}
    plan.plan(NOW_S + 20.1)
    assert {each.asked_at_s for each in money} == {NOW_S + 20, NOW_S + 20.1}


def test_a_full_round_leaves_the_kept_ones_for_later() -> None:
    plan = leasing()
    plan.keep(meter(MONEY))
    plan.plan(NOW_S + 0.1)
    many = [meter(peak=3) for _ in range(ASKS_MAX)]
    for each in many:
        plan.need(each)
    assert len(plan.plan(NOW_S + 60)) == ASKS_MAX


def test_at_the_end_all_that_is_free_goes_back() -> None:
    plan = leasing()
    rate, money, idle = meter(free=30, next_granted=4), meter(MONEY, free=200), meter(MONEY, active=False)
    rate.free -= 10
    rate.active = money.active = False
    plan.use(rate)
    plan.keep(money)
    plan.keep(idle)
    sent = plan.give_all_back(NOW_S + 0.1)
    assert [(each.ask.window - each.meter.window, each.ask.amount) for each in sent] == [(0, -20), (1, -4), (0, -200)]
    assert (rate.free, rate.taken, rate.next_granted, money.free) == (0, 10, 0, 0)
    assert plan.give_all_back(NOW_S + 0.2) == []
