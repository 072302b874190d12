from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from rollout.cli.render import flag_line, history_table, local_time, plain_cell, short_verdict, step_of

ENTRY: dict[str, Any] = {
    "id": 3, "at_s": 1_000.0, "actor": "[bold]ann", "command": "pause", "revision_before": 1, "revision_after": 2,
    "share_before_millipct": 5_000, "share_after_millipct": 5_000, "reason": "[red]x", "verdicts": [],
}  # fmt: skip
FAIL = {"gate": "errors", "result": "FAIL", "value": 0.031234, "limit": 0.02, "samples": 4, "reason": "too many"}
EMPTY = {"gate": "speed", "result": "NO_DATA", "value": None, "limit": None, "samples": None, "reason": "empty"}


def printed(table: Any, width: int = 160) -> str:
    out = StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue()


def test_history_shows_text_as_it_was_written() -> None:
    shown = printed(history_table([ENTRY]))
    assert "[bold]ann" in shown
    assert "[red]x" in shown
    assert "gates" not in shown


def test_what_gates_said_has_a_column_if_they_did() -> None:
    shown = printed(history_table([ENTRY, ENTRY | {"verdicts": [FAIL, EMPTY], "share_after_millipct": 0}]))
    assert "gates" in shown.splitlines()[0]
    assert "errors FAIL 0.03123/0.02" in shown
    assert "speed NO_DATA" in shown
    assert "5% → 0%" in shown


def test_the_date_stays_in_one_piece_in_80_columns() -> None:
    long = {"verdicts": [FAIL | {"gate": "a-long-name"}, EMPTY], "reason": "for many a reason that takes some room"}
    assert local_time(1_000.0)[:10] in printed(history_table([ENTRY | long]), 80)


def test_a_verdict_in_short() -> None:
    assert short_verdict(FAIL | {"limit": None}) == "errors FAIL 0.03123/-"
    assert short_verdict(EMPTY) == "speed NO_DATA"


@pytest.mark.parametrize(("step", "text"), [(-1, "- of 0..4"), (0, "0 of 0..4"), (4, "4 of 0..4")])
def test_steps_are_counted_as_commands_count_them(step: int, text: str) -> None:
    assert step_of({"step": step, "steps": 5}) == text


def test_a_flag_in_a_line() -> None:
    flag = {
        "feature": "f", "share": "5%", "in_force_millipct": 0, "revision": 2, "kill": {"on": True},
        "killed_locally": False, "ramp_state": None,
    }  # fmt: skip
    assert flag_line(flag) == "f: share 5% (in force 0%, KILLED), revision 2"
    flag |= {"kill": {"on": False}, "ramp_state": {"phase": "PAUSED", "step": 1, "steps": 3}}
    assert flag_line(flag) == "f: share 5% (in force 0%), revision 2, PAUSED step 1 of 0..2"


def test_a_terminal_obeys_nothing_that_others_wrote() -> None:
    assert plain_cell("a\x1b[2J\nb\x07").plain == "a [2J\nb "
