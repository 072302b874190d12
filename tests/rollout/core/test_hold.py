from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.core.hold import TEXT_CHARS_MAX, Hold, HoldReason
from rollout.core.ramp_model import LINE_CHARS_MAX

SUNDAY_S, MONDAY_S, LATER_S = 1_795_352_700.0, 1_795_420_800.0, 1_796_630_400.0

numbers = st.none() | st.floats() | st.integers() | st.text(max_size=20)


@pytest.mark.parametrize(
    ("hold", "text"),
    [
        (Hold(HoldReason.KILLED, 200.0, detail="by ann: errors"), "killed: for 3 min 20 s (by ann: errors)"),
        (Hold(HoldReason.KILLED), "killed"),
        (Hold(HoldReason.PAUSED, detail="by operator: lunch"), "paused: by operator: lunch"),
        (
            Hold(HoldReason.STORE_UNAVAILABLE, 7.0, detail="no answer"),
            "store_unavailable: last read 7 s ago (no answer)",
        ),
        (Hold(HoldReason.STORE_UNAVAILABLE), "store_unavailable: never read"),
        (Hold(HoldReason.NO_CONTROLLER, 42.0, 10.0), "no_controller: nobody has looked for 42 s, limit 10 s"),
        (Hold(HoldReason.NOT_STARTED, detail="start it"), "not_started: start it"),
        (Hold(HoldReason.ROLLING_BACK, 25_000, 0), "rolling_back: at 25%, down to 0%"),
        (Hold(HoldReason.COOLDOWN, 60.0, 1_800.0), "cooldown: 1 min of 30 min"),
        (Hold(HoldReason.BAKING, 12.0, 30.0), "baking: 12 s of 30 s"),
        (Hold(HoldReason.BAKING, 0.0, 0.0), "baking: 0 s of 0 s"),
        (Hold(HoldReason.INSUFFICIENT_SAMPLES, 812, 2_000), "insufficient_samples: 812 of 2 000 samples"),
        (Hold(HoldReason.INSUFFICIENT_SAMPLES, float("inf"), 1.5), "insufficient_samples: unknown of 1.5 samples"),
        (
            Hold(HoldReason.INSUFFICIENT_SAMPLES, None, 2_000, detail="not counted since this step began"),
            "insufficient_samples: unknown of 2 000 samples (not counted since this step began)",
        ),
        (Hold(HoldReason.NO_DATA, gate="errors", detail="empty vector"), "no_data: gate errors: empty vector"),
        (Hold(HoldReason.NO_DATA, None, 0.05, "errors", "empty"), "no_data: gate errors: empty"),
        (Hold(HoldReason.INCONCLUSIVE, 0.012, 0.02, "quality"), "inconclusive: gate quality: 0.012, limit 0.02"),
        (Hold(HoldReason.INCONCLUSIVE, 0.012, gate="quality"), "inconclusive: gate quality: 0.012"),
        (Hold(HoldReason.FAILING, 0.2, 0.05, "errors", "2 of 3"), "failing: gate errors: 0.2, limit 0.05 (2 of 3)"),
        (Hold(HoldReason.CAPACITY, float("nan"), 5_000), "capacity: room for unknown, 5% wanted"),
        (
            Hold(HoldReason.CAPACITY, 4_999, 5_000, detail="the candidate's"),
            "capacity: room for 4.999%, 5% wanted (the candidate's)",
        ),
        (
            Hold(HoldReason.OUTSIDE_WINDOW, SUNDAY_S, MONDAY_S, detail="open mon 08:00-18:00 +00:00"),
            "outside_window: now Sun 13:05 UTC, opens Mon 08:00 (open mon 08:00-18:00 +00:00)",
        ),
        (
            Hold(HoldReason.OUTSIDE_WINDOW, SUNDAY_S, LATER_S),
            "outside_window: now Sun 2026-11-22 13:05 UTC, opens Mon 2026-12-07 08:00 UTC",
        ),
        (Hold(HoldReason.OUTSIDE_WINDOW, SUNDAY_S), "outside_window: now Sun 2026-11-22 13:05 UTC, it never opens"),
        (
            Hold(HoldReason.OUTSIDE_WINDOW, 1e300, 1e300),
            "outside_window: now Beyond the calendar, opens Beyond the calendar",
        ),
        (Hold(HoldReason.OUTSIDE_WINDOW, "sun", "mon"), "outside_window: now sun, opens mon"),
        (Hold(HoldReason.AWAITING_APPROVAL, 0, 1, detail="for step 2"), "awaiting_approval: 0 of 1 (for step 2)"),
    ],
)
def test_a_hold_in_words_has_value_and_limit_with_units(hold: Hold, text: str) -> None:
    assert str(hold) == text


def test_what_others_wrote_stays_one_line_that_a_terminal_survives() -> None:
    assert str(Hold(HoldReason.PAUSED, detail="a\nb\x1b[2J\tc")) == "paused: a b [2J c"
    long = str(Hold(HoldReason.PAUSED, detail="x" * 1_000))
    assert (len(long), long[-2:]) == (TEXT_CHARS_MAX, "xx")


def test_a_long_one_keeps_the_gate_its_values_and_the_effect() -> None:
    others = ", ".join(f"gate-{number}" for number in range(60))
    first = "by gate: gate more-errors failed: 128.455 against 98.696"
    last = (
        "effect -0.1270, between -0.1873 and -0.0667, margin 0.05, 0.1819 and worse is excluded); restart it, or end it"
    )
    text = str(Hold(HoldReason.ROLLED_BACK, 90.0, detail=f"{first} (together with {others}: e-value 128.5; {last}"))
    assert len(text) == TEXT_CHARS_MAX < LINE_CHARS_MAX - 40
    assert text.startswith(f"rolled_back: for 1 min 30 s ({first}")
    assert text.endswith(f"{last})")
    assert " … " in text


@given(st.sampled_from(HoldReason), numbers, numbers, st.text(max_size=40), st.text(max_size=400))
def test_any_hold_is_one_line(
    reason: HoldReason, value: float | str | None, limit: float | str | None, gate: str, detail: str
) -> None:
    text = str(Hold(reason, value, limit, gate, detail))
    assert text.startswith(reason.value)
    assert text.isprintable()
    assert 0 < len(text) <= TEXT_CHARS_MAX


def test_defaults_are_not_written_out() -> None:
    assert msgspec.to_builtins(Hold(HoldReason.KILLED)) == {"reason": "killed"}


def test_operators_can_read_what_each_reason_means() -> None:
    documented = (Path(__file__).parents[3] / "docs" / "operations.md").read_text("utf-8")
    chapter = documented.partition("## Watching a ramp")[2].partition("\n## ")[0]
    rows = [line.split("`")[1] for line in chapter.splitlines() if line.startswith("| `")]
    assert rows == [reason.value for reason in HoldReason]
