"""Renders boards: rich tables for a terminal, lines for anything else (pure)."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from loadtests.demo.binomial import wilson
from loadtests.demo.board import ArmLine, Board, PartState, StageLine, arm_title
from loadtests.demo.course import Standing
from loadtests.demo.judge import Verdict
from loadtests.demo.plan import MOVING, percent

_STATE_STYLE = {"done": "green", "now": "bold cyan", "to come": "dim"}
_PHASE_STYLE = {"ready": "green", "starting": "cyan", "waiting": "dim"}


def starting_table(parts: Sequence[PartState], elapsed_s: float) -> RenderableType:
    """Return the parts of the stack while they start."""
    table = Table(title=f"Starting, {elapsed_s:.0f} s", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("part", "state", "time"):
        table.add_column(column, no_wrap=True)
    # The only column that may shrink; its text is then cut, not wrapped.
    table.add_column("", style="dim")
    for part in parts:
        state = Text(part.phase, _PHASE_STYLE.get(part.phase, ""))
        detail = "" if part.phase == "ready" else part.detail
        table.add_row(part.name, state, _elapsed(part), Text(detail, no_wrap=True, overflow="ellipsis"))
    return table


def starting_lines(before: Sequence[PartState], now: Sequence[PartState]) -> list[str]:
    """Return a line for each part whose phase changed."""
    known = {part.name: part.phase for part in before}
    return [_part_line(part) for part in now if part.phase != "waiting" and known.get(part.name) != part.phase]


def waiting_lines(parts: Sequence[PartState]) -> list[str]:
    """Return a line for each part that is still starting: signs of life on long waits."""
    return [_part_line(part) for part in parts if part.phase == "starting"]


def board_tables(board: Board) -> RenderableType:
    """Return the whole live view."""
    ramps = (Text(line) for ramp in board.ramps for line in (ramp_line(ramp), *_gate_lines(ramp)))
    return Group(Text(_head(board), "bold"), *ramps, _stages_table(board.stages), _arms_table(board.arms))


def board_lines(before: Board | None, now: Board) -> list[str]:
    """Return what is new since `before`: stages that ended, the kill's state, what ramps do and why they hold."""
    if before is None:
        return []
    clock = f"[{now.elapsed_s:5.1f} s]"
    ended = {line.name for line in before.stages if line.state == "now"}
    lines = [_stage_text(line, now) for line in now.stages if line.state == "done" and line.name in ended]
    if before.kill != now.kill:
        lines.append(f"{clock} kill switch of {MOVING}: {now.kill}")
    known = {ramp.feature: _news(ramp) for ramp in before.ramps}
    lines += [f"{clock} {ramp_line(ramp)}" for ramp in now.ramps if known.get(ramp.feature) != _news(ramp)]
    return lines


def ramp_line(ramp: Standing) -> str:
    """Return where a ramp stands and the first thing that holds it, in one line."""
    if ramp.phase is None:
        return f"{ramp.feature}: no ramp"
    step = f", step {ramp.step} of 0..{ramp.steps - 1}" if ramp.step >= 0 else ""
    held = f"; {ramp.holds[0].text}" if ramp.holds else ""
    return f"{ramp.feature}: {ramp.phase}{step}, share {percent(ramp.share_millipct)}{held}"


def verdict_table(verdicts: Sequence[Verdict]) -> RenderableType:
    """Return the checks with their outcomes."""
    table = Table(title="Checks", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in ("", "check", "found"):
        table.add_column(column)
    for verdict in verdicts:
        table.add_row(_mark(verdict), verdict.check, Text(verdict.found))
    return table


def _head(board: Board) -> str:
    failed = f", {board.problems} FAILED" if board.problems else ""
    return f"{board.elapsed_s:5.1f} s   {board.requests} requests{failed}   kill switch of {MOVING}: {board.kill}"


def _mark(verdict: Verdict) -> Text:
    if verdict.skipped:
        return Text("skipped", "bold yellow")
    return Text("ok", "green") if verdict.ok else Text("FAILED", "bold red")


def _news(ramp: Standing) -> tuple[object, ...]:
    """Return what of a ramp is worth a line of its own: not that seconds and samples go on."""
    return ramp.phase, ramp.step, ramp.killed, ramp.holds[0].reason if ramp.holds else None


def _gate_lines(ramp: Standing) -> list[str]:
    return [f"    gate {said}" for said in ramp.said]


def _stages_table(stages: Sequence[StageLine]) -> Table:
    table = Table(title=f"\nShare of {MOVING}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("stage")
    for column in ("in force", "measured", "95 % interval", "conversations"):
        table.add_column(column, justify="right")
    for line in stages:
        share = "" if line.share is None else f"{line.share:.0%}"
        cells = (share, *_measured(line), str(line.conversations or ""))
        table.add_row(line.name, *cells, style=_STATE_STYLE[line.state])
    return table


def _arms_table(arms: Sequence[ArmLine]) -> Table:
    table = Table(title="\nArms", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("feature")
    table.add_column("answered by")
    for column in ("requests", "TTFT p50", "p95", "latency p50", "p95", "exact match"):
        table.add_column(column, justify="right")
    for line in arms:
        times = (line.ttft_p50_s, line.ttft_p95_s, line.e2e_p50_s, line.e2e_p95_s)
        exact = "-" if line.exact_match is None else f"{line.exact_match:.1%}"
        table.add_row(
            line.feature, arm_title(line.feature, line.arm), str(line.requests), *map(_milliseconds, times), exact
        )
    return table


def _stage_text(line: StageLine, board: Board) -> str:
    measured, interval = _measured(line)
    share = f"{line.share or 0:.0%} in force, measured {measured} ({interval}) of {line.conversations} conversations"
    failed = f", {board.problems} failed" if board.problems else ""
    return f"[{board.elapsed_s:5.1f} s] {MOVING} {line.name}: {share}; {board.requests} requests{failed}"


def _measured(line: StageLine) -> tuple[str, str]:
    interval = wilson(line.candidates, line.conversations)
    if interval is None:
        return "", ""
    return f"{line.candidates / line.conversations:.1%}", f"{interval[0]:.1%} to {interval[1]:.1%}"


def _part_line(part: PartState) -> str:
    if part.phase == "ready":
        return f"{part.name}: ready after {part.elapsed_s:.1f} s"
    detail = f": {part.detail}" if part.detail else ""
    return f"{part.name}: {part.phase}, {part.elapsed_s:.0f} s{detail}"


def _elapsed(part: PartState) -> str:
    return "" if part.phase == "waiting" else f"{part.elapsed_s:.1f} s"


def _milliseconds(time_s: float | None) -> str:
    return "-" if time_s is None else f"{time_s * 1000:.0f} ms"
