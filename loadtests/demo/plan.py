"""What the demo does: the features, the steps of their ramps, the panel. Data only."""

from typing import Final, NamedTuple

MOVING: Final = "summarize"
"""The feature whose share a ramp moves from 1 % to 100 %."""
STEADY_SHARES: Final = {"rewrite": 50_000, "draft": 50_000}
"""Features whose share stays: both arms answer them all the time, also while the moving one is killed."""
FEATURES: Final = ("rewrite", MOVING, "draft")
"""Those that vLLM is the candidate of."""
BREAKING: Final = "proofread"
"""A feature of its own, whose candidate breaks on purpose in the middle of its ramp."""
BREAKING_TASK: Final = "rewrite"
"""The task whose prompts the breaking feature is asked."""
TASK_WEIGHTS: Final = {"rewrite": 1.0, MOVING: 4.0, "draft": 1.0}
BREAKING_WEIGHT: Final = 1.0

CONCURRENCY: Final = 16
"""Requests under way at once: what two cores answer without queueing."""
PANEL_SIZE: Final = 24
PANEL_ROUNDS: Final = 2
"""How often each conversation of the panel comes back within a step."""
PANEL_EVERY: Final = 2
"""One request in so many is the panel's, until its rounds of the step are through."""

WARM_UP_S: Final = 3.0
"""Traffic before the ramp begins, everything on the partner: it says how long the steps will take."""
KILLED_AT_MILLIPCT: Final = 50_000
BEFORE_KILL_MIN: Final = 40
"""Fresh conversations at that share before the kill."""
KILLED_S: Final = 4.0
LIFTED_S: Final = 3.5
"""How long the ramp stays paused after the kill was lifted."""
BROKEN_AFTER_S: Final = 3.0
"""How long the breaking feature is well in the step in which its candidate breaks."""
BROKEN_AT_STEP: Final = 1
AFTER_ROLLBACK_S: Final = 3.0
"""How long traffic of the breaking feature goes on after its rollback."""
ROLLBACK_LIMIT_S: Final = 60.0
RAMP_LIMIT_S: Final = 300.0
"""How long a phase or a step may take before the demo gives up on it."""


class RampStep(NamedTuple):
    """One step of a ramp: its share, how long it bakes, how many requests the candidate must have been given."""

    share_millipct: int
    bake_s: int
    samples_min: int


RAMP: Final = (
    RampStep(1_000, 5, 1),
    RampStep(5_000, 5, 3),
    RampStep(25_000, 5, 20),
    RampStep(50_000, 8, 40),
    RampStep(100_000, 5, 80),
)
BREAKING_RAMP: Final = (
    RampStep(20_000, 4, 5),
    # Longer than the breach takes to be seen: that it goes no further is the gate's doing.
    RampStep(50_000, 120, 10),
    RampStep(100_000, 4, 10),
)
POST_MONITOR_S: Final = 3
COOLDOWN_S: Final = 1
UNGATED_BAKE: Final = 2
"""Without gates a step takes so many times as long, since nothing then waits for the panel."""


def percent(share_millipct: int) -> str:
    """Return a share as it is shown: "5 %"."""
    return f"{share_millipct / 1_000:g} %"


def stage_names() -> tuple[str, ...]:
    """Return the names of all stages of the moving feature, those around the kill included, in their order."""
    names = []
    for step in RAMP:
        name = percent(step.share_millipct)
        killed = step.share_millipct == KILLED_AT_MILLIPCT
        names += [name, *((f"{name}, killed", f"{name}, kill lifted") if killed else ())]
    return tuple(names)
