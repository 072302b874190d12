"""From runs to rates and quantiles with intervals: one row for each scenario, and for each gate beside the engine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from rollout.core.proportion import wilson
from rollout.gates_bench import plan
from rollout.gates_bench.scenarios import Scenario, Truth

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rollout.gates_bench.ramp import Run

_Z95 = 1.959963984540054
_RESAMPLES = 1_000
_RESAMPLES_SEED = 1
ENDS = ("rolled_back", "completed", "held", "frozen")


class Rate(msgspec.Struct, frozen=True):
    """A proportion of runs with its 95 % Wilson interval."""

    rate: float
    ci95: tuple[float, float]
    hits: int
    runs: int


class Median(msgspec.Struct, frozen=True):
    """Median and 90 % quantile over all runs, None where so many never got there; interval of the median by ranks."""

    median: float | None
    ci95: tuple[float | None, float | None]
    q90: float | None


class Row(msgspec.Struct, frozen=True):
    """One scenario.

    `minutes`: of the ramp as a whole. For harm: `exposed`, `decisive`: candidate units since it began until the ramp
    was stopped, until the unit that decided; `scored`: answers judged until then; `delay_minutes`: from the onset to
    the stop. `fresh_*`: of a test that begins with the harm; `oracle`: candidate units or answers of one who knows the
    effect, to be compared with `decisive` or `scored`: `regret`. `late_ci95`: of the ratio of both medians of delays.
    """

    scenario: str
    truth: Truth
    rolled_back: Rate
    completed: Rate
    held: Rate
    frozen: Rate
    reasons: dict[str, int]
    minutes: Median
    exposed: Median | None = None
    decisive: Median | None = None
    scored: Median | None = None
    delay_minutes: Median | None = None
    fresh_decisive: Median | None = None
    fresh_delay_minutes: Median | None = None
    late_ci95: tuple[float | None, float | None] | None = None
    oracle: Median | None = None
    regret: float | None = None


class Beside(msgspec.Struct, frozen=True):
    """One gate on one scenario, on ramps by the clock, its threshold set for `false_rollback` on plain A/A runs."""

    scenario: str
    truth: Truth
    gate: str
    false_rollback: float
    rolled_back: Rate
    exposed: Median


def rate(hits: int, runs: int) -> Rate:
    """The rate of `hits` among `runs` (at least one)."""
    return Rate(hits / runs, wilson(hits, runs), hits, runs)


def median(values: Sequence[float | None]) -> Median:
    """Of at least one value; None is larger than all."""
    ordered = sorted(math.inf if value is None else value for value in values)
    last, half = len(ordered) - 1, len(ordered) / 2
    spread = _Z95 * math.sqrt(len(ordered)) / 2
    ranks = (last / 2, half - spread, half + spread, 0.9 * last)
    middle, low, high, q90 = (_finite(ordered[min(last, max(0, round(rank)))]) for rank in ranks)
    return Median(middle, (low, high), q90)


def ratio_ci95(above: Sequence[float | None], below: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Of the ratio of two medians, by resampling the runs of each (fixed seed); None is larger than all.

    As if both were independent: where they share seeds that is too wide rather than too narrow.
    """
    random = np.random.default_rng(_RESAMPLES_SEED)
    over, under = _medians(above, random), _medians(below, random)
    known = np.isfinite(over) & (under > 0.0) & np.isfinite(under)
    ratios = np.full(_RESAMPLES, np.inf)
    ratios[known] = over[known] / under[known]
    low, high = (float(np.sort(ratios)[round(part * (_RESAMPLES - 1))]) for part in (0.025, 0.975))
    return _finite(low), _finite(high)


def row(scenario: Scenario, runs: Sequence[Run], fresh: Sequence[Run] = (), oracle: Sequence[int | None] = ()) -> Row:
    """Sum up the runs of one scenario."""
    ends = [each.end for each in runs]
    reasons = [each.reason for each in runs if each.reason]
    found = Row(
        scenario=scenario.name,
        truth=scenario.truth,
        rolled_back=rate(ends.count("rolled_back"), len(runs)),
        completed=rate(ends.count("completed"), len(runs)),
        held=rate(ends.count("held"), len(runs)),
        frozen=rate(ends.count("frozen"), len(runs)),
        reasons={reason: reasons.count(reason) for reason in sorted(set(reasons))},
        minutes=median([_minutes(each.units) if each.end in {"completed", "rolled_back"} else None for each in runs]),
    )
    if scenario.truth is not Truth.HARM:
        return found
    found = msgspec.structs.replace(
        found,
        exposed=_of_caught(runs, "exposed"),
        decisive=_of_caught(runs, "decisive"),
        scored=_of_caught(runs, "scored"),
        delay_minutes=_of_caught(runs, "delay_minutes"),
    )
    if fresh:
        found = msgspec.structs.replace(
            found,
            fresh_decisive=_of_caught(fresh, "decisive"),
            fresh_delay_minutes=_of_caught(fresh, "delay_minutes"),
            late_ci95=ratio_ci95(_caught(runs, "delay_minutes"), _caught(fresh, "delay_minutes")),
        )
    return _with_oracle(found, scenario, oracle) if oracle else found


def beside(scenario: Scenario, gate: str, false_rollback: float, exposed: Sequence[int | None]) -> Beside:
    """Sum up the ramps of one gate; None in `exposed`: it did not roll back."""
    caught = sum(each is not None for each in exposed)
    return Beside(scenario.name, scenario.truth, gate, false_rollback, rate(caught, len(exposed)), median(exposed))


def _with_oracle(found: Row, scenario: Scenario, oracle: Sequence[int | None]) -> Row:
    """Pairs are two answers each."""
    answers = 2 if scenario.quality else 1
    of_oracle = median([None if each is None else answers * each for each in oracle])
    own = found.scored if scenario.quality else found.decisive
    regret = None
    if own is not None and own.median is not None and of_oracle.median:
        regret = own.median / of_oracle.median
    return msgspec.structs.replace(found, oracle=of_oracle, regret=regret)


def _of_caught(runs: Sequence[Run], field: str) -> Median:
    """Who was never rolled back is worse than all who were."""
    return median(_caught(runs, field))


def _caught(runs: Sequence[Run], field: str) -> list[float | None]:
    return [getattr(each, field) if each.end == "rolled_back" else None for each in runs]


def _medians(values: Sequence[float | None], random: np.random.Generator) -> NDArray[np.float64]:
    """The median, as `median` takes it, of each resample."""
    ordered = np.sort(np.array([math.inf if value is None else value for value in values]))
    rank = round((len(ordered) - 1) / 2)
    drawn = random.integers(0, len(ordered), (_RESAMPLES, len(ordered)))
    medians: NDArray[np.float64] = ordered[np.partition(drawn, rank, axis=1)[:, rank]]
    return medians


def _minutes(units: int) -> float:
    return units / plan.REQUESTS_PER_S / 60


def _finite(value: float) -> float | None:
    return value if value < math.inf else None
