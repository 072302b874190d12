"""Answers of the operator API as terminal tables."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from rollout.core.share import format_share


def features_table(answer: dict[str, Any]) -> Table:
    """Show features, one per row, with what is in force."""
    title = f"store {answer['store']}, version {answer['version']}"
    table = empty_table(("feature", "candidate", "baseline", "share", "in force", "state", "revision"), title)
    for flag in answer["features"]:
        killed = flag["kill"]["on"] or flag["killed_locally"]
        state = Text("KILLED" if killed else flag["state"], style="bold red" if killed else "")
        in_force = format_share(flag["in_force_millipct"])
        cells = (flag["feature"], flag["candidate"], flag["baseline"], flag["share"], in_force, state)
        table.add_row(*map(plain_cell, cells), plain_cell(flag["revision"]))
    return table


def history_table(entries: Iterable[dict[str, Any]]) -> Table:
    """Show audit entries, newest first."""
    table = empty_table(("id", "time", "actor", "command", "revision", "share", "reason"))
    for entry in entries:
        before, after = (format_share(entry[f"share_{when}_millipct"]) for when in ("before", "after"))
        share = after if before == after else f"{before} → {after}"
        revision = f"{entry['revision_before']} → {entry['revision_after']}"
        cells = (entry["id"], local_time(entry["at_s"]), entry["actor"], entry["command"], revision, share)
        table.add_row(*map(plain_cell, cells), plain_cell(entry["reason"]))
    return table


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
    return f"{flag['feature']}: share {flag['share']} (in force {in_force}{killed}), revision {flag['revision']}"


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
    """Show any text as it is: reasons and names may hold what rich would take for markup."""
    return value if isinstance(value, Text) else Text(str(value))


def enrolments_table(feature: str, entries: Iterable[dict[str, Any]]) -> Table:
    """Show an early-access list."""
    table = empty_table(("tenant", "user", "state", "requested by", "decided by"), f"early access of {feature}")
    for entry in entries:
        cells = (entry["tenant"], entry["user"] or "(all)", entry["state"], entry["requested_by"], entry["decided_by"])
        table.add_row(*map(plain_cell, cells))
    return table
