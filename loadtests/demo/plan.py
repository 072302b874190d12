"""What the demo does: features, steps and margins of their ramps, what harms their candidates, the panel. Data only."""

from typing import Final, NamedTuple

MOVING: Final = "summarize"
"""The feature whose good candidate a ramp moves from 1 % to 100 %."""
STEADY: Final = "draft"
"""The feature whose share stays: both arms answer it all the time, also while the moving one is killed."""
WORSE: Final = "rewrite"
"""The feature whose candidate is the worse checkpoint."""
BREAKING: Final = "proofread"
"""The feature whose candidate begins to fail in the middle of its ramp."""
SLOWING: Final = "reply"
"""The feature whose candidate becomes slow in the middle of its ramp."""
STEADY_SHARE_MILLIPCT: Final = 50_000
GOOD: Final = (MOVING, STEADY)
"""Those that the good checkpoint is the candidate of."""
RAMPED: Final = (MOVING, WORSE, BREAKING, SLOWING)
FEATURES: Final = (MOVING, STEADY, WORSE, BREAKING, SLOWING)
TASKS: Final = {MOVING: "summarize", STEADY: "draft", WORSE: "rewrite", BREAKING: "rewrite", SLOWING: "summarize"}
"""Whose prompts a feature is asked."""
WEIGHTS: Final = {MOVING: 7.0, STEADY: 1.0, WORSE: 2.0, BREAKING: 1.0, SLOWING: 1.0}

CONCURRENCY: Final = 32
"""Requests under way at once: what two cores answer without queueing for long."""
PANEL_SIZE: Final = 24
PANEL_ROUNDS: Final = 2
"""How often each conversation of the panel comes back within a step."""
PANEL_EVERY: Final = 2
"""One request in so many is the panel's, until its rounds of the step are through."""

WARM_UP_S: Final = 3.0
"""Traffic before the ramps begin, everything on the partner: it says how long the steps will take."""
KILLED_AT_MILLIPCT: Final = 50_000
BEFORE_KILL_MIN: Final = 40
"""Fresh conversations at that share before the kill."""
KILLED_S: Final = 4.0
LIFTED_S: Final = 3.5
"""How long the ramp stays paused after the kill was lifted."""
INJECTED_AFTER_S: Final = 1.0
"""How long a ramp is well in the step in which its candidate is harmed."""
INJECTED_AT_STEP: Final = 1
SLOWED_BY_S: Final = 3.0
"""What the slow candidate waits before each answer."""
AFTER_ROLLBACK_S: Final = 3.0
"""How long traffic of a feature goes on after its rollback."""
ROLLBACK_LIMIT_S: Final = 240.0
RAMP_LIMIT_S: Final = 240.0
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
    RampStep(50_000, 5, 40),
    RampStep(100_000, 5, 80),
)
TRIAL_RAMP: Final = (
    RampStep(20_000, 4, 5),
    # Longer than the harm takes to be seen: that it goes no further is the evidence's doing.
    RampStep(50_000, 300, 10),
    RampStep(100_000, 4, 10),
)
WORSE_RAMP: Final = (
    # No proof that it is as good will come: it never leaves its first step.
    RampStep(50_000, 4, 10),
    RampStep(100_000, 4, 10),
)
RAMPS: Final = {MOVING: RAMP, WORSE: WORSE_RAMP, BREAKING: TRIAL_RAMP, SLOWING: TRIAL_RAMP}
POST_MONITOR_S: Final = 3
COOLDOWN_S: Final = 1


class Margins(NamedTuple):
    """How much worse is still no worse, wide enough that seconds of traffic can prove it.

    `early`: (share in millipct, margin of quality and errors below it); `latency`: which one harm is looked for in, and
    `slower`: how much longer than the partner's is no harm yet, 1 is twice as long.
    """

    quality: float
    errors: float
    latency: str
    slower: float
    early: tuple[tuple[int, float], ...] = ()


MARGINS: Final = {
    # vLLM on busy cores is no faster than they let it be: a machine must not decide what the model deserves.
    MOVING: Margins(0.1, 0.1, "ttft_p50", 4.0, ((5_000, 0.9), (25_000, 0.5), (50_000, 0.25))),
    WORSE: Margins(0.03, 0.05, "ttft_p50", 4.0),
    BREAKING: Margins(0.05, 0.01, "ttft_p95", 1.0, ((50_000, 0.5),)),
    SLOWING: Margins(0.05, 0.01, "ttft_p95", 1.0, ((50_000, 0.5),)),
}
ALPHA: Final = 0.05
AGE_S: Final = 4
FEEDBACK_AGE_S: Final = 4
"""How long after its first request a unit is looked at: longer than an answer and its rating take, and than what is
held to be slow: a bound beyond it can't be measured.
"""
REAL_AGE_S: Final = 20
"""Both of them, where a real partner answers."""


class Harm(NamedTuple):
    """What must be rolled back, and by which gate. `injected`: by us, midway; else it is there at once."""

    feature: str
    what: str
    gate: str
    injected: bool = True


QUALITY: Final = "quality"
ERRORS: Final = "errors"
PROOFS: Final = (QUALITY, ERRORS)
"""Gates that must have shown that the candidate is no worse before the share rises."""
QUALITY_HARM: Final = "quality-harm"
ERRORS_HARM: Final = "errors-harm"
LATENCY_HARM: Final = "latency-harm"
HARMS: Final = (
    Harm(WORSE, "worse checkpoint", QUALITY_HARM, injected=False),
    Harm(BREAKING, "error burst", ERRORS_HARM),
    Harm(SLOWING, "latency regression", LATENCY_HARM),
)


def last_share_millipct(harm: Harm) -> int:
    """Return the share that a harmful ramp must not get beyond."""
    return RAMPS[harm.feature][INJECTED_AT_STEP if harm.injected else 0].share_millipct


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
