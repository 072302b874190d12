import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.admission.meter import CONCURRENT, DAY_S, MINUTE_S, MONEY, REQUESTS, TOKENS, Meter, meter_name

NOW_S = 1_800_000_000.0


def meter(slot: int = REQUESTS, limit: int = 100, *, granted: int = 0, taken: int = 0, used: int = 0) -> Meter:
    made = Meter("tenant", "acme", slot, limit)
    made.roll(NOW_S)
    made.granted, made.free, made.used = granted, granted - taken, used
    return made


@pytest.mark.parametrize(
    ("slot", "word"), [(REQUESTS, "requests"), (TOKENS, "tokens"), (MONEY, "budget"), (CONCURRENT, "concurrent")]
)
def test_the_store_knows_a_limit_by_its_name(slot: int, word: str) -> None:
    assert meter(slot).name == meter_name("tenant", "acme", slot) == f"tenant:acme:{word}"
    assert meter(slot).quantity == word


@given(st.sampled_from([REQUESTS, TOKENS, MONEY, CONCURRENT]), st.floats(0, 4e9), st.text(max_size=20))
def test_a_window_holds_the_time_it_was_made_for(slot: int, now_s: float, subject: str) -> None:
    made = Meter("key", subject, slot, 1)
    made.roll(now_s)
    assert made.until_s - made.length_s <= now_s + 1e-6
    assert now_s <= made.until_s
    assert not made.begun_after(now_s + 1e-6)


@given(st.text(max_size=20), st.integers(1, 4 * 10**9), st.sampled_from([REQUESTS, CONCURRENT, MONEY]))
def test_the_end_of_a_window_is_the_beginning_of_the_next(subject: str, now_s: int, slot: int) -> None:
    made = Meter("key", subject, slot, 1)
    made.roll(now_s)
    window, end_s = made.window, made.until_s
    made.roll(end_s)
    assert (made.window, made.until_s) == (window + 1, end_s + made.length_s)


def test_a_budgets_day_is_the_calendars() -> None:
    money = meter(MONEY)
    assert (money.until_s % DAY_S, money.length_s) == (0.0, DAY_S)


def test_minutes_of_different_subjects_end_at_different_times() -> None:
    ends = {Meter("key", f"key_{number}", REQUESTS, 1).phase_s for number in range(50)}
    assert len(ends) > 40
    assert all(0 <= phase_s < MINUTE_S for phase_s in ends)


def test_key_and_tenant_of_one_subject_share_the_phase_of_all_their_rates() -> None:
    assert meter(REQUESTS).until_s == meter(TOKENS).until_s


def test_a_new_window_begins_with_nothing() -> None:
    old = meter(granted=10, taken=14, used=100)
    old.wanted, window = 3, old.window
    old.roll(old.until_s)
    assert (old.window, old.granted, old.free, old.used, old.wanted) == (window + 1, 0, 0, 0, 0)


def test_a_new_window_begins_with_what_was_leased_ahead() -> None:
    old = meter(granted=10, taken=4, used=100)
    old.next_granted, old.next_used = 7, 30
    old.roll(old.until_s)
    assert (old.granted, old.free, old.used, old.next_granted, old.next_used) == (7, 7, 30, 0, 0)


def test_what_was_leased_for_a_window_that_was_slept_through_is_gone() -> None:
    old = meter(granted=10, used=100)
    old.next_granted, old.next_used = 7, 30
    old.roll(old.until_s + 2 * old.length_s)
    assert (old.granted, old.free, old.used) == (0, 0, 0)


def test_what_is_under_way_goes_on_in_the_next_window() -> None:
    slots = meter(CONCURRENT, granted=10, taken=4, used=10)
    slots.next_granted, slots.next_used = 6, 9
    slots.roll(slots.until_s)
    assert (slots.granted, slots.free, slots.taken, slots.used) == (6, 2, 4, 10)
    slots.roll(slots.until_s)
    assert (slots.granted, slots.free, slots.taken) == (0, -4, 4)


def test_a_clock_set_back_changes_nothing() -> None:
    now = meter(granted=10, taken=4, used=100)
    window = now.window
    now.roll(NOW_S - 59)
    assert (now.window, now.granted, now.free, now.used) == (window, 10, 6, 100)


def test_a_clock_set_back_by_hours_does_not_stop_a_rate_for_hours() -> None:
    now = meter(granted=10, taken=10, used=100)
    now.next_granted = 5
    now.roll(NOW_S - 3_600)
    assert (now.granted, now.free, now.used) == (0, 0, 0)
    assert now.until_s <= NOW_S - 3_600 + MINUTE_S


@pytest.mark.parametrize(
    ("used", "granted", "taken", "remaining"),
    [(0, 0, 0, 100), (40, 40, 10, 90), (100, 40, 40, 0), (100, 40, 45, 0), (100, 40, 30, 10), (0, 10, 0, 100)],
)
def test_what_other_workers_hold_does_not_remain(used: int, granted: int, taken: int, remaining: int) -> None:
    assert meter(granted=granted, taken=taken, used=used).remaining == remaining


@pytest.mark.parametrize("down", [False, True])
def test_money_owes_nothing(*, down: bool) -> None:
    assert not meter(MONEY, 10**9).may_owe(1, 4, down=down)


@pytest.mark.parametrize("slot", [REQUESTS, TOKENS, CONCURRENT])
def test_the_first_request_need_not_wait_for_the_store(slot: int) -> None:
    assert meter(slot, 1).may_owe(1, 8, down=False)
    assert meter(slot, 10_000).may_owe(9_000, 8, down=False)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("slot", [REQUESTS, TOKENS, CONCURRENT])
def test_before_the_store_is_heard_each_worker_may_owe_its_share(slot: int, *, down: bool) -> None:
    assert meter(slot, 100, taken=24).may_owe(1, 4, down=down)
    assert not meter(slot, 100, taken=25).may_owe(1, 4, down=down)
    assert meter(slot, 100, taken=99).may_owe(1, 1, down=down)


def test_the_share_is_of_what_was_left_as_last_heard() -> None:
    assert meter(REQUESTS, 100, used=80, taken=4).may_owe(1, 4, down=False)
    assert not meter(REQUESTS, 100, used=80, taken=5).may_owe(1, 4, down=False)
    assert meter(REQUESTS, 100, used=80, taken=5).may_owe(1, 4, down=True)


def test_of_a_used_up_limit_nothing_may_be_owed() -> None:
    used_up = meter(used=100)
    assert used_up.exhausted
    assert not used_up.may_owe(1, 1, down=False)
    assert not used_up.may_owe(1, 1, down=True)


def test_without_the_store_a_lack_of_slots_heard_long_ago_is_no_reason() -> None:
    assert meter(CONCURRENT, used=100, taken=24).may_owe(1, 4, down=True)
    assert not meter(CONCURRENT, used=100, taken=25).may_owe(1, 4, down=True)


def test_a_reservation_is_of_the_window_it_was_made_in() -> None:
    made = meter()
    assert not made.begun_after(NOW_S)
    assert made.begun_after(NOW_S - MINUTE_S)
