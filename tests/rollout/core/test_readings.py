import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.readings import REASON_MAX_CHARS, Reading, ReadingKind, measured, no_data, unusable

OK, NO_DATA, ERROR = ReadingKind.OK, ReadingKind.NO_DATA, ReadingKind.ERROR


def test_the_three_kinds() -> None:
    assert measured(0.5, 7.0, 12) == Reading(kind=OK, value=0.5, samples=12, at_s=7.0)
    assert measured(0.5, 7.0, from_s=7.0) == Reading(kind=OK, value=0.5, at_s=7.0, from_s=7.0)
    assert no_data("empty", 7.0) == Reading(kind=NO_DATA, at_s=7.0, reason="empty")
    assert unusable("timeout") == Reading(kind=ERROR, reason="timeout")


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": OK},
        {"kind": OK, "value": 1.0},
        {"kind": OK, "value": math.nan, "at_s": 1.0},
        {"kind": OK, "value": math.inf, "at_s": 1.0},
        {"kind": OK, "value": 1.0, "at_s": math.nan},
        {"kind": OK, "value": 1.0, "at_s": 1.0, "samples": -1},
        {"kind": OK, "value": 1.0, "at_s": 1.0, "from_s": 1.5},
        {"kind": OK, "value": 1.0, "at_s": 1.0, "from_s": math.nan},
        {"kind": OK, "value": 1.0, "at_s": 1.0, "from_s": -math.inf},
        {"kind": NO_DATA, "value": 1.0, "reason": "r"},
        {"kind": NO_DATA, "from_s": 1.0, "reason": "r"},
        {"kind": ERROR, "samples": 3, "reason": "r"},
        {"kind": NO_DATA},
        {"kind": ERROR},
    ],
)
def test_what_a_gate_could_misread_cannot_be_made(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"reading|samples"):
        Reading(**fields)  # type: ignore[arg-type]


@given(st.floats(allow_nan=False, allow_infinity=False), st.none() | st.integers(0, 2**53))
def test_a_reading_survives_being_stored(value: float, samples: int | None) -> None:
    reading = measured(value, 1.5, samples, "noted", from_s=0.5)
    assert msgspec.json.decode(msgspec.json.encode(reading), type=Reading) == reading


@given(st.text(min_size=1))
def test_a_reason_is_one_short_line(text: str) -> None:
    told = unusable(f"x{text}").reason
    assert told.isprintable()
    assert told.startswith("x")
    assert len(told) <= REASON_MAX_CHARS


def test_a_long_reason_is_cut() -> None:
    assert unusable("x" * 1_000).reason == "x" * (REASON_MAX_CHARS - 1) + "…"
