"""What the GPUs of both arms cost while an evaluation ran, used or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.evaluation.answers import EvalAnswer
    from rollout.core.cost import Gpus

_MS = 1_000


class GpuTime(msgspec.Struct, frozen=True):
    """Seconds of the run, and picodollars of each arm; None for an arm whose GPUs have no price."""

    run_s: float
    candidate_picousd: int | None
    baseline_picousd: int | None

    @property
    def known(self) -> bool:
        """Whether there is anything to tell."""
        return (self.candidate_picousd, self.baseline_picousd) != (None, None)


def gpu_time(answers: Iterable[EvalAnswer], concurrency: int, candidate: Gpus, baseline: Gpus) -> GpuTime:
    """The time from the answers themselves, `concurrency` of them at once, since a run may be one of several parts."""
    run_s = sum(answer.duration_s for answer in answers) / concurrency
    ours, theirs = (gpus.cost_picousd(round(run_s * _MS)) if all(gpus) else None for gpus in (candidate, baseline))
    return GpuTime(run_s, ours, theirs)
