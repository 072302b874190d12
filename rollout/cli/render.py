"""Answers of the operator API as terminal tables."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from rollout.core.share import format_share

_DATE = len("2026-11-22")
_MINUTE = len("2026-11-22 06:55")


def history_table(entries: Iterable[dict[str, Any]]) -> Table:
    """Show audit entries, newest first; what gates said in a column of their own, if they did."""
    shown = list(entries)
    judged = any(entry["verdicts"] for entry in shown)
    columns = ("id", "time", "actor", "command", "revision", "share", "reason")
    table = empty_table((*columns, "gates") if judged else columns)
    table.columns[1].min_width = _DATE  # it breaks between date and time alone
    for entry in shown:
        before, after = (format_share(entry[f"share_{when}_millipct"]) for when in ("before", "after"))
        share = after if before == after else f"{before} → {after}"
        revision = f"{entry['revision_before']} → {entry['revision_after']}"
        cells = (entry["id"], local_time(entry["at_s"])[:_MINUTE], entry["actor"], entry["command"], revision, share)
        said = "\n".join(map(short_verdict, entry["verdicts"]))
        table.add_row(*map(plain_cell, cells), plain_cell(entry["reason"]), *([plain_cell(said)] if judged else []))
    return table


def short_verdict(verdict: dict[str, Any]) -> str:
    """Say what a gate said, as short as can be: "errors FAIL 0.031/0.02"."""
    numbers = "/".join("-" if each is None else f"{each:.4g}" for each in (verdict["value"], verdict["limit"]))
    return f"{verdict['gate']} {verdict['result']}" + ("" if numbers == "-/-" else f" {numbers}")


def explanation_table(answer: dict[str, Any]) -> Table:
    """Show the steps of a decision, the one that settled it marked."""
    title = f"{answer['feature']}: {answer['arm']} ({answer['upstream']}), {answer['reason']}"
    table = empty_table(("step", "found"), title)
    for step in answer["steps"]:
        table.add_row(plain_cell(step["check"]), plain_cell(step["found"]), style="bold" if step["settled"] else "")
    return table


def request_table(answer: dict[str, Any]) -> Table:
    """Show what became of a request, step by step; of several with that id, the newest first."""
    table = empty_table(("step", "found"), answer["request_id"])
    for number, request in enumerate(answer["requests"]):
        if number:
            table.add_section()
        table.add_row(Text("ended", style="bold"), Text(local_time(request["record"]["at_s"]), style="bold"))
        for step in request["steps"]:
            table.add_row(plain_cell(step["check"]), plain_cell(step["found"]))
    if answer["store"] != "ok":
        table.caption = f"documents are missing: {answer['store']}"
    return table


def flag_line(flag: dict[str, Any]) -> str:
    """Say in one line what a flag does now."""
    killed = ", KILLED" if flag["kill"]["on"] or flag["killed_locally"] else ""
    in_force = format_share(flag["in_force_millipct"])
    line = f"{flag['feature']}: share {flag['share']} (in force {in_force}{killed}), revision {flag['revision']}"
    ramp = flag["ramp_state"]
    return line if ramp is None else f"{line}, {ramp['phase']} step {step_of(ramp)}"


def step_of(ramp: dict[str, Any]) -> str:
    """Write the step a ramp is in, and those there are: "1 of 0..4"."""
    return f"{'-' if ramp['step'] < 0 else ramp['step']} of 0..{ramp['steps'] - 1}"


def local_time(at_s: float) -> str:
    """Write Unix seconds as local time."""
    return datetime.fromtimestamp(at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def empty_table(columns: Iterable[str], title: str | None = None) -> Table:
    """Make a table without rows."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def plain_cell(value: object) -> Text:
    """Show any text as it is, but for what a terminal would obey: rich's markup, and control characters."""
    if isinstance(value, Text):
        return value
    return Text("".join(each if each.isprintable() or each == "\n" else " " for each in str(value)))


def enrolments_table(feature: str, entries: Iterable[dict[str, Any]]) -> Table:
    """Show an early-access list."""
    table = empty_table(("tenant", "user", "state", "requested by", "decided by"), f"early access of {feature}")
    for entry in entries:
        cells = (entry["tenant"], entry["user"] or "(all)", entry["state"], entry["requested_by"], entry["decided_by"])
        table.add_row(*map(plain_cell, cells))
    return table
