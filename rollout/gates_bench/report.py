"""From runs to rates with intervals: per scenario, and the worst over all for each target."""

from __future__ import annotations

import math
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import msgspec

from rollout.gates_bench.scenarios import Scenario, Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rollout.gates_bench.ramp import Run

_Z95 = 1.959963984540054


class Rate(msgspec.Struct, frozen=True):
    """A proportion of runs with its 95 % Wilson interval."""

    rate: float
    ci95: tuple[float, float]
    hits: int
    runs: int


class Row(msgspec.Struct, frozen=True):
    """One scenario. `exposed_*`: candidate units from the onset of harm to the rollback; `judged_*`: answers scored."""

    scenario: str
    truth: Truth
    rolled_back: Rate
    completed: Rate
    held: Rate
    frozen: Rate
    reasons: dict[str, int]
    units_median: float
    exposed_median: float | None
    exposed_90: float | None
    judged_median: float | None
    fresh_exposed_median: float | None = None


class Beside(msgspec.Struct, frozen=True):
    """One gate on one scenario, on ramps by the clock: how often it rolled back, and after how much exposure."""

    scenario: str
    truth: Truth
    gate: str
    rolled_back: Rate
    exposed_median: float | None


def wilson(hits: int, runs: int) -> Rate:
    """The rate of `hits` among `runs` (at least one)."""
    z2 = _Z95**2
    rate = hits / runs
    middle = (rate + z2 / (2 * runs)) / (1 + z2 / runs)
    half = _Z95 * math.sqrt(rate * (1 - rate) / runs + z2 / (4 * runs**2)) / (1 + z2 / runs)
    return Rate(rate, (max(0.0, middle - half), min(1.0, middle + half)), hits, runs)


def row(scenario: Scenario, runs: Sequence[Run], fresh: Sequence[int | None] = ()) -> Row:
    """Sum up the runs of one scenario. `fresh`: what gates exposed that were started at the onset of harm."""
    ends = [each.end for each in runs]
    caught = [each for each in runs if each.end == "rolled_back"]
    reasons = [each.reason for each in runs if each.reason]
    harm = scenario.truth is Truth.HARM
    found = [each for each in fresh if each is not None]
    rates = {end: wilson(ends.count(end), len(runs)) for end in ("rolled_back", "completed", "held", "frozen")}
    return Row(
        scenario=scenario.name,
        truth=scenario.truth,
        **rates,
        reasons={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        units_median=_quantile([each.units for each in runs], 50) or 0.0,
        exposed_median=_quantile([each.exposed for each in caught], 50) if harm else None,
        exposed_90=_quantile([each.exposed for each in caught], 90) if harm else None,
        judged_median=_quantile([each.judged for each in caught], 50) if harm else None,
        fresh_exposed_median=_quantile(found, 50),
    )


def summary(rows: Iterable[Row]) -> dict[str, Any]:
    """The worst scenario for each target, as fractions of runs, each with interval, runs and scenario.

    Missed harm is a ramp that reached the end although the candidate was worse than the margin.
    """
    told = list(rows)
    worst: dict[str, Any] = {}
    for name, truth, end in (
        ("false_rollback_max", Truth.FINE, "rolled_back"),
        ("wrong_promotion_max", Truth.AT_THE_MARGIN, "completed"),
        ("missed_harm_max", Truth.HARM, "completed"),
    ):
        rates = {each.scenario: getattr(each, end) for each in told if each.truth is truth}
        if rates:
            scenario = max(rates, key=lambda each: (rates[each].rate, rates[each].ci95[1]))
            found = rates[scenario]
            worst |= {name: found.rate, f"{name}_ci95": found.ci95, f"{name}_runs": found.runs}
            worst[f"{name}_scenario"] = scenario
    return worst


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| scenario | rolled back | completed | held | frozen | units | exposed, median / 90 % | scored | from fresh |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in rows:
        cells = [_percent(rate) for rate in (each.rolled_back, each.completed, each.held, each.frozen)]
        exposed = f"{_count(each.exposed_median)} / {_count(each.exposed_90)}"
        cells += [_count(each.units_median), exposed, _count(each.judged_median), _count(each.fresh_exposed_median)]
        lines.append(f"| {each.scenario} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def beside(scenario: Scenario, gate: str, exposed: Sequence[int | None]) -> Beside:
    """Sum up the ramps of one gate; None in `exposed`: it did not roll back."""
    found = [each for each in exposed if each is not None]
    harm = scenario.truth is Truth.HARM
    rate = wilson(len(found), len(exposed))
    return Beside(scenario.name, scenario.truth, gate, rate, _quantile(found, 50) if harm else None)


def comparison(rows: Sequence[Beside]) -> str:
    """The gates beside each other as a Markdown table: part rolled back, and candidate units until then."""
    gates = list(dict.fromkeys(each.gate for each in rows))
    lines = ["| scenario | " + " | ".join(gates) + " |", "| --- " * (len(gates) + 1) + "|"]
    for scenario in dict.fromkeys(each.scenario for each in rows):
        cells = {each.gate: each for each in rows if each.scenario == scenario}
        texts = [f"{cells[gate].rolled_back.rate:.0%} ({_count(cells[gate].exposed_median)})" for gate in gates]
        lines.append(f"| {scenario} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def _quantile(values: Sequence[float], percent: int) -> float | None:
    if len(values) < 2:  # noqa: PLR2004  one value is every quantile of itself
        return float(values[0]) if values else None
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def _percent(rate: Rate) -> str:
    low, high = rate.ci95
    return f"{rate.rate:.1%} ({low:.1%}-{high:.1%})" if rate.hits else f"0 (<= {high:.1%})"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
