"""Why a share doesn't rise: the reasons, each with its numbers, and the one line of it that people read.

| reason               | value                         | limit                              |
| -------------------- | ----------------------------- | ---------------------------------- |
| killed, paused, rolled_back | seconds since then     |                                    |
| store_unavailable    | seconds since it was last read |                                   |
| no_controller        | seconds since one last looked | how many are usual at most         |
| not_started          |                               |                                    |
| rolling_back         | the share, millipct           | the share it falls to              |
| cooldown, baking, monitoring | seconds passed        | seconds needed                     |
| failing, metrics_error, no_data, inconclusive | the gate's measurement | the gate's limit |
| insufficient_samples | units counted                 | units needed                       |
| capacity             | the share there is room for   | the share wanted                   |
| outside_window       | the minute it is, Unix time   | when the share may rise, Unix time |
| awaiting_approval    | approvals given               | approvals needed                   |
"""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING

import msgspec

from rollout.core.duration import format_duration
from rollout.core.windows import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Number = float | str | None
"""What a hold shows: None is not known, and text stands as it is."""

TEXT_CHARS_MAX = 400
"""Shorter than a flag's lines: a pause may have it in its reason."""
_WEEK_S = 6 * 86_400
_GROUPED_FROM = 1_000


class HoldReason(StrEnum):
    """Why the share doesn't rise now, what matters most first. A closed set: it is a metric label."""

    KILLED = "killed"
    STORE_UNAVAILABLE = "store_unavailable"
    NO_CONTROLLER = "no_controller"
    PAUSED = "paused"
    ROLLING_BACK = "rolling_back"
    COOLDOWN = "cooldown"
    ROLLED_BACK = "rolled_back"
    NOT_STARTED = "not_started"
    FAILING = "failing"
    METRICS_ERROR = "metrics_error"
    NO_DATA = "no_data"
    INCONCLUSIVE = "inconclusive"
    INSUFFICIENT_SAMPLES = "insufficient_samples"
    BAKING = "baking"
    MONITORING = "monitoring"
    CAPACITY = "capacity"
    OUTSIDE_WINDOW = "outside_window"
    AWAITING_APPROVAL = "awaiting_approval"


class Hold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One reason with its numbers, as the table above says: `value` is what is, `limit` what it must become."""

    reason: HoldReason
    value: Number = None
    limit: Number = None
    gate: str = ""
    detail: str = ""

    def __str__(self) -> str:
        """One line for an operator, at most TEXT_CHARS_MAX characters; never raises."""
        numbers = _NUMBERS[self.reason](self.value, self.limit)
        said = f"{numbers} ({self.detail})" if numbers and self.detail else numbers or self.detail
        parts = (self.reason.value, f"gate {self.gate}" if self.gate else "", said)
        return _line(": ".join(part for part in parts if part))


def _line(text: str) -> str:
    """Make it one line that can't do anything to a terminal."""
    return cut("".join(each if each.isprintable() else " " for each in " ".join(text.split())), TEXT_CHARS_MAX)


def cut(line: str, chars_max: int) -> str:
    """Leave out of the middle of what is too long: who and what stand first, the effect and what to do last."""
    if len(line) <= chars_max:
        return line
    last = chars_max // 2
    return f"{line[: chars_max - last - 3]} … {line[-last:]}"


def _written(number: Number, write: Callable[[float], str]) -> str:
    if number is None:
        return "unknown"
    return number if isinstance(number, str) else write(float(number))


def _count(number: float) -> str:
    if not isfinite(number):
        return "unknown"
    return f"{number:,.0f}".replace(",", " ") if abs(number) >= _GROUPED_FROM else f"{number:g}"


def _share(number: float) -> str:
    return f"{number / 1000:.6g}%" if isfinite(number) else "unknown"


def _time(number: float) -> str:
    """Write "Sun 2026-11-22 13:05 UTC"."""
    return moment(number).capitalize().replace("utc", "UTC") if isfinite(number) else "unknown"


def _since(value: Number, _limit: Number) -> str:
    return "" if value is None else f"for {_written(value, format_duration)}"


def _stale(value: Number, _limit: Number) -> str:
    return "never read" if value is None else f"last read {_written(value, format_duration)} ago"


def _unseen(value: Number, limit: Number) -> str:
    return f"nobody has looked for {_written(value, format_duration)}, limit {_written(limit, format_duration)}"


def _nothing(_value: Number, _limit: Number) -> str:
    return ""


def _fall(value: Number, limit: Number) -> str:
    return f"at {_written(value, _share)}, down to {_written(limit, _share)}"


def _passed(value: Number, limit: Number) -> str:
    return f"{_written(value, format_duration)} of {_written(limit, format_duration)}"


def _measured(value: Number, limit: Number) -> str:
    shown = "" if value is None else _written(value, "{:g}".format)
    bound = "" if limit is None else f"limit {_written(limit, '{:g}'.format)}"
    return ", ".join(each for each in (shown, bound) if each) if shown else ""


def _samples(value: Number, limit: Number) -> str:
    return f"{_written(value, _count)} of {_written(limit, _count)} samples"


def _room(value: Number, limit: Number) -> str:
    return f"room for {_written(value, _share)}, {_written(limit, _share)} wanted"


def _opening(value: Number, limit: Number) -> str:
    now, opens = _written(value, _time), _written(limit, _time)
    if limit is None:
        return f"now {now}, it never opens"
    near = isinstance(value, int | float) and isinstance(limit, int | float) and 0 <= limit - value < _WEEK_S
    now_parts, opens_parts = now.split(), opens.split()
    if near and len(now_parts) == len(opens_parts) == len(("day", "date", "time", "UTC")):
        return f"now {now_parts[0]} {now_parts[2]} UTC, opens {opens_parts[0]} {opens_parts[2]}"
    return f"now {now}, opens {opens}"


def _given(value: Number, limit: Number) -> str:
    return f"{_written(value, _count)} of {_written(limit, _count)}"


_NUMBERS: Mapping[HoldReason, Callable[[Number, Number], str]] = {
    HoldReason.KILLED: _since,
    HoldReason.STORE_UNAVAILABLE: _stale,
    HoldReason.NO_CONTROLLER: _unseen,
    HoldReason.PAUSED: _since,
    HoldReason.ROLLING_BACK: _fall,
    HoldReason.COOLDOWN: _passed,
    HoldReason.ROLLED_BACK: _since,
    HoldReason.NOT_STARTED: _nothing,
    HoldReason.FAILING: _measured,
    HoldReason.METRICS_ERROR: _measured,
    HoldReason.NO_DATA: _measured,
    HoldReason.INCONCLUSIVE: _measured,
    HoldReason.INSUFFICIENT_SAMPLES: _samples,
    HoldReason.BAKING: _passed,
    HoldReason.MONITORING: _passed,
    HoldReason.CAPACITY: _room,
    HoldReason.OUTSIDE_WINDOW: _opening,
    HoldReason.AWAITING_APPROVAL: _given,
}
