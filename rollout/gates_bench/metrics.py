"""The metrics of a ramp on the engine: each takes batches in and tells its harm value after every unit."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from rollout.core.evidence import counts, eprocess, quantile, score
from rollout.core.evidence.eprocess import LAMBDAS, NOTHING
from rollout.core.evidence.score import RunningMean, Scores, Units
from rollout.gates_bench import plan
from rollout.gates_bench.looks import RestartPath, bet_growths, error_growths
from rollout.gates_bench.traffic import BASE_ERROR_RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rollout.gates_bench.plan import Named, Quantile
    from rollout.gates_bench.traffic import Batch

    Reals = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_EVEN_SHARE = 50_000


class Path(NamedTuple):
    """Harm values after the units at `positions` of a batch."""

    positions: NDArray[np.int64]
    values: Reals


class Metric(Protocol):
    """What the gate knows of a metric."""

    named: Named

    def look(self, batch: Batch, stage: int, *, new_epoch: bool) -> Path:
        """Take a batch in."""
        ...

    def noninferiority_log_value(self, stage: int) -> float | None:
        """Log E against being worse by the margin of `stage`; None if no promotion asks for it."""
        ...

    def leave_stage(self) -> None:
        """What has to be proved anew starts afresh."""
        ...


class Scored:
    """A score with its prediction and its harm path; enters `named.age` batches after its draw."""

    def __init__(self, named: Named, harm_margin: float, prior: float) -> None:
        self.named = named
        self._margin = harm_margin
        self._mean = RunningMean(prior)
        self._harm = RestartPath(len(LAMBDAS))
        nothing = (np.zeros(0, np.int64), Scores(np.zeros(0), np.zeros(0)))
        self._waiting: deque[tuple[NDArray[np.int64], Scores]] = deque([nothing] * named.age)

    def scores(self, share_millipct: int, candidate: Flags, outcome: Reals, *, learn: bool = True) -> Scores:
        """Score outcomes with what was known before them."""
        predicted = np.full(len(outcome), self._mean.value)
        if learn:
            self._mean = self._mean.after(outcome)
        return score.score(Units(np.full(len(outcome), share_millipct), candidate, outcome, predicted))

    def enter(self, positions: NDArray[np.int64], scores: Scores, *, new_epoch: bool) -> tuple[Path, Scores]:
        """Queue a batch; the path of the one that is old enough, and its scores."""
        self._waiting.append((positions, scores))
        positions, scores = self._waiting.popleft()
        if new_epoch:
            self._harm.begin_epoch()
        return Path(positions, self._harm.values(bet_growths(score.for_harm(scores, self._margin)))), scores


class Observed:
    """A score of every unit that is watched for harm and asked for by no promotion."""

    def __init__(self, named: Named, harm_margin: float, prior: float, column: str) -> None:
        self.named = named
        self._column = column
        self._scored = Scored(named, harm_margin, prior)

    def look(self, batch: Batch, _stage: int, *, new_epoch: bool) -> Path:
        """Take a batch in."""
        seen = np.flatnonzero(batch.reported)
        outcome: Reals = getattr(batch, self._column)[seen].astype(float)
        scores = self._scored.scores(batch.share_millipct, batch.candidate[seen], outcome)
        return self._scored.enter(seen, scores, new_epoch=new_epoch)[0]

    def noninferiority_log_value(self, _stage: int) -> float | None:
        """None."""
        return None

    def leave_stage(self) -> None:
        """Nothing to prove."""


class Judged:
    """A judge's scores: of every candidate answer and of as many of the baseline's, so the share among them is even."""

    def __init__(self, random: np.random.Generator) -> None:
        self.named = plan.JUDGE
        self._random = random
        self._scored = Scored(plan.JUDGE, plan.JUDGE_HARM, 0.7)
        self._sums = (NOTHING,) * len(plan.STAGES)

    def look(self, batch: Batch, _stage: int, *, new_epoch: bool) -> Path:
        """Take a batch in; evidence at the margins of all stages."""
        judged = self.judged(batch)
        fresh = self._scored.scores(_EVEN_SHARE, batch.candidate[judged], batch.quality[judged])
        path, scores = self._scored.enter(judged, fresh, new_epoch=new_epoch)
        bets = np.array([score.for_noninferiority(scores, stage.judge) for stage in plan.STAGES])
        self._sums = tuple(map(eprocess.add, self._sums, eprocess.log_sums_of_each(bets)))
        return path

    def judged(self, batch: Batch) -> NDArray[np.int64]:
        """Which answers the judge is shown."""
        share = batch.share_millipct / 100_000
        drawn = self._random.random(len(batch.candidate)) < share / (1.0 - share)
        return np.flatnonzero(batch.reported & (batch.candidate | drawn))

    def noninferiority_log_value(self, stage: int) -> float | None:
        """Of the whole ramp: quality carries over."""
        return eprocess.log_value(self._sums[stage])

    def leave_stage(self) -> None:
        """Quality carries over."""


class Errors:
    """Failures of the assigned arm: harm is a ratio that is more than the difference allowed, too.

    The baseline's rate is known from before the ramp, then from the epochs that are over.
    """

    def __init__(self) -> None:
        self.named = plan.ERRORS
        self._scored = Scored(plan.ERRORS, plan.ERROR_HARM, 0.99)
        self._baseline_units = plan.UNITS_BEFORE
        self._baseline_errors = round(plan.UNITS_BEFORE * BASE_ERROR_RATE)
        self._allowed = self._allowed_ratio()
        self._ratio = RestartPath(len(counts.LOG_RATIOS))
        self._counts = counts.ArmCounts()
        self._sums = NOTHING

    def look(self, batch: Batch, stage: int, *, new_epoch: bool) -> Path:
        """Take a batch in."""
        seen = np.flatnonzero(batch.reported)
        candidate, failed = batch.candidate[seen], batch.failed[seen]
        scores = self._scored.scores(batch.share_millipct, candidate, (~failed).astype(float))
        bets = score.for_noninferiority(scores, plan.STAGES[stage].error)
        self._sums = eprocess.add(self._sums, eprocess.log_sums(bets))
        events = np.full(int(failed.sum()), batch.share_millipct)
        self._counts = counts.add(self._counts, counts.counted(events, candidate[failed]))
        if new_epoch:
            self._ratio.begin_epoch()
            self._allowed = self._allowed_ratio()
        self._baseline_units += int((~candidate).sum())
        self._baseline_errors += int(failed[~candidate].sum())
        growths = error_growths(batch.share_millipct, candidate, failed, self._allowed)
        return Path(seen, self._ratio.values(growths))

    def _allowed_ratio(self) -> float:
        return counts.allowed_ratio(self._baseline_errors, self._baseline_units, plan.ERROR_RATIO_HARM, plan.ERROR_HARM)

    def noninferiority_log_value(self, stage: int) -> float | None:
        """Of this stage. Worse means by ratio and by difference: the mean of both values is one against that."""
        by_ratio = counts.noninferiority_log_value(self._counts, plan.STAGES[stage].error_ratio)
        return eprocess.log_mean_exp([by_ratio, eprocess.log_value(self._sums)])

    def leave_stage(self) -> None:
        """Proved anew: errors depend on load."""
        self._counts = counts.ArmCounts()
        self._sums = NOTHING


class Latency:
    """A latency quantile against the baseline's rolling one, known before the batch."""

    def __init__(self, compared: Quantile) -> None:
        self.named = compared.metric
        self._compared = compared
        self._scored = Scored(compared.metric, 0.0, compared.quantile)
        self._windows: deque[quantile.LatencyCounts] = deque(maxlen=plan.YARDSTICK_BATCHES)
        self._sums = NOTHING

    def look(self, batch: Batch, stage: int, *, new_epoch: bool) -> Path:
        """Take a batch in."""
        seen = np.flatnonzero(batch.reported)
        candidate = batch.candidate[seen]
        latency_s: Reals = getattr(batch, self._compared.column)[seen]
        window = quantile.add(self._windows)
        self._windows.append(quantile.counted(latency_s[~candidate]))
        yardstick_s = quantile.yardstick_s(window, self._compared.quantile, plan.YARDSTICK_COUNT_MIN)
        if yardstick_s is None:
            seen, candidate, latency_s, yardstick_s = seen[:0], candidate[:0], latency_s[:0], 1.0
        yardsticks_s = np.full(len(latency_s), yardstick_s)
        if self._compared.required:
            within = quantile.within(latency_s, candidate, yardsticks_s, plan.STAGES[stage].latency)
            scores = self._scored.scores(batch.share_millipct, candidate, within, learn=False)
            self._sums = eprocess.add(self._sums, eprocess.log_sums(score.for_noninferiority(scores, 0.0)))
        within = quantile.within(latency_s, candidate, yardsticks_s, plan.LATENCY_HARM)
        scores = self._scored.scores(batch.share_millipct, candidate, within)
        return self._scored.enter(seen, scores, new_epoch=new_epoch)[0]

    def noninferiority_log_value(self, _stage: int) -> float | None:
        """Of this stage, at its margin."""
        return eprocess.log_value(self._sums) if self._compared.required else None

    def leave_stage(self) -> None:
        """Proved anew: latency depends on load."""
        self._sums = NOTHING
