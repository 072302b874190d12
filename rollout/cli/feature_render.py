"""Features on a terminal: a line for each with its shares, and below it a line for whatever holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rollout.cli.coverage_render import coverage_line
from rollout.cli.evidence_render import WIDTH, evidence_line, evidence_table, has_estimate
from rollout.cli.render import local_time, plain_cell, step_of
from rollout.core.hold import Hold, HoldReason
from rollout.core.ramp_model import Phase
from rollout.core.share import format_share

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_COLUMNS = ("feature", "phase", "step", "share", "in force", "next", "rev")
_GAP = 2
_INDENT = 2
_NARROWEST = 8
_STYLES = {"KILLED": "bold red", "ROLLED_BACK": "bold red", "PAUSED": "yellow", "COMPLETED": "green"}


class _Row(NamedTuple):
    cells: tuple[str, ...]
    phase: str
    below: list[tuple[str, str]]
    """Lines with their styles."""
    evidence: list[dict[str, Any]]
    """Verdicts with an estimate behind them."""


class Features:
    """What `get` shows of an answer of the API; `in_full`: also what the gates said, and to whom."""

    def __init__(self, answer: dict[str, Any], *, in_full: bool = False) -> None:
        version = answer["version"]  # of all features; one alone has none
        self._title = f"store {answer['store']}" + ("" if version is None else f", version {version}")
        self._fault = answer.get("last_error")
        self._rows = [_row(flag, in_full=in_full) for flag in answer["features"]]

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out in the width there is: the name of a feature gives way first."""
        yield Text(self._title, style="italic")
        if self._fault:
            yield _line(self._fault, "bold red")
        widths = [max(map(len, cells)) for cells in zip(_COLUMNS, *(row.cells for row in self._rows), strict=True)]
        others = sum(widths[1:]) + _GAP * len(widths[1:])
        widths[0] = max(_NARROWEST, min(widths[0], options.max_width - others))
        yield _grid(widths, [Text(name, style="bold") for name in _COLUMNS])
        for row in self._rows:
            cells = [plain_cell(cell) for cell in row.cells]
            cells[1].stylize(_STYLES.get(row.phase, ""))
            yield _grid(widths, cells)
            for text, style in row.below:
                yield _line(text, style)
            if row.evidence and options.max_width < WIDTH:
                yield from (_line(evidence_line(verdict), "") for verdict in row.evidence)
            elif row.evidence:
                yield Padding(evidence_table(row.evidence), (0, 0, 0, _INDENT))


def told(answer: dict[str, Any]) -> object:
    """What of an answer is worth telling anew: where each ramp stands and what holds it, not for how long."""
    if "features" not in answer:
        return answer
    return answer["store"], answer.get("last_error"), [told_of(flag) for flag in answer["features"]]


def told_of(flag: dict[str, Any]) -> object:
    """What of one feature is worth telling anew."""
    ramp = flag["ramp_state"]
    stands = ramp and (ramp["phase"], ramp["step"], [(hold["reason"], hold["gate"]) for hold in ramp["holds"]])
    return flag["feature"], flag["revision"], flag["share_millipct"], flag["in_force_millipct"], stands


def hold_texts(flag: dict[str, Any]) -> list[str]:
    """Say in a line each why a flag's share doesn't rise; without a ramp, only a kill does."""
    ramp = flag["ramp_state"]
    if ramp is not None:
        return [hold["text"] for hold in ramp["holds"]]
    kill = flag["kill"]
    if kill["on"]:
        return [str(Hold(HoldReason.KILLED, detail=f"by {kill['actor']}: {kill['reason']}"))]
    return [str(Hold(HoldReason.KILLED, detail="on this replica alone"))] if flag["killed_locally"] else []


def phase_of(flag: dict[str, Any]) -> str:
    """Say in a word how it stands with a flag."""
    if flag["kill"]["on"] or flag["killed_locally"]:
        return "KILLED"
    if flag["state"] == "DISABLED" or flag["ramp_state"] is None:
        return flag["state"] if flag["state"] == "DISABLED" else "no ramp"
    return str(flag["ramp_state"]["phase"])


def _row(flag: dict[str, Any], *, in_full: bool) -> _Row:
    ramp = flag["ramp_state"]
    phase = phase_of(flag)
    following = None if ramp is None else ramp["next_share_millipct"]
    cells = (
        flag["feature"],
        phase,
        "-" if ramp is None else step_of(ramp),
        flag["share"],
        format_share(flag["in_force_millipct"]),
        "-" if following is None else format_share(following),
        str(flag["revision"]),
    )
    holds = [(f"- {text}", "") for text in hold_texts(flag)]
    arms = f"candidate {flag['candidate']}, baseline {flag['baseline']}"
    below = [(arms, "dim"), *holds, *(_in_full(ramp) if in_full and ramp else [])]
    evidence = list(filter(has_estimate, ramp["verdicts"])) if in_full and ramp else []
    return _Row(cells, phase, below, evidence)


def _in_full(ramp: dict[str, Any]) -> list[tuple[str, str]]:
    lines = [(_verdict_line(verdict), "") for verdict in ramp["verdicts"] if not has_estimate(verdict)]
    lines += [(line, "") for line in map(coverage_line, ramp["verdicts"]) if line]
    if ramp["phase"] == Phase.ROLLED_BACK and ramp["verdicts"]:
        then = f"what the gates said when it was rolled back, {local_time(ramp['rolled_back']['at_s'])}:"
        return [(then, "dim"), *lines]
    if ramp["verdicts"] and any(hold["reason"] == HoldReason.KILLED for hold in ramp["holds"]):
        return [("what the gates said before the kill:", "dim"), *lines]
    if ramp["looked_at_s"] is None:
        return lines
    return [*lines, (f"looked at {local_time(ramp['looked_at_s'])} by {ramp['controller']}", "dim")]


def _verdict_line(verdict: dict[str, Any]) -> str:
    numbers = [
        text.format(value)
        for text, value in (
            ("{:.6g}", verdict["value"]),
            ("limit {:.6g}", verdict["limit"]),
            ("{} samples", verdict["samples"]),
        )
        if value is not None
    ]
    said = " ".join([verdict["result"], ", ".join(numbers)]).strip()
    return f"gate {verdict['gate']}: {said} ({verdict['reason']})"


def _grid(widths: list[int], cells: list[Text]) -> Table:
    grid = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    for width in widths:
        grid.add_column(width=width, overflow="fold")
    grid.add_row(*cells)
    return grid


def _line(text: str, style: str) -> Table:
    """Lay out a line below a feature; what is too long for it goes on indented."""
    mark, body = ("- ", text[2:]) if text.startswith("- ") else ("", text)
    shown = plain_cell(body)
    shown.stylize(style)
    line = Table.grid(padding=0)
    line.add_column(width=_INDENT + len(mark))
    line.add_column(overflow="fold")
    line.add_row(Text(" " * _INDENT + mark), shown)
    return line
