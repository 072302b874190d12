"""What a viewer sees at one moment: frozen values, made from samples (pure)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from loadtests.demo.course import Stage, Standing
from loadtests.demo.judge import fresh_counts
from loadtests.demo.layout import TRIALS
from loadtests.demo.plan import FEATURES, MOVING, WORSE, stage_names
from loadtests.demo.sample import ARMS, CANDIDATE, Sample
from loadtests.report import quantile


class PartState(NamedTuple):
    """One part of the stack while it starts. `detail`: the last line of its log."""

    name: str
    phase: str
    elapsed_s: float
    detail: str = ""


class StageLine(NamedTuple):
    """One stage: the share in force, and of how many fresh conversations how many had the candidate."""

    name: str
    state: str
    share: float | None
    candidates: int
    conversations: int


class ArmLine(NamedTuple):
    """One feature's arm over the whole run so far; times in seconds, None where there is none yet."""

    feature: str
    arm: str
    requests: int
    ttft_p50_s: float | None
    ttft_p95_s: float | None
    e2e_p50_s: float | None
    e2e_p95_s: float | None
    exact_match: float | None


class Board(NamedTuple):
    """One moment of the run. `ramps`: how each stands; `kill`: its state in words."""

    elapsed_s: float
    ramps: tuple[Standing, ...]
    stages: tuple[StageLine, ...]
    arms: tuple[ArmLine, ...]
    kill: str
    requests: int
    problems: int


def make_board(
    elapsed_s: float, stages: Sequence[Stage], ramps: Sequence[Standing], samples: Sequence[Sample], kill: str
) -> Board:
    """Return the board. `stages`: those of the moving feature begun so far; the last one is under way."""
    moving = [sample for sample in samples if sample.feature == MOVING]
    seen = {stage.name for stage in stages}
    begun = [_stage_line(number, stages, moving) for number in range(len(stages))]
    to_come = [StageLine(name, "to come", None, 0, 0) for name in stage_names() if name not in seen]
    arms = tuple(arm_line(feature, arm, samples) for feature in FEATURES for arm in ARMS)
    problems = sum(sample.problem is not None for sample in samples)
    return Board(elapsed_s, tuple(ramps), (*begun, *to_come), arms, kill, len(samples), problems)


def arm_line(feature: str, arm: str, samples: Iterable[Sample]) -> ArmLine:
    """Return the figures of the requests that one arm of a feature answered."""
    served = [sample for sample in samples if sample.feature == feature and sample.served == arm]
    ttft_s = [sample.ttft_s for sample in served if sample.ttft_s is not None]
    e2e_s = [sample.e2e_s for sample in served if sample.e2e_s is not None]
    scores = [sample.matched for sample in served if sample.matched is not None]
    times = (quantile(ttft_s, 0.5), quantile(ttft_s, 0.95), quantile(e2e_s, 0.5), quantile(e2e_s, 0.95))
    return ArmLine(feature, arm, len(served), *times, sum(scores) / len(scores) if scores else None)


def arm_title(feature: str, arm: str) -> str:
    """Return what an arm is in the demo."""
    if arm != CANDIDATE:
        return "partner"
    if feature in TRIALS:
        return "trial (simulated)"
    return "worse model (vLLM)" if feature == WORSE else "in-house (vLLM)"


def _stage_line(number: int, stages: Sequence[Stage], samples: Iterable[Sample]) -> StageLine:
    stage = stages[number]
    state = "now" if number == len(stages) - 1 else "done"
    return StageLine(stage.name, state, stage.share, *fresh_counts(stage, samples))
