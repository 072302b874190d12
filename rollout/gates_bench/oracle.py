"""Who knows the effect, its size and the metric that shows it best: Wald's test of that effect against the margin.

On the same outcomes as the engine: failed, well formed, beyond the yardstick of the gate, wins of pairs.
What an engine takes longer than this is the price of not knowing, and of looking at eight metrics with one level.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from rollout.gates_bench import plan
from rollout.gates_bench.metrics import judged
from rollout.gates_bench.scenarios import Truth
from rollout.gates_bench.traffic import BASE_BAD_FORM, BASE_ERROR_RATE, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rollout.gates_bench.scenarios import Scenario
    from rollout.gates_bench.traffic import Batch

_EVEN = 50_000
_CENSUS = 400_000
_UNITS_MAX = 1_000_000
_CENSUS_SEED = 77


class Knowledge(NamedTuple):
    """What is looked at, `column` of a batch (pairs for quality), and how likely its outcomes 0, 1... are.

    `yardstick_s`: for latency, the true one, margin included; outcome 1 is beyond it.
    """

    column: str
    true: tuple[float, ...]
    null: tuple[float, ...]
    yardstick_s: float = math.inf

    @property
    def information(self) -> float:
        """Of one unit: the divergence of what is true from the margin."""
        return sum(p * math.log(p / q) for p, q in zip(self.true, self.null, strict=True))


def has_oracle(scenario: Scenario) -> bool:
    """Whether there is one effect, there from the start and at every share."""
    lasting = not (scenario.onset_stage or scenario.onset_unit or scenario.drift or scenario.coupling)
    return scenario.truth is Truth.HARM and lasting


@lru_cache(maxsize=64)
def knowledge(scenario: Scenario) -> Knowledge:
    """What the oracle of a scenario knows; the most telling metric if several show the effect."""
    if scenario.quality:
        return Knowledge("pairs", _wins(scenario.quality), _wins(-plan.JUDGE_HARM))
    if scenario.bad_form:
        return Knowledge("good_form", _rate(BASE_BAD_FORM + scenario.bad_form), _rate(BASE_BAD_FORM + plan.FORM_HARM))
    if scenario.slowdown > 1.0:
        return max(_latencies(scenario), key=lambda known: known.information)
    true = BASE_ERROR_RATE * (1.0 + scenario.route_share * (scenario.error_ratio - 1.0))
    return Knowledge("failed", _rate(true), _rate(BASE_ERROR_RATE + plan.ERROR_HARM))


def stopped_at(scenario: Scenario, seed: int, alpha: float) -> int | None:
    """Candidate units (pairs for quality) until harm is proven; None if it takes too many."""
    known, world = knowledge(scenario), World(scenario, seed)
    ratios = np.log(np.array(known.true) / np.array(known.null))
    value, seen = 0.0, 0
    for unit in range(0, _UNITS_MAX, plan.BATCH_UNITS):
        outcomes = _outcomes(world.batch(plan.BATCH_UNITS, unit, 0, 0, _EVEN), known)
        values = value + ratios[outcomes].cumsum()
        reached = np.flatnonzero(values >= -math.log(alpha))
        if len(reached):
            return seen + int(reached[0]) + 1
        value, seen = float(values[-1]), seen + len(values)
    return None


def _outcomes(batch: Batch, known: Knowledge) -> NDArray[np.int64]:
    if known.column == "pairs":
        return judged(batch)[0]
    values: NDArray[np.float64] = getattr(batch, known.column)[batch.candidate]
    if known.column == "good_form":
        return 1 - values.astype(np.int64)
    return (values > known.yardstick_s if known.yardstick_s < math.inf else values).astype(np.int64)


def _latencies(scenario: Scenario) -> Sequence[Knowledge]:
    """By a census of very many units."""
    independent = msgspec.structs.replace(scenario, icc=0.0, wave=0.0)
    batch = World(independent, _CENSUS_SEED).batch(_CENSUS, 0, 0, 0, _EVEN)
    found = []
    for compared in plan.LATENCIES:
        latency_s = getattr(batch, compared.column)
        own_s = float(np.quantile(latency_s[~batch.candidate], compared.quantile, method="lower"))
        allowed_s = (1.0 + plan.LATENCY_HARM) * own_s
        beyond = float((latency_s[batch.candidate] > allowed_s).mean())
        found.append(Knowledge(compared.column, _rate(beyond), _rate(1.0 - compared.quantile), allowed_s))
    return found


def _rate(of_one: float) -> tuple[float, float]:
    return 1.0 - of_one, of_one


def _wins(quality: float) -> tuple[float, float, float]:
    """How likely a candidate loses, ties and wins."""
    lost, spread = plan.normal((-plan.TIE - quality) / plan.PAIR_SPREAD), plan.PAIR_SPREAD
    won = 1.0 - plan.normal((plan.TIE - quality) / spread)
    return lost, 1.0 - lost - won, won
