"""What gates of evidence said: a table, 100 characters wide at most, or sentences where there is less room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from rollout.cli.render import plain_cell
from rollout.core.gates import NOT_ASKED
from rollout.core.ramp_plan import written

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS = ("gate", "says", "effect", "between", "margin", "excluded", "e-value", "of", "units", "decided in")
WIDTH = 100
_GATE_MAX = 20
_LEFT = 2
_MANY = 1e6
_STYLES = {"FAIL": "bold red", "ERROR": "red", "NO_DATA": "yellow", "PASS": "green"}


def has_estimate(verdict: dict[str, Any]) -> bool:
    """Whether it is one of evidence."""
    return verdict.get("estimate") is not None


def evidence_table(verdicts: Sequence[dict[str, Any]]) -> Table:
    """Lay out verdicts that have an estimate."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for number, name in enumerate(COLUMNS):
        table.add_column(
            name,
            overflow="fold",
            no_wrap=number > 0,
            justify="right" if number >= _LEFT else "left",
            max_width=_GATE_MAX if not number else None,
        )
    for verdict in verdicts:
        cells = [plain_cell(cell) for cell in cells_of(verdict)]
        cells[1].stylize(_STYLES.get(verdict["result"], ""))
        table.add_row(*cells)
    return table


def evidence_line(verdict: dict[str, Any]) -> str:
    """Say in a sentence what a row of the table says, without what can't be said."""
    cells = dict(zip(COLUMNS, cells_of(verdict), strict=True))
    said = {name: cell for name, cell in cells.items() if cell != "-"}
    parts = [f"effect {said['effect']}" if "effect" in said else ""]
    parts[0] += f" ({said['between']})" if "between" in said else ""
    parts += [f"{name} {said[name]}" for name in ("margin", "excluded") if name in said]
    if "e-value" in said:
        parts.append(f"e-value {said['e-value']}" + (f" of {said['of']}" if "of" in said else ""))
    parts.append(f"{said['units']} units" if "units" in said else "")
    parts.append(f"decided in {said['decided in']}" if "decided in" in said else "")
    told = ", ".join(filter(None, parts))
    return f"gate {cells['gate']}: {cells['says']}" + (f", {told}" if told else "")


def cells_of(verdict: dict[str, Any]) -> tuple[str, ...]:
    """Write a verdict's numbers for COLUMNS; a dash for what can't be said."""
    estimate = verdict["estimate"]
    lower, upper = _part(estimate["lower"]), _part(estimate["upper"])
    return (
        verdict["gate"],
        _said(verdict),
        _part(estimate["effect"]),
        "-" if lower == upper == "-" else f"{lower}..{upper}",
        "-" if estimate["margin"] is None else f"{estimate['margin']:.3g}",
        "-" if estimate["excluded"] is None else f"{estimate['excluded']:.3g}",
        _amount(verdict["value"]),
        _amount(verdict["limit"]),
        "-" if verdict["samples"] is None else str(verdict["samples"]),
        "-" if estimate["expected_s"] is None else written(estimate["expected_s"]),
    )


def _said(verdict: dict[str, Any]) -> str:
    if verdict["reason"].startswith(NOT_ASKED):
        return NOT_ASKED
    return "UNDECIDED" if verdict["result"] == "INCONCLUSIVE" else str(verdict["result"])


def _part(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _amount(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0e}" if value >= _MANY else f"{value:.3g}" if value < _LEFT else f"{value:.0f}"
