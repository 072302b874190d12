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
_PROVEN = "proven"
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
        name = "" if _is_bound(verdict) else "e-value "
        parts.append(f"{name}{said['e-value']}" + (f" of {said['of']}" if "of" in said else ""))
    parts.append(f"{said['units']} units" if "units" in said else "")
    when = said.get("decided in", "")
    parts.append(when if when in {"", _PROVEN} else f"decided in {when}")
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
        *_decides(verdict),
        "-" if verdict["samples"] is None else str(verdict["samples"]),
        _when(verdict),
    )


def _said(verdict: dict[str, Any]) -> str:
    if verdict["reason"].startswith(NOT_ASKED):
        return NOT_ASKED
    return "UNDECIDED" if verdict["result"] == "INCONCLUSIVE" else str(verdict["result"])


def _is_bound(verdict: dict[str, Any]) -> bool:
    return bool(verdict["estimate"].get("by_bound"))


def _decides(verdict: dict[str, Any]) -> tuple[str, str]:
    """The number that decides and what it must reach: an e-value, or where users keep their arm a bound."""
    value, limit = verdict["value"], verdict["limit"]
    if not _is_bound(verdict):
        return _amount(value), _amount(limit)
    return "-" if value is None else f"bound {value:+.3f}", "-" if limit is None else f"{limit:+.3g}"


def _when(verdict: dict[str, Any]) -> str:
    left_s = verdict["estimate"]["expected_s"]
    if left_s is None:
        return "-"
    if left_s >= 1.0:
        return written(left_s)
    return _PROVEN if verdict["result"] == "PASS" else "any time"


def _part(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _amount(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0e}" if value >= _MANY else f"{value:.3g}" if value < _LEFT else f"{value:.0f}"
