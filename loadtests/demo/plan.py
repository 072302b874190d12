"""What the demo does: the steps of the share, the features, the panel. Data only."""

from typing import Final, NamedTuple

MOVING: Final = "summarize"
STEADY_SHARES: Final = {"rewrite": 50_000, "draft": 50_000}
"""Features whose share stays: both arms answer them all the time, also while the moving one is killed."""
FEATURES: Final = ("rewrite", MOVING, "draft")
TASK_WEIGHTS: Final = {"rewrite": 1.0, MOVING: 4.0, "draft": 1.0}

CONCURRENCY: Final = 16
"""Requests under way at once: what two cores answer without queueing."""
PANEL_SIZE: Final = 24
PANEL_ROUNDS: Final = 2
"""How often each conversation of the panel comes back within a step."""
PANEL_EVERY: Final = 3
"""One request in so many is the panel's, until its rounds of the step are through."""


class Step(NamedTuple):
    """One step of the moving feature. `share_millipct`: thousandths of a percent; `lasts_s`: at least so long."""

    name: str
    share_millipct: int
    lasts_s: float
    killed: bool = False

    @property
    def share(self) -> float:
        """Return the share that conversations should really meet, 0 to 1."""
        return 0.0 if self.killed else self.share_millipct / 100_000


STEPS: Final = (
    Step("1 %", 1_000, 5.0),
    Step("5 %", 5_000, 5.0),
    Step("25 %", 25_000, 4.5),
    Step("50 %", 50_000, 4.5),
    Step("50 %, killed", 50_000, 4.0, killed=True),
    Step("50 %, kill lifted", 50_000, 3.5),
    Step("100 %", 100_000, 4.0),
)
