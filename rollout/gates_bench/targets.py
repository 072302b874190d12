"""What the engine promises, against what was found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from rollout.gates_bench.scenarios import Truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rollout.gates_bench.report import Median, Rate, Row

RATES = {
    "false_rollback_max": ("false rollback over a whole ramp", Truth.FINE, "rolled_back", 0.02),
    "wrong_promotion_max": ("wrong promotion at the margin", Truth.AT_THE_MARGIN, "completed", 0.05),
    "missed_harm_max": ("missed harm", Truth.HARM, "completed", 0.01),
}
"""The worst scenario of a kind: what is told, which kind, how ramps of it must not end, and how often they may."""
_EXPOSED = (
    ("exposure to 30 % errors, candidate requests", "errors 1 -> 30 %", "exposed", 15),
    ("exposure to 5 % errors, candidate requests", "errors 1 -> 5 %", "exposed", 350),
    ("exposure to p95 +50 %, candidate requests", "p95 +50 %", "exposed", 400),
    ("answers scored at -10 points of quality", "quality -10 points", "scored", 200),
)
LATE_MAX, REGRET_MAX, COST_MAX_US = 1.5, 2.5, 5.0


class Target(msgspec.Struct, frozen=True):
    """A line of the target table.

    `found`: None if most runs never got there; `met`: None while the interval holds the limit.
    """

    name: str
    limit: float
    found: float | None
    ci95: tuple[float | None, float | None] | None
    scenario: str
    met: bool | None


def summary(rows: Iterable[Row]) -> dict[str, Any]:
    """The worst scenario for each rate, as fractions of runs, each with interval, runs and scenario."""
    told = list(rows)
    worst: dict[str, Any] = {}
    for name, (_, truth, end, _) in RATES.items():
        rates: dict[str, Rate] = {each.scenario: getattr(each, end) for each in told if each.truth is truth}
        if rates:
            scenario = max(rates, key=lambda each: (rates[each].rate, rates[each].ci95[1]))
            found = rates[scenario]
            worst |= {name: found.rate, f"{name}_ci95": found.ci95, f"{name}_runs": found.runs}
            worst[f"{name}_scenario"] = scenario
    return worst


def targets(rows: Sequence[Row], cost_us: float) -> list[Target]:
    """Every line for which there is a scenario among `rows`."""
    worst, by_name = summary(rows), {row.scenario: row for row in rows}
    lines = [
        _target(told, limit, worst[name], worst[f"{name}_ci95"], worst[f"{name}_scenario"])
        for name, (told, _, _, limit) in RATES.items()
        if name in worst
    ]
    for told, scenario, field, limit in _EXPOSED:
        if scenario in by_name:
            found: Median = getattr(by_name[scenario], field)
            lines.append(_target(told, limit, found.median, found.ci95, scenario))
    late = {row.scenario: _ratio(row.delay_minutes, row.fresh_delay_minutes) for row in rows if row.fresh_delay_minutes}
    if late:
        scenario = max(late, key=late.__getitem__)
        told, ci95 = "delay of a late failure, in that of a fresh test", by_name[scenario].late_ci95
        lines.append(_target(told, LATE_MAX, late[scenario], ci95, scenario))
    regrets = {row.scenario: row.regret for row in rows if row.regret is not None}
    if regrets:
        scenario = max(regrets, key=lambda name: regrets[name] or 0.0)
        lines.append(_target("regret against the oracle", REGRET_MAX, regrets[scenario], None, scenario))
    return [*lines, _target("µs for each outcome and metric", COST_MAX_US, cost_us, None, "batches of 1,000")]


def missed(found: dict[str, Any]) -> list[str]:
    """The rates that are over their limits by more than chance."""
    return [name for name, (*_, limit) in RATES.items() if name in found and found[f"{name}_ci95"][0] > limit]


def _target(
    name: str, limit: float, found: float | None, ci95: tuple[float | None, float | None] | None, scenario: str
) -> Target:
    known = found if found is not None and math.isfinite(found) else None
    met = known is not None and known <= limit if ci95 is None or _is_settled(limit, *ci95) else None
    return Target(name, limit, known, ci95, scenario, met)


def _is_settled(limit: float, low: float | None, high: float | None) -> bool:
    """Whether an interval lies on one side of the limit; None: beyond all that was seen."""
    return (high is not None and high <= limit) or (low is None or low > limit)


def _ratio(one: Median | None, other: Median | None) -> float:
    if one is None or other is None or one.median is None or not other.median:
        return math.inf
    return one.median / other.median
