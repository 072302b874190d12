"""The engine as the gate of a whole ramp: harm is looked at with every unit, a promotion at the end of every batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rollout.core.evidence import counts, sample_ratio
from rollout.gates_bench import plan
from rollout.gates_bench.metrics import Errors, Judged, Latency, Metric, Observed, Path

if TYPE_CHECKING:
    from rollout.gates_bench.traffic import Batch


class Look(NamedTuple):
    """What a batch came to: the position at which a rollback was due (None: not) and why; frozen; may be promoted."""

    rolled_back_at: int | None
    reason: str
    frozen: bool
    promote: bool


class EngineGate:
    """The gate of one ramp; `seed` draws which answers of the baseline are judged."""

    def __init__(self, seed: int) -> None:
        self.metrics: list[Metric] = [
            Errors(),
            *(Latency(compared) for compared in plan.LATENCIES),
            Observed(plan.FORM, plan.FORM_HARM, 0.99, "good_form"),
            Judged(np.random.default_rng((seed, 1))),
            Observed(plan.THUMBS, plan.THUMBS_HARM, 0.5, "thumbs"),
        ]
        self._values = {metric.named.name: 1.0 for metric in self.metrics}
        self._batches = 0
        self._units = counts.ArmCounts()

    def look(self, batch: Batch, stage: int) -> Look:
        """Take in a batch of `stage` and decide."""
        new_epoch = self._batches > 0 and self._batches % plan.EPOCH_BATCHES == 0
        self._batches += 1
        reported = batch.candidate[batch.reported]
        shares = np.full(len(reported), batch.share_millipct)
        self._units = counts.add(self._units, counts.counted(shares, reported))
        paths = {each.named: each.look(batch, stage, new_epoch=new_epoch) for each in self.metrics}
        at, reason = self._rollback(paths)
        frozen = sample_ratio.mismatch(self._units)
        return Look(at, reason, frozen, promote=at is None and not frozen and self._proved(stage))

    def leave_stage(self) -> None:
        """The ramp goes on to its next stage."""
        for metric in self.metrics:
            metric.leave_stage()

    def _rollback(self, paths: dict[plan.Named, Path]) -> tuple[int | None, str]:
        """Where the average of a group of one age first reaches 1 / alpha, and the metric that leads it there."""
        found: tuple[int | None, str] = (None, "")
        for age in sorted({named.age for named in paths}):
            group = {named: path for named, path in paths.items() if named.age == age}
            length = max(len(path.values) for path in group.values())
            parts = np.array([self._weighted(named, path, length) for named, path in group.items()])
            crossed = np.flatnonzero(parts.sum(axis=0) >= 1.0 / plan.ALPHA)
            if len(crossed):
                positions = max((path.positions for path in group.values()), key=len)
                at = int(positions[crossed[0]])
                if found[0] is None or at < found[0]:
                    found = at, list(group)[int(parts[:, crossed[0]].argmax())].name
        for named, path in paths.items():
            self._values[named.name] = float(path.values[-1]) if len(path.values) else self._values[named.name]
        return found

    def _weighted(self, named: plan.Named, path: Path, length: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        values = path.values if len(path.values) else np.full(length, self._values[named.name])
        weighted: np.ndarray[tuple[int], np.dtype[np.float64]] = named.weight * values
        return weighted

    def _proved(self, stage: int) -> bool:
        values = [metric.noninferiority_log_value(stage) for metric in self.metrics]
        proved = all(value is None or value >= -math.log(plan.ALPHA) for value in values)
        return proved and max(self._values.values()) < plan.WARN
