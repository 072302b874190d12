"""What a viewer sees at one moment: frozen values, made from samples (pure)."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from loadtests.demo.judge import Stage, fresh_counts
from loadtests.demo.plan import FEATURES, MOVING, STEPS, Step
from loadtests.demo.sample import ARMS, CANDIDATE, Sample
from loadtests.report import quantile


class PartState(NamedTuple):
    """One part of the stack while it starts. `detail`: the last line of its log."""

    name: str
    phase: str
    elapsed_s: float
    detail: str = ""


class StepLine(NamedTuple):
    """One step: the share asked for, and of how many fresh conversations how many had the candidate."""

    step: Step
    state: str
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
    """One moment of the run. `kill`: its state in words."""

    elapsed_s: float
    steps: tuple[StepLine, ...]
    arms: tuple[ArmLine, ...]
    kill: str
    requests: int
    problems: int


def make_board(elapsed_s: float, stages: Sequence[Stage], samples: Sequence[Sample], kill: str) -> Board:
    """Return the board. `stages`: those begun so far; the last one is under way until every step has begun."""
    moving = [sample for sample in samples if sample.feature == MOVING]
    steps = tuple(_step_line(number, step, stages, moving) for number, step in enumerate(STEPS))
    arms = tuple(arm_line(feature, arm, samples) for feature in FEATURES for arm in ARMS)
    problems = sum(sample.problem is not None for sample in samples)
    return Board(elapsed_s, steps, arms, kill, len(samples), problems)


def arm_line(feature: str, arm: str, samples: Iterable[Sample]) -> ArmLine:
    """Return the figures of the requests that one arm of a feature answered."""
    served = [sample for sample in samples if sample.feature == feature and sample.served == arm]
    ttft_s = [sample.ttft_s for sample in served if sample.ttft_s is not None]
    e2e_s = [sample.e2e_s for sample in served if sample.e2e_s is not None]
    scores = [sample.matched for sample in served if sample.matched is not None]
    times = (quantile(ttft_s, 0.5), quantile(ttft_s, 0.95), quantile(e2e_s, 0.5), quantile(e2e_s, 0.95))
    return ArmLine(feature, arm, len(served), *times, sum(scores) / len(scores) if scores else None)


def arm_title(arm: str) -> str:
    """Return what an arm is in the demo."""
    return "in-house (vLLM)" if arm == CANDIDATE else "partner"


def _step_line(number: int, step: Step, stages: Sequence[Stage], samples: Iterable[Sample]) -> StepLine:
    if number >= len(stages):
        return StepLine(step, "to come", 0, 0)
    state = "now" if number == len(stages) - 1 else "done"
    return StepLine(step, state, *fresh_counts(stages[number], samples))
