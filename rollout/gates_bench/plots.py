"""Results as plots: error rates with intervals, exposure beside rivals, e-values on their way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from rollout.gates_bench.campaign import FALSE_ROLLBACKS
from rollout.gates_bench.scenarios import Truth
from rollout.gates_bench.svg import COLOURS, Axis, dot, drawing, line, polyline, text
from rollout.gates_bench.targets import RATES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rollout.gates_bench.report import Beside, Rate, Row
    from rollout.gates_bench.results import Path, Results

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW = 860, 300, 30, 50, 20
_DECADES = (1, 10, 100, 1_000, 10_000)
_SHARES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2)


class _Error(NamedTuple):
    scenario: str
    rate: Rate
    goal: float
    colour: str


def all_of(results: Results) -> dict[str, str]:
    """Every plot by its file name."""
    return {
        "error-rates.svg": error_rates(results.rows),
        "exposure.svg": exposure(results.rivals),
        "e-values.svg": e_values(results.paths, results.engine.alpha),
    }


def error_rates(rows: Iterable[Row]) -> str:
    """For each scenario the rate of the wrong end, its interval, and the goal."""
    wrong = {truth: (end, limit) for _, truth, end, limit in RATES.values()}
    colours = dict(zip(wrong, COLOURS, strict=False))
    told = list(rows)
    errors = [
        _Error(row.scenario, getattr(row, wrong[truth][0]), wrong[truth][1], colours[truth])
        for truth in wrong
        for row in told
        if row.truth is truth
    ]
    axis, bottom = Axis((0.0, _SHARES[-1]), (_LEFT, _WIDTH - _RIGHT)), _TOP + _ROW * len(errors)
    elements = [text(_LEFT, 18, "How often ramps end wrongly, with 95 % intervals; | is the goal")]
    elements += _legend([(told, colours[truth]) for told, truth, _, _ in RATES.values()], 36)
    elements += _grid([(axis.at(share), f"{share:.0%}") for share in _SHARES], bottom)
    for number, error in enumerate(errors):
        y = _TOP + _ROW * number + 12
        low, high = error.rate.ci95
        goal = axis.at(error.goal)
        elements += [
            text(_LEFT - 10, y + 4, error.scenario, anchor="end"),
            line((axis.at(low), y), (axis.at(high), y), error.colour),
            line((goal, y - 6), (goal, y + 6), "#222222"),
            dot(axis.at(error.rate.rate), y, error.colour, hollow=error.rate.rate > _SHARES[-1]),
        ]
    return drawing(_WIDTH, bottom + 30, elements, "Error rates by scenario")


def exposure(rows: Iterable[Beside]) -> str:
    """Candidate requests until the rollback, at equal false rollback on A/A; hollow where most runs had none."""
    shown = [row for row in rows if row.truth is Truth.HARM and row.false_rollback in {0.0, FALSE_ROLLBACKS[0]}]
    gates = list(dict.fromkeys(row.gate for row in shown))
    scenarios = list(dict.fromkeys(row.scenario for row in shown))
    colours = dict(zip(gates, COLOURS, strict=False))
    axis = Axis((_DECADES[0], _DECADES[-1] * 2), (_LEFT, _WIDTH - _RIGHT), log=True)
    top = _TOP + 20
    bottom = top + _ROW * len(scenarios)
    told = f"Candidate requests until rollback, median; rivals set to {FALSE_ROLLBACKS[0]:.0%} false rollback on A/A"
    elements = [text(20, 18, f"{told}; hollow: not in half of the runs")]
    elements += _legend(list(colours.items()), 36)
    elements += _grid([(axis.at(decade), f"{decade:,}") for decade in _DECADES], bottom, top)
    for number, scenario in enumerate(scenarios):
        y = top + _ROW * number + 12
        elements.append(text(_LEFT - 10, y + 4, scenario, anchor="end"))
        for row in reversed(shown):
            if row.scenario == scenario:
                found = row.exposed.median
                place = axis.at(math.inf if found is None else found)
                elements.append(dot(place, y, colours[row.gate], hollow=found is None))
    return drawing(_WIDTH, bottom + 30, elements, "Exposure by gate")


def e_values(paths: Iterable[Path], alpha: float) -> str:
    """log10 of the combined e-value against units, until the rollback."""
    told = list(paths)
    last = max((units for path in told for units, _ in path.points), default=1)
    x, y, bottom = Axis((0, last), (60, _WIDTH - _RIGHT)), Axis((-3.0, 3.0), (370, _TOP + 20)), 370
    limit = y.at(-math.log10(alpha))
    elements = [text(20, 18, "The combined e-value of one run each, looked at with every batch; - - -: rollback")]
    elements += _legend([(path.scenario, colour) for path, colour in zip(told, COLOURS, strict=False)], 36)
    for power in range(-3, 4):
        elements += [
            line((60, y.at(power)), (_WIDTH - _RIGHT, y.at(power))),
            text(54, y.at(power) + 4, f"1e{power}", anchor="end"),
        ]
    elements.append(line((60, limit), (_WIDTH - _RIGHT, limit), "#222222", dashed=True))
    elements.append(text(_WIDTH - _RIGHT, bottom + 18, f"{last:,} units", anchor="end"))
    for path, colour in zip(told, COLOURS, strict=False):
        elements.append(polyline([(x.at(units), y.at(value)) for units, value in path.points], colour))
    return drawing(_WIDTH, bottom + 30, elements, "E-values on their way")


def _legend(entries: Iterable[tuple[str, str]], y: int) -> list[str]:
    elements, x = [], 20
    for words, colour in entries:
        elements += [dot(x, y - 4, colour), text(x + 8, y, words, colour=colour)]
        x += 30 + 6 * len(words)
    return elements


def _grid(places: Iterable[tuple[float, str]], bottom: int, top: int = _TOP) -> list[str]:
    elements = []
    for place, words in places:
        elements += [line((place, top), (place, bottom)), text(place, bottom + 16, words, anchor="middle")]
    return elements
