"""What the metrics of a ramp see of each batch, as columns of kinds: predictions, yardsticks and ages are theirs."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rollout.core.evidence import quantile
from rollout.core.evidence.quantile import EDGES_S, LatencyCounts
from rollout.core.evidence.score import RunningMean
from rollout.gates_bench import plan
from rollout.gates_bench.kinds import LEFT_OUT, OUTCOMES, Column, kind_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rollout.gates_bench.plan import Quantile
    from rollout.gates_bench.traffic import Batch

    Reals = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Integers = NDArray[np.int64]

HARM = plan.METRICS[1:-1]
HARM_MARGINS = (plan.FORM_HARM, *(0.0 for _ in plan.LATENCIES), plan.THUMBS_HARM)
"""Scores that are watched; the margin of latency is in the outcome."""
PROOF = plan.REQUIRED[:-1]
"""Scores that are to be proven at each stage."""
_STEPS_PER_OUTCOME = 1 << 32
_NOTHING = np.zeros(0, np.int64)
_NOT_YET = Column(_NOTHING, _NOTHING, 50_000, 0.5)


class Taken(NamedTuple):
    """What comes of age with a batch. `wins`: 0, 1 or 2 halves for each pair."""

    errors: Column
    harm: list[Column]
    proof: list[Column]
    wins: Integers
    paired: Integers


class Series:
    """Outcomes of one kind and the prediction of the next: the mean of those before."""

    def __init__(self, prior: float) -> None:
        self._mean = RunningMean(prior)

    def column(self, batch: Batch, positions: Integers, outcome: Integers) -> Column:
        """Units at `positions` of a batch; `outcome`: 0, 1 or LEFT_OUT."""
        column = Column(kind_of(batch.candidate[positions], outcome), positions, batch.share_millipct, self._mean.value)
        bad, good = np.bincount(outcome, minlength=OUTCOMES)[:LEFT_OUT].tolist()
        steps = self._mean.steps + good * _STEPS_PER_OUTCOME
        self._mean = RunningMean(self._mean.prior, steps, self._mean.count + bad + good)
        return column


class Yardstick:
    """The baseline's rolling quantiles of one part of latency, from the batches before."""

    def __init__(self) -> None:
        self._windows: deque[Integers] = deque()
        self._total = np.zeros(len(EDGES_S) + 1, np.int64)

    def quantile_s(self, wanted: float) -> float | None:
        """None until there is enough to tell."""
        buckets = np.flatnonzero(self._total)
        counts = LatencyCounts(tuple(zip(buckets.tolist(), self._total[buckets].tolist(), strict=True)))
        return quantile.yardstick_s(counts, wanted, plan.YARDSTICK_COUNT_MIN)

    def learn(self, latency_s: Reals) -> None:
        """Add a batch of the baseline's."""
        self._windows.append(np.bincount(np.searchsorted(EDGES_S, latency_s), minlength=len(EDGES_S) + 1))
        self._total += self._windows[-1]
        if len(self._windows) > plan.YARDSTICK_BATCHES:
            self._total -= self._windows.popleft()


class Latency:
    """A quantile with a series for each of its margins."""

    def __init__(self, compared: Quantile, yardstick: Yardstick) -> None:
        self.compared = compared
        self._yardstick = yardstick
        self._series: dict[float, Series] = {}

    def columns(self, batch: Batch, seen: Integers, margins: list[float]) -> list[Column]:
        """One for each margin; empty ones before there is a yardstick."""
        latency_s: Reals = getattr(batch, self.compared.column)[seen]
        yardstick_s = self._yardstick.quantile_s(self.compared.quantile)
        if yardstick_s is None:
            return [_NOT_YET] * len(margins)
        yardsticks_s = np.full(len(seen), yardstick_s)
        return [self._column(batch, seen, latency_s, yardsticks_s, margin) for margin in margins]

    def _column(self, batch: Batch, seen: Integers, latency_s: Reals, yardsticks_s: Reals, margin: float) -> Column:
        within = quantile.within(latency_s, batch.candidate[seen], yardsticks_s, margin).astype(np.int64)
        return self._series.setdefault(margin, Series(self.compared.quantile)).column(batch, seen, within)


class Metrics:
    """All metrics of one ramp."""

    def __init__(self) -> None:
        self._errors, self._form, self._thumbs = Series(0.99), Series(0.99), Series(0.7)
        self._yardsticks = {compared.column: Yardstick() for compared in plan.LATENCIES}
        self._latencies = [Latency(compared, self._yardsticks[compared.column]) for compared in plan.LATENCIES]
        self._rated: deque[Column] = deque([_NOT_YET] * plan.FEEDBACK_BATCHES)

    def learn(self, batch: Batch) -> None:
        """What the baseline did; once before the ramp, so that yardsticks are known at its start."""
        of_baseline = batch.reported & ~batch.candidate
        for column, yardstick in self._yardsticks.items():
            yardstick.learn(getattr(batch, column)[of_baseline])

    def take(self, batch: Batch, stage: int) -> Taken:
        """Take a batch in; what of it, or of those before, comes of age."""
        seen = np.flatnonzero(batch.reported)
        errors = self._errors.column(batch, seen, (~batch.failed[seen]).astype(np.int64))
        form = self._form.column(batch, seen, batch.good_form[seen].astype(np.int64))
        harm, proof = [form], [errors, form]
        for latency in self._latencies:
            proven = [plan.STAGES[stage].latency] if latency.compared.required else []
            watched, *own = latency.columns(batch, seen, [plan.LATENCY_HARM, *proven])
            harm.append(watched)
            proof += own
        self.learn(batch)
        self._rated.append(self._thumbs.column(batch, seen, batch.vote[seen]))
        harm.append(self._rated.popleft())
        return Taken(errors, harm, proof, *judged(batch))


def proof_margins(stage: int) -> tuple[float, ...]:
    """Of PROOF; the margin of latency is in the outcome."""
    return plan.STAGES[stage].error, plan.STAGES[stage].form, 0.0, 0.0


def judged(batch: Batch) -> tuple[Integers, Integers]:
    """Wins of the candidate in halves, and the positions of the pairs: a judge sees no small difference."""
    difference = batch.candidate_quality - batch.baseline_quality
    reported = batch.reported[batch.paired]
    wins = 1 + (difference > plan.TIE).astype(np.int64) - (difference < -plan.TIE)
    return wins[reported], batch.paired[reported]
