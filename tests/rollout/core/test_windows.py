from calendar import timegm
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.ramp_model import EVERY_DAY, Freeze, Window
from rollout.core.windows import closed_because, moment, opens_s, written

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


WINTER = Freeze(first="2026-12-20", last="2027-01-02")


@pytest.mark.parametrize(
    ("windows", "freezes", "now", "opens"),
    [
        ([OFFICE], [], "2026-11-22T13:05:40", "2026-11-23T09:00:00"),
        ([OFFICE, NIGHT], [], "2026-11-20T18:00:00", "2026-11-20T22:00:00"),
        (
            [Window(opens="09:00", closes="10:00", utc_offset="+02:00")],
            [],
            "2026-11-20T08:30:00",
            "2026-11-21T07:00:00",
        ),
        ([], [WINTER], "2026-12-24T00:00:00", "2027-01-03T00:00:00"),
        ([OFFICE], [WINTER], "2026-12-24T00:00:00", "2027-01-04T09:00:00"),
        ([OFFICE], [WINTER], "2026-12-19T00:00:00", "2027-01-04T09:00:00"),
        ([NIGHT], [Freeze(first="2026-11-20", last="2026-11-20")], "2026-11-20T22:30:00", "2026-11-21T00:00:00"),
        ([], [WINTER, Freeze(first="2027-01-03", last="2027-02-31")], "2026-12-24T00:00:00", "2027-03-01T00:00:00"),
    ],
)
def test_it_says_when_it_opens(windows: list[Window], freezes: list[Freeze], now: str, opens: str) -> None:
    assert opens_s(windows, freezes, at(now)) == at(opens)


def test_what_is_open_or_never_will_be_has_no_time_to_open() -> None:
    assert opens_s([OFFICE], [], at("2026-11-20T10:00:00")) is None
    assert opens_s([], [], 1e300) is None
    assert opens_s([Window(opens="09:00", closes="17:00", days=())], [], 0.0) is None
    assert (
        opens_s(
            [],
            [Freeze(first="0000-01-01", last="0000-13-40"), Freeze(first="2026-01-01", last="9999-12-31")],
            at("2026-11-20T10:00:00"),
        )
        is None
    )


clock_times = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from([0, 30]))
windows_of = st.builds(
    Window,
    opens=clock_times,
    closes=clock_times,
    days=st.lists(st.sampled_from(EVERY_DAY), unique=True).map(tuple),
    utc_offset=st.sampled_from(["+00:00", "-05:30", "+14:00"]),
)
freezes_of = st.builds(
    lambda first, days: Freeze(first=f"2026-11-{first:02d}", last=f"2026-11-{min(30, first + days):02d}"),
    st.integers(1, 30),
    st.integers(-1, 5),
)


@given(st.lists(windows_of, max_size=3), st.lists(freezes_of, max_size=2), st.integers(0, 40 * 48))
def test_it_opens_at_the_first_half_hour_that_is_open(windows: list[Window], freezes: list[Freeze], after: int) -> None:
    now_s = at("2026-11-01T00:00:00") + after * 1_800
    if closed_because(windows, freezes, now_s) is None:
        assert opens_s(windows, freezes, now_s) is None
        return
    later = (now_s + step * 1_800 for step in range(50 * 48))
    assert opens_s(windows, freezes, now_s) == next(
        (each for each in later if closed_because(windows, freezes, each) is None), None
    )
