from calendar import timegm
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.ramp_model import EVERY_DAY, Freeze, Window
from rollout.core.windows import closed_because, moment, written

OFFICE = Window(opens="09:00", closes="17:00", days=("mon", "tue", "wed", "thu", "fri"))
NIGHT = Window(opens="22:00", closes="04:30", days=("fri",))


def at(text: str) -> float:
    return timegm(datetime.fromisoformat(text).utctimetuple())


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        (OFFICE, "2026-11-20T08:59:59", False),
        (OFFICE, "2026-11-20T09:00:00", True),
        (OFFICE, "2026-11-20T16:59:59", True),
        (OFFICE, "2026-11-20T17:00:00", False),
        (OFFICE, "2026-11-21T12:00:00", False),
        (NIGHT, "2026-11-20T21:59:00", False),
        (NIGHT, "2026-11-20T23:00:00", True),
        (NIGHT, "2026-11-21T04:29:00", True),
        (NIGHT, "2026-11-21T04:30:00", False),
        (NIGHT, "2026-11-20T03:00:00", False),
        (NIGHT, "2026-11-21T23:00:00", False),
        (Window(opens="09:00", closes="17:00", utc_offset="+02:00"), "2026-11-20T07:00:00", True),
        (Window(opens="09:00", closes="17:00", utc_offset="-05:30"), "2026-11-20T14:29:00", False),
        (Window(opens="09:00", closes="17:00", utc_offset="-05:30"), "2026-11-20T14:30:00", True),
    ],
)
def test_hours_and_days(window: Window, moment: str, *, is_open: bool) -> None:
    assert (closed_because([window], [], at(moment)) is None) is is_open


def test_any_of_several_windows_will_do_and_none_means_always() -> None:
    assert closed_because([OFFICE, NIGHT], [], at("2026-11-20T23:00:00")) is None
    assert closed_because([], [], at("2026-11-22T03:00:00")) is None
    assert closed_because([OFFICE, NIGHT], [], at("2026-11-22T12:00:00")) == (
        "open mon,tue,wed,thu,fri 09:00-17:00 +00:00; fri 22:00-04:30 +00:00"
    )


def test_a_freeze_covers_its_first_and_last_day() -> None:
    freeze = Freeze(first="2026-12-20", last="2027-01-02", reason="holidays")
    told = "frozen from 2026-12-20 to 2027-01-02: holidays"
    days = ["2026-12-19T23:59:59", "2026-12-20T00:00:00", "2027-01-02T23:59:59", "2027-01-03T00:00:00"]
    assert [closed_because([], [freeze], at(day)) for day in days] == [None, told, told, None]
    silent = Freeze(first="2026-12-20", last="2026-12-20")
    assert closed_because([], [silent], at("2026-12-20T10:00:00")) == "frozen from 2026-12-20 to 2026-12-20"


@pytest.mark.parametrize("now_s", [-1e14, 1e14, 1e300])
def test_a_clock_beyond_the_calendar_opens_nothing(now_s: float) -> None:
    assert closed_because([], [], now_s) == "the clock is wrong"
    assert moment(now_s) == "beyond the calendar"


def test_a_moment_in_words() -> None:
    assert moment(at("2026-11-20T09:05:59")) == "fri 2026-11-20 09:05 UTC"


def test_a_window_in_words() -> None:
    assert written(Window(opens="00:00", closes="06:00", utc_offset="+01:00")) == "daily 00:00-06:00 +01:00"


@given(st.integers(0, 4_000_000_000), st.sampled_from(EVERY_DAY))
def test_days_agree_with_the_calendar(now_s: int, day: str) -> None:
    window = Window(opens="00:00", closes="23:59", days=(day,))
    moment = datetime.fromtimestamp(now_s, UTC)
    inside = EVERY_DAY[moment.weekday()] == day and (moment.hour, moment.minute) != (23, 59)
    assert (closed_because([window], [], now_s) is None) is inside
