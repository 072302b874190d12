"""What the campaign of users found, as users.json beside latest.json holds it, and its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rollout.gates_bench.report import Median, Rate, median, rate
from rollout.gates_bench.scenarios import Truth
from rollout.gates_bench.tables import rate_text, spread_text, table
from rollout.gates_bench.users.ramp import STAGES
from rollout.gates_bench.users.world import UsersScenario

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from rollout.gates_bench.users.ramp import UsersRun

FILE = "users.json"
_TOLD = (Truth.FINE, Truth.AT_THE_MARGIN, Truth.HARM)
_NOT_MEASURED = "Not measured.\n"


class UsersRow(msgspec.Struct, frozen=True):
    """One scenario. `requests`: of ramps that were decided, of both arms; `by_groups`: how many of them by groups.

    `last_share`: ramps longer than the first share lasts, so that they came to the last, where the margin is asked for.
    """

    scenario: UsersScenario
    rolled_back: Rate
    completed: Rate
    held: Rate
    requests: Median
    by_groups: int
    last_share: int


class UsersResults(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `took_s`: with so many `processes`, kept runs not made anew."""

    command: str
    runs: int
    took_s: int
    processes: int
    rows: list[UsersRow]


def row(scenario: UsersScenario, runs: Sequence[UsersRun]) -> UsersRow:
    """Sum up the runs of one scenario."""
    ends, decided = [each.end for each in runs], [each for each in runs if each.end != "held"]
    return UsersRow(
        scenario,
        rate(ends.count("rolled_back"), len(runs)),
        rate(ends.count("completed"), len(runs)),
        rate(ends.count("held"), len(runs)),
        median([None if each.end == "held" else each.requests for each in runs]),
        sum(each.by_groups for each in decided),
        sum(each.requests > STAGES[0].requests_max for each in runs),
    )


def write(folder: Path, found: UsersResults) -> None:
    """users.json into `folder`."""
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


def read(folder: Path) -> UsersResults | None:
    """What the last campaign found; None if there was none, msgspec.ValidationError for anything else."""
    path = folder / FILE
    return msgspec.json.decode(path.read_bytes(), type=UsersResults) if path.is_file() else None


def told(found: UsersResults | None) -> str:
    """As Markdown: the table, and how it was made."""
    if found is None:
        return _NOT_MEASURED
    head = ("traffic", "ICC", "truth", "rolled back", "proven", "inconclusive", "requests, median / 90 %", "by groups")
    made = f"{found.runs:,} runs of each, the last in {found.took_s / 60:.0f} min on {found.processes} processes."
    return f"{table(head, _lines(found.rows))}\n```\n{found.command}\n```\n\n{made}\n{_together(found.rows)}\n"


def _together(rows: Sequence[UsersRow]) -> str:
    """All scenarios of a truth as one."""
    fine, margin, harm = ([each for each in rows if each.scenario.truth is truth] for truth in _TOLD)
    lines = [
        f"Fine: {_pooled(each.rolled_back for each in fine)} rolled back." if fine else "",
        f"At the margin: {_pooled(each.completed for each in margin)} proven, "
        f"{sum(each.last_share for each in margin)} came to the last share." if margin else "",
        f"Harm: {_pooled(each.rolled_back for each in harm)} rolled back." if harm else "",
    ]  # fmt: skip
    return "\n".join(line for line in lines if line)


def _pooled(rates: Iterable[Rate]) -> str:
    found = list(rates)
    hits, runs = sum(each.hits for each in found), sum(each.runs for each in found)
    return f"{hits} of {runs:,} ramps, {rate_text(rate(hits, runs))},"


def _lines(rows: Sequence[UsersRow]) -> Iterator[Sequence[str]]:
    for each in rows:
        of, decided = each.scenario, each.rolled_back.hits + each.completed.hits
        yield (
            of.traffic,
            f"{of.icc:g}",
            of.truth.replace("_", " "),
            *(rate_text(end) for end in (each.rolled_back, each.completed, each.held)),
            spread_text(each.requests),
            f"{each.by_groups} of {decided}" if decided else "-",
        )
