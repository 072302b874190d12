"""When the automation may raise the share: allowed hours, and days on which nothing may change. Pure arithmetic."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

from rollout.core.ramp_model import EVERY_DAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollout.core.ramp_model import Freeze, Window

_DAY_S = 86_400
_MINUTE_S = 60
_DAY_MINUTES = 1_440
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_EPOCH_WEEKDAY = EVERY_DAY.index("thu")
# The calendar's first and last day; a clock beyond them is wrong, and nothing is open then.
_FIRST_DAY, _LAST_DAY = date.min.toordinal() - _EPOCH_ORDINAL, date.max.toordinal() - _EPOCH_ORDINAL


def closed_because(windows: Sequence[Window], freezes: Sequence[Freeze], now_s: float) -> str | None:
    """Say which freeze or hours keep the share from rising at Unix time `now_s`; None if it may."""
    today = _date(now_s)
    if today is None:
        return "the clock is wrong"
    for freeze in freezes:
        if freeze.first <= today <= freeze.last:
            return f"frozen from {freeze.first} to {freeze.last}" + (f": {freeze.reason}" if freeze.reason else "")
    if not windows or any(_is_open(window, now_s) for window in windows):
        return None
    return "open " + "; ".join(written(window) for window in windows)


def opens_s(windows: Sequence[Window], freezes: Sequence[Freeze], now_s: float) -> float | None:
    """Return the Unix time, to the minute, at which the share may rise again; None if it may now, or never will."""
    if closed_because(windows, freezes, now_s) is None or _date(now_s) is None:
        return None
    bases_s = {now_s, *map(_after, freezes)}
    edges_s = bases_s | {edge for base_s in bases_s for window in windows for edge in _openings(window, base_s)}
    later = sorted(edge for edge in edges_s if edge > now_s)
    return next((edge for edge in later if closed_because(windows, freezes, edge) is None), None)


def written(window: Window) -> str:
    """Write a window in one line: "mon,tue 09:00-17:00 +01:00"."""
    days = "daily" if set(window.days) == set(EVERY_DAY) else ",".join(window.days)
    return f"{days} {window.opens}-{window.closes} {window.utc_offset}"


def moment(now_s: float) -> str:
    """Write a Unix time to the minute: "fri 2026-11-20 09:00 UTC"."""
    today = _date(now_s)
    if today is None:
        return "beyond the calendar"
    day, minute = divmod(int(now_s // _MINUTE_S), _DAY_MINUTES)
    return f"{_weekday(day)} {today} {minute // 60:02d}:{minute % 60:02d} UTC"


def _date(now_s: float) -> str | None:
    day = int(now_s // _DAY_S)
    return date.fromordinal(day + _EPOCH_ORDINAL).isoformat() if _FIRST_DAY < day < _LAST_DAY else None


def _is_open(window: Window, now_s: float) -> bool:
    local = int((now_s + _offset_s(window.utc_offset)) // _MINUTE_S)
    day, minute = divmod(local, _DAY_MINUTES)
    opens, closes = _minutes(window.opens), _minutes(window.closes)
    if opens <= closes:
        return opens <= minute < closes and _weekday(day) in window.days
    if minute >= opens:
        return _weekday(day) in window.days
    return minute < closes and _weekday(day - 1) in window.days


def _openings(window: Window, from_s: float) -> list[float]:
    """When the window opens in the eight days from `from_s` on."""
    offset_s = _offset_s(window.utc_offset)
    today = int((from_s + offset_s) // _DAY_S)
    days = [day for day in range(today, today + 8) if _weekday(day) in window.days]
    return [float(day * _DAY_S + _minutes(window.opens) * _MINUTE_S - offset_s) for day in days]


def _after(freeze: Freeze) -> float:
    """The first moment after a freeze; a day that its month doesn't have stands for the month's end."""
    for last in (freeze.last, *(f"{freeze.last[:8]}{day}" for day in (30, 29, 28))):
        with suppress(ValueError):
            return float((date.fromisoformat(last).toordinal() + 1 - _EPOCH_ORDINAL) * _DAY_S)
    return 0.0


def _weekday(day: int) -> str:
    return EVERY_DAY[(day + _EPOCH_WEEKDAY) % len(EVERY_DAY)]


def _minutes(clock_time: str) -> int:
    return int(clock_time[:2]) * 60 + int(clock_time[3:])


def _offset_s(offset: str) -> int:
    return (-1 if offset[0] == "-" else 1) * _minutes(offset[1:]) * _MINUTE_S
