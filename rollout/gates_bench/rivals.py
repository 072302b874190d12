"""What others use as gates, on the same traffic, to be compared at equal false alarms.

Each rival gives a severity at every look; it rolls back once the severity passes its threshold. The threshold is not
taken from anybody's default: it is set where A/A runs give the rate of false rollbacks that is asked for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rollout.gates_bench import plan
from rollout.gates_bench.ramp import begun
from rollout.gates_bench.traffic import BASE_ERROR_RATE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from rollout.gates_bench.plan import Engine
    from rollout.gates_bench.scenarios import Scenario
    from rollout.gates_bench.traffic import Batch

ENGINE = "engine"
STAGE_BATCHES = 6
WINDOW_LOOKS = 10
KNOWN_P95_S = 1.65
"""The baseline's p95 of the first content, as somebody would have read it off a dashboard beforehand."""
_ERROR_SCALE = 3.0
_IN_A_ROW = 3


class Point(NamedTuple):
    """What one look shows of an arm: units, failed, p95 of the first content; answers scored, mean, variance."""

    units: int
    failed: int
    p95_s: float
    scored: int
    quality: float
    variance: float


class Points(NamedTuple):
    """Both arms at one look."""

    candidate: Point
    baseline: Point


class High(NamedTuple):
    """A severity above all before it, and the candidate units served since harm began."""

    severity: float
    exposed: int


def paced(scenario: Scenario, seed: int, engine: Engine | None = None) -> dict[str, list[High]]:
    """A ramp by the clock alone: the highs of every rival, and of the engine (its severity is 1 at a rollback)."""
    world, gate = begun(scenario, seed, engine)
    highs: dict[str, list[High]] = {name: [] for name in (*RIVALS, ENGINE)}
    looks: list[Points] = []
    units = exposed = 0
    for stage, limits in enumerate(plan.STAGES):
        for number in range(STAGE_BATCHES):
            batch = world.batch(plan.BATCH_UNITS, units, stage, number * plan.BATCH_UNITS, limits.share_millipct)
            units += plan.BATCH_UNITS
            harmed = batch.harmed & batch.candidate
            at = None if highs[ENGINE] else gate.look(batch, stage, dwelt=False).rolled_back_at
            if at is not None:
                waited = round(plan.AGE_UNITS * limits.share_millipct / 100_000)
                _note(highs[ENGINE], High(1.0, exposed + int(harmed[: at + 1].sum()) + waited))
            for start in range(0, plan.BATCH_UNITS, plan.LOOK_UNITS):
                exposed += int(harmed[start : start + plan.LOOK_UNITS].sum())
                looks.append(_points(batch, slice(start, start + plan.LOOK_UNITS)))
                for name, severity in RIVALS.items():
                    _note(highs[name], High(severity(looks), exposed))
        gate.leave_stage()
    return highs


def threshold(runs: Sequence[dict[str, list[High]]], rival: str, false_rate: float) -> float:
    """The severity that at most `false_rate` of A/A runs pass."""
    peaks = sorted((max((high.severity for high in run[rival]), default=0.0) for run in runs), reverse=True)
    return peaks[min(len(peaks) - 1, math.floor(false_rate * len(peaks)))]


def exposed_until(run: Sequence[High], limit: float) -> int | None:
    """Candidate units until the severity passed `limit`; None if it never did."""
    return next((high.exposed for high in run if high.severity > limit), None)


def _note(highs: list[High], high: High) -> None:
    if not highs or high.severity > highs[-1].severity:
        highs.append(high)


def _points(batch: Batch, when: slice) -> Points:
    """What a dashboard shows: failures that callers saw, p95 of the answers that came, quality of judged answers."""
    judged = (batch.paired >= when.start) & (batch.paired < when.stop)
    return Points(
        _point(batch, when, batch.candidate[when], batch.candidate_quality[judged]),
        _point(batch, when, ~batch.candidate[when], batch.baseline_quality[judged]),
    )


def _point(batch: Batch, when: slice, arm: NDArray[np.bool_], quality: NDArray[np.float64]) -> Point:
    seen = arm & batch.reported[when]
    ttft_s = batch.ttft_s[when][seen & ~batch.failed[when]]
    p95_s = float(np.quantile(ttft_s, 0.95, method="lower")) if len(ttft_s) else KNOWN_P95_S
    scored = (len(quality), float(quality.mean()), float(quality.var())) if len(quality) else (0, 0.0, 0.0)
    return Point(int(seen.sum()), int(batch.visible[when][seen].sum()), p95_s, *scored)


def _absolute(looks: Sequence[Points]) -> float:
    """Three looks in a row above fixed limits, as an Argo analysis with constants."""
    return _lasting([_excess(each.candidate, KNOWN_P95_S, BASE_ERROR_RATE) for each in looks])


def _relative(looks: Sequence[Points]) -> float:
    """Three looks in a row above multiples of the baseline's values."""
    return _lasting(
        [_excess(each.candidate, each.baseline.p95_s, max(_rate(each.baseline), 1e-3)) for each in looks[-_IN_A_ROW:]]
    )


def _cumulative(looks: Sequence[Points]) -> float:
    """How many looks failed so far, as Flagger counts them: p95 over 1.3 times or errors over 3 % are a failure."""
    return float(sum(_excess(each.candidate, 1.3 * KNOWN_P95_S, BASE_ERROR_RATE) > 1.0 for each in looks))


def _mann_whitney(looks: Sequence[Points]) -> float:
    """The largest z of the rank test over the points of the last looks, as Kayenta compares time series."""
    window = looks[-WINDOW_LOOKS:]
    if len(window) < _IN_A_ROW:
        return 0.0
    of_p95 = _rank_z([each.candidate.p95_s for each in window], [each.baseline.p95_s for each in window])
    of_errors = _rank_z([_rate(each.candidate) for each in window], [_rate(each.baseline) for each in window])
    of_quality = _rank_z([each.baseline.quality for each in window], [each.candidate.quality for each in window])
    return max(of_p95, of_errors, of_quality)


def _peeking(looks: Sequence[Points]) -> float:
    """The largest z of the pooled difference in errors and in quality, tested anew at every look."""
    totals = [
        (
            sum(point.units for point in arm),
            sum(point.failed for point in arm),
            sum(point.scored for point in arm),
            sum(point.scored * point.quality for point in arm),
            sum(point.scored * point.variance for point in arm),
        )
        for arm in zip(*looks, strict=True)
    ]
    (n, failed, scored, quality, variance), (m, other_failed, other_scored, other_quality, other_variance) = totals
    if not n or not m:
        return 0.0
    pooled = (failed + other_failed) / (n + m)
    of_errors = (failed / n - other_failed / m) / math.sqrt(max(pooled * (1 - pooled), 1e-9) * (1 / n + 1 / m))
    if not scored or not other_scored:
        return float(of_errors)
    spread = math.sqrt(max(variance / scored**2 + other_variance / other_scored**2, 1e-12))
    return float(max(of_errors, (other_quality / other_scored - quality / scored) / spread))


RIVALS: dict[str, Callable[[Sequence[Points]], float]] = {
    "absolute, 3 in a row": _absolute,
    "relative, 3 in a row": _relative,
    "cumulative failures": _cumulative,
    "Mann-Whitney": _mann_whitney,
    "peeking z-test": _peeking,
}


def _excess(point: Point, p95_s: float, error_rate: float) -> float:
    """How many times the limits are passed, the worse of both."""
    return max(point.p95_s / p95_s, _rate(point) / (_ERROR_SCALE * error_rate))


def _lasting(excesses: Sequence[float]) -> float:
    return min(excesses[-_IN_A_ROW:]) if len(excesses) >= _IN_A_ROW else 0.0


def _rate(point: Point) -> float:
    return point.failed / point.units if point.units else 0.0


def _rank_z(high: Sequence[float], low: Sequence[float]) -> float:
    """Z of the Mann-Whitney statistic for `high` being larger."""
    n, m = len(high), len(low)
    a, b = np.array(high)[:, np.newaxis], np.array(low)
    wins = float((a > b).sum() + (a == b).sum() / 2)
    return (wins - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
