"""What a metric source says about one metric: a value one may rely on, or why there is none."""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

REASON_MAX_CHARS = 300


class ReadingKind(StrEnum):
    """A closed set: it is a metric label."""

    OK = "ok"
    NO_DATA = "no_data"
    """Nothing was measured, or too long ago."""
    ERROR = "error"
    """Something was answered that must not be taken for a measurement, or nothing was."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of one metric. Only OK carries a value, and then a finite one; the others always say why.

    `samples`: observations behind the value, where the source knows. `at_s`: Unix time of the measurement. `from_s`:
    Unix time of the oldest thing that may have gone into it, where the source knows.
    """

    kind: ReadingKind
    value: float | None = None
    samples: int | None = None
    at_s: float | None = None
    from_s: float | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what a gate could misread: ValueError."""
        if self.kind is not ReadingKind.OK:
            if (self.value, self.samples, self.from_s) != (None, None, None):
                raise ValueError("only a good reading has a value")
            if not self.reason:
                raise ValueError("a reading without a value must say why")
            return
        if self.value is None or not math.isfinite(self.value):
            raise ValueError("a good reading has a finite value")
        if self.at_s is None or not math.isfinite(self.at_s):
            raise ValueError("a good reading says when it was taken")
        if self.samples is not None and self.samples < 0:
            raise ValueError("samples can't be fewer than none")
        if self.from_s is not None and not -math.inf < self.from_s <= self.at_s:
            raise ValueError("a reading can't begin after it was taken")


def measured(
    value: float, at_s: float, samples: int | None = None, note: str = "", *, from_s: float | None = None
) -> Reading:
    """Make a good reading."""
    return Reading(kind=ReadingKind.OK, value=value, samples=samples, at_s=at_s, from_s=from_s, reason=_line(note))


def no_data(reason: str, at_s: float | None = None) -> Reading:
    """Make the reading of something that was not measured, or last at `at_s`."""
    return Reading(kind=ReadingKind.NO_DATA, at_s=at_s, reason=_line(reason))


def unusable(reason: str) -> Reading:
    """Make the reading of a source that failed or answered something else than one measurement."""
    return Reading(kind=ReadingKind.ERROR, reason=_line(reason))


def _line(text: str) -> str:
    """One short line: parts of it come from other machines and go into logs and the audit trail."""
    shown = "".join(sign if sign.isprintable() else " " for sign in text[: 4 * REASON_MAX_CHARS])
    line = " ".join(shown.split())
    return line if len(line) <= REASON_MAX_CHARS else line[: REASON_MAX_CHARS - 1] + "…"
