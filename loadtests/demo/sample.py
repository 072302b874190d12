"""One request of the demo, as its caller saw it."""

from typing import Final, NamedTuple

CANDIDATE: Final = "candidate"
BASELINE: Final = "baseline"
ARMS: Final = (CANDIDATE, BASELINE)
SPLIT: Final = "SPLIT"
"""The reason header of an arm that was drawn by share, not forced."""


class Sample(NamedTuple):
    """`started_s` is the caller's monotonic clock; the other times are seconds since then, None if it never came.

    `revision` and `reason` are the flag's, as the answer named them: a sample belongs to the step that decided it,
    however long it was under way.
    """

    feature: str
    conversation: str
    panel: bool
    started_s: float
    problem: str | None = None
    request_id: str | None = None
    assigned: str | None = None
    served: str | None = None
    reason: str | None = None
    revision: int | None = None
    ttft_s: float | None = None
    e2e_s: float | None = None
    matched: bool | None = None
