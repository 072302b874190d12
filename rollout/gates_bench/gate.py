"""The engine as the gate of a whole ramp: at every unit it may roll back, and once a stage has dwelt, promote."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rollout.core.evidence import counts, error_bets, pairwise, rollback, sample_ratio
from rollout.core.evidence.eprocess import LAMBDAS
from rollout.core.evidence.rollback import Combined, HarmValue
from rollout.gates_bench import plan
from rollout.gates_bench.kinds import Growths, counted, error_growths, grown, growths
from rollout.gates_bench.looks import Harm, Proof
from rollout.gates_bench.metrics import HARM, HARM_MARGINS, PROOF, Metrics, proof_margins
from rollout.gates_bench.plan import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rollout.gates_bench.metrics import Taken
    from rollout.gates_bench.traffic import Batch

    Reals = NDArray[np.float64]
    Integers = NDArray[np.int64]

_CLOSE = 1.0 - 1e-9
_WINS = np.array([0.0, 0.5, 1.0])
_LOST_HARM = plan.wins_lost(plan.JUDGE_HARM)
_JUDGE_HARM = grown((pairwise.for_harm(_WINS, _LOST_HARM) / pairwise.harm_fall(_LOST_HARM))[np.newaxis])
_JUDGE_PROOF = grown(
    np.array([pairwise.for_noninferiority(_WINS, plan.wins_lost(stage.judge)) for stage in plan.STAGES])
)


class Look(NamedTuple):
    """What a batch came to: the position at which a rollback was due (None: not) and why; frozen; may be promoted."""

    rolled_back_at: int | None
    reason: str
    frozen: bool
    promote: bool


class _Batch(NamedTuple):
    """Growths of what comes of age with a batch."""

    errors: Growths
    harm: Growths
    judge: Growths
    proof: Growths
    judged: Growths


class EngineGate:
    """The gate of one ramp."""

    def __init__(self, engine: Engine | None = None) -> None:
        self._engine = engine or Engine()
        self._metrics = Metrics()
        bets = len(LAMBDAS)
        self._errors, self._harm, self._judge = Harm(1, len(error_bets.BETS)), Harm(len(HARM), bets), Harm(1, bets)
        self._proof, self._judged = Proof(len(PROOF), bets), Proof(len(plan.STAGES), bets)
        self._weights = np.array([self._engine.weight(name) for name in plan.METRICS])
        self._units: dict[int, list[int]] = {}
        self._batches = 0

    def learn(self, batch: Batch) -> None:
        """Units of the baseline from before the ramp."""
        self._metrics.learn(batch)

    def look(self, batch: Batch, stage: int, *, dwelt: bool = True) -> Look:
        """Take in a batch of `stage` and decide; `dwelt`: whether the stage may be left."""
        self._begin_epochs()
        self._batches += 1
        taken = self._metrics.take(batch, stage)
        grown_by = self._growths(taken, stage)
        at, reason = self._rollback(batch, taken, grown_by)
        promote = at is None and dwelt and self._promote(batch, taken, grown_by, stage)
        self._advance(grown_by)
        frozen = self._mismatch(batch)
        return Look(at, reason, frozen, promote and not frozen)

    def leave_stage(self) -> None:
        """The ramp goes on: errors, form and latency are proved anew, they depend on load. Quality carries over."""
        self._proof.begin()

    def combined(self) -> Combined:
        """What the harm values of all metrics come to now."""
        return self._combined(self.harm_values())

    def harm_values(self) -> Reals:
        """Harm values of METRICS now."""
        return np.concatenate([self._errors.value(), self._harm.value(), self._judge.value()])

    def proof_log_values(self, stage: int) -> list[float]:
        """Log values of REQUIRED now, at the margins of `stage`."""
        return [*self._proof.log_value().tolist(), float(self._judged.log_value()[stage])]

    def _begin_epochs(self) -> None:
        if self._batches and self._batches % self._engine.epoch_batches == 0:
            self._errors.begin_epoch()
            self._harm.begin_epoch()
        if self._batches and self._batches % self._engine.judge_epoch_batches == 0:
            self._judge.begin_epoch()

    def _growths(self, taken: Taken, stage: int) -> _Batch:
        wins = counted([taken.wins], width=len(_WINS))
        return _Batch(
            error_growths(taken.errors, plan.ERROR_HARM),
            growths(taken.harm, HARM_MARGINS, harm=True),
            Growths(_JUDGE_HARM, wins),
            growths(taken.proof, proof_margins(stage), harm=False),
            Growths(_JUDGE_PROOF, wins),
        )

    def _rollback(self, batch: Batch, taken: Taken, grown_by: _Batch) -> tuple[int | None, str]:
        """Where the product's combination of all metrics first reaches 1 / alpha, and the metric that leads it."""
        limit = 1.0 / self._engine.alpha
        if not self._close(self._bounds(grown_by)[:, np.newaxis], limit).any():
            return None, ""
        walked = self._walked(batch, taken, grown_by)
        for at in np.flatnonzero(self._close(walked, limit)).tolist():
            found = self._combined(walked[:, at])
            if found.log_value >= math.log(limit):
                return at, found.leader
        return None, ""

    def _bounds(self, grown_by: _Batch) -> Reals:
        """At least the largest harm value [metrics] in the batch."""
        harms = ((self._errors, grown_by.errors), (self._harm, grown_by.harm), (self._judge, grown_by.judge))
        return np.concatenate([each.bound(growth.rises()) for each, growth in harms])

    def _close(self, values: Reals, limit: float) -> NDArray[np.bool_]:
        """Whether the average of some age reaches the limit, for values [metrics, n]."""
        weighted = self._weights[:, np.newaxis] * values
        close = np.zeros(values.shape[1], np.bool_)
        for age_s in sorted(set(plan.AGES_S.values())):
            own = [plan.AGES_S[name] == age_s for name in plan.METRICS]
            close |= weighted[own].sum(axis=0) >= limit * _CLOSE
        return close

    def _combined(self, values: Reals) -> Combined:
        rows = zip(plan.METRICS, values.tolist(), self._weights.tolist(), strict=True)
        return rollback.combined(
            [HarmValue(name, _log(value), weight, plan.AGES_S[name]) for name, value, weight in rows]
        )

    def _walked(self, batch: Batch, taken: Taken, grown_by: _Batch) -> Reals:
        """Harm values [metrics, n] after each unit of the batch."""
        of_errors = grown_by.errors.of_units(0, taken.errors.kind)
        walks = [(self._errors.walk(0, of_errors), taken.errors.positions)]
        walks += [
            (self._harm.walk(row, grown_by.harm.of_units(row, column.kind)), column.positions)
            for row, column in enumerate(taken.harm)
        ]
        walks.append((self._judge.walk(0, grown_by.judge.of_units(0, taken.wins)), taken.paired))
        return np.array([_at_units(values, positions, len(batch.candidate)) for values, positions in walks])

    def _promote(self, batch: Batch, taken: Taken, grown_by: _Batch, stage: int) -> bool:
        """Whether after some unit all that is required was proven, and nothing of it warned."""
        engine = self._engine
        limits = -np.log([engine.judge_alpha if name == "judge" else engine.alpha for name in plan.REQUIRED])
        bounds = (*self._proof.bound(grown_by.proof.rises()), self._judged.bound(grown_by.judged.rises())[stage])
        if (np.array(bounds) < limits).any():
            return False
        walks = [
            (self._proof.walk(row, grown_by.proof.of_units(row, column.kind)), column.positions)
            for row, column in enumerate(taken.proof)
        ]
        walks.append((self._judged.walk(stage, grown_by.judged.of_units(stage, taken.wins)), taken.paired))
        proven = np.array([_at_units(values, positions, len(batch.candidate)) for values, positions in walks])
        required = [name in plan.REQUIRED for name in plan.METRICS]
        quiet = self._walked(batch, taken, grown_by)[required] < engine.warn
        return bool(((proven >= limits[:, np.newaxis]) & quiet).all(axis=0).any())

    def _advance(self, grown_by: _Batch) -> None:
        self._errors.advance(grown_by.errors.totals())
        self._harm.advance(grown_by.harm.totals())
        self._judge.advance(grown_by.judge.totals())
        self._proof.advance(grown_by.proof.totals())
        self._judged.advance(grown_by.judged.totals())

    def _mismatch(self, batch: Batch) -> bool:
        """Whether the arms' sizes contradict the share."""
        candidates = int((batch.candidate & batch.reported).sum())
        of_share = self._units.setdefault(batch.share_millipct, [0, 0])
        of_share[0] += candidates
        of_share[1] += int(batch.reported.sum()) - candidates
        rows = ((share, *both) for share, both in sorted(self._units.items()))
        return sample_ratio.mismatch(counts.ArmCounts(tuple((share, one, other) for share, one, other in rows)))


def _at_units(values: Reals, positions: Integers, units: int) -> Reals:
    """Values before and after each of `positions`, as what they are after each of `units` units."""
    at_units: Reals = values[np.searchsorted(positions, np.arange(units), side="right")]
    return at_units


def _log(value: float) -> float:
    return math.log(min(value, 1e300)) if value > 0.0 else -690.0
