"""Results as Markdown tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollout.gates_bench.campaign import FALSE_ROLLBACKS
from rollout.gates_bench.report import ENDS
from rollout.gates_bench.rivals import ENGINE
from rollout.gates_bench.scenarios import Truth
from rollout.gates_bench.targets import RATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rollout.gates_bench.report import Beside, Median, Rate, Row
    from rollout.gates_bench.results import Results
    from rollout.gates_bench.targets import Target


def all_of(results: Results) -> dict[str, str]:
    """Every table by the name of its place on a page."""
    return {
        "rates": rates(results),
        "targets": targets(results.targets),
        "ends": ends(results.rows),
        "harm": harm([row for row in results.rows if row.truth is Truth.HARM]),
        "rivals": rivals([row for row in results.rivals if row.false_rollback in {0.0, FALSE_ROLLBACKS[0]}]),
        "sweep": sweep(results.rivals),
        "command": f"```\n{results.command}\n```\n\n{_made(results)}\n",
    }


def rates(results: Results) -> str:
    """The three error rates alone."""
    by_name = {target.name: target for target in results.targets}
    lines = []
    for told, _, _, limit in RATES.values():
        if told in by_name:
            found = by_name[told]
            lines.append((told, f"≤ {limit:.0%}", _percent(found.found, found.ci95), found.scenario))
    return table(("error rate, the worst of all scenarios", "goal", "found (95 % interval)", "scenario"), lines)


def targets(found: Iterable[Target]) -> str:
    """Each goal, and whether it is met."""
    rates_told = {told for told, *_ in RATES.values()}
    lines = []
    for each in found:
        value = _percent(each.found, each.ci95) if each.name in rates_told else _value(each.found, each.ci95)
        limit = f"{each.limit:.0%}" if each.name in rates_told else f"{each.limit:g}"
        lines.append((each.name, f"≤ {limit}", value, _word(each), each.scenario))
    return table(("", "goal", "found (95 % interval)", "", "scenario"), lines)


def ends(rows: Iterable[Row]) -> str:
    """How ramps ended."""
    lines = [
        (
            row.scenario,
            row.truth.replace("_", " "),
            *(rate_text(getattr(row, end)) for end in ENDS),
            spread_text(row.minutes),
        )
        for row in rows
    ]
    return table(("scenario", "truth", "rolled back", "completed", "held", "frozen", "minutes, median / 90 %"), lines)


def harm(rows: Iterable[Row]) -> str:
    """What harm cost until it was stopped."""
    lines = [
        (
            row.scenario,
            spread_text(row.exposed),
            spread_text(row.decisive),
            spread_text(row.scored),
            spread_text(row.delay_minutes),
            _of(row.fresh_decisive),
            _of(row.fresh_delay_minutes),
            _of(row.oracle),
            "-" if row.regret is None else f"{row.regret:.1f}",
        )
        for row in rows
    ]
    head = (
        "scenario", "exposed", "until decisive", "answers scored", "minutes", "fresh: decisive", "fresh: minutes",
        "oracle", "regret",
    )  # fmt: skip
    return table(head, lines)


def rivals(rows: Sequence[Beside]) -> str:
    """Part rolled back, and candidate requests until then."""
    gates = list(dict.fromkeys(row.gate for row in rows))
    lines = []
    for scenario in dict.fromkeys(row.scenario for row in rows):
        own = {row.gate: row for row in rows if row.scenario == scenario}
        lines.append((scenario, *(_caught(own[gate]) for gate in gates)))
    return table(("scenario", *gates), lines)


def sweep(rows: Sequence[Beside]) -> str:
    """Thresholds from strict to lax: the worst false rollback over all that is fine, and how much harm is found."""
    lines = []
    for gate, false_rollback in dict.fromkeys((row.gate, row.false_rollback) for row in rows):
        own = [row for row in rows if (row.gate, row.false_rollback) == (gate, false_rollback)]
        fine = [row.rolled_back for row in own if row.truth is Truth.FINE]
        found = [row.rolled_back.rate for row in own if row.truth is Truth.HARM]
        if fine and found:
            set_for = "-" if gate == ENGINE else f"{false_rollback:.0%}"
            worst = max(fine, key=lambda rate: rate.rate)
            lines.append((gate, set_for, rate_text(worst), f"{sum(found) / len(found):.0%}", f"{min(found):.0%}"))
    head = ("gate", "set for, on plain A/A", "false rollback, the worst", "harm found, mean", "the worst")
    return table(head, lines)


def _word(target: Target) -> str:
    return {None: "open", True: "met", False: "**missed**"}[target.met]


def _made(results: Results) -> str:
    minutes = results.took_s / 60
    fine = [row.rolled_back for row in results.rows if row.truth is Truth.FINE]
    false, ramps = sum(rate.hits for rate in fine), sum(rate.runs for rate in fine)
    return (
        f"{results.runs:,} runs of each scenario, the last in {minutes:.0f} min on {results.processes} processes.\n"
        f"Of all {ramps:,} ramps of a fine candidate {false} were rolled back.\n"
        "*Open*: the interval holds the goal, more runs would tell."
    )


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """As Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def rate_text(rate: Rate) -> str:
    """With its interval."""
    return _percent(rate.rate, rate.ci95)


def _percent(rate: float | None, ci95: tuple[float | None, float | None] | None) -> str:
    if rate is None or ci95 is None:
        return "-"
    low, high = (each or 0.0 for each in ci95)
    return f"{rate:.1%} ({low:.1%} to {high:.1%})" if rate else f"0 (≤ {high:.1%})"


def _value(value: float | None, ci95: tuple[float | None, float | None] | None) -> str:
    told = _number(value, 2)
    return told if ci95 is None else f"{told} ({_number(ci95[0], 2)} to {_number(ci95[1], 2)})"


def _caught(row: Beside) -> str:
    return f"{row.rolled_back.rate:.0%}" + (f" ({_of(row.exposed)})" if row.truth is Truth.HARM else "")


def _of(found: Median | None) -> str:
    return "-" if found is None else _number(found.median)


def spread_text(found: Median | None) -> str:
    """Median and 90 % quantile."""
    return "-" if found is None else f"{_number(found.median)} / {_number(found.q90)}"


def _number(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "∞"
    return f"{value:,.0f}" if value >= 10 else f"{value:.{digits}f}"  # noqa: PLR2004  two digits tell enough
