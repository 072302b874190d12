"""The sequence of requests: fresh conversations without end, and a panel that comes back at every step (pure)."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from loadtests.demo.plan import (
    BREAKING,
    BREAKING_TASK,
    BREAKING_WEIGHT,
    MOVING,
    PANEL_EVERY,
    PANEL_SIZE,
    TASK_WEIGHTS,
)
from loadtests.prompts import Prompt
from loadtests.workload import Mix, PlannedRequest, requests_of


class Draw(NamedTuple):
    """One request to send, and whether it is the panel's."""

    request: PlannedRequest
    panel: bool

    @property
    def feature(self) -> str:
        """Return the feature's plain name."""
        return self.request.feature.rpartition("/")[2]


class Source:
    """Draws requests; every fresh one opens a conversation of its own, named after the seed."""

    def __init__(self, prompts: Sequence[Prompt], seed: int, *, breaking: bool = False) -> None:
        """Raise InvalidFileError when a task has no prompt. `breaking`: ask the breaking feature too."""
        weights = TASK_WEIGHTS | ({BREAKING: BREAKING_WEIGHT} if breaking else {})
        known = (*prompts, *_renamed(prompts)) if breaking else prompts
        self._fresh: Iterator[PlannedRequest] = requests_of(0, known, Mix(tasks=weights, turns=1), seed)
        asked = requests_of(1, prompts, Mix(tasks={MOVING: 1.0}, turns=1), seed)
        self._panel = [request._replace(user="panel") for request in islice(asked, PANEL_SIZE)]
        self._waiting: deque[PlannedRequest] = deque()
        self._drawn = 0

    @property
    def panel_waiting(self) -> int:
        """Return how many requests of the panel are still to be drawn."""
        return len(self._waiting)

    def call_panel(self, rounds: int) -> None:
        """Let every conversation of the panel come `rounds` times among the next requests."""
        for _ in range(rounds):
            self._waiting.extend(self._panel)

    def draw(self) -> Draw:
        """Return the next request."""
        self._drawn += 1
        if self._waiting and not self._drawn % PANEL_EVERY:
            return Draw(self._waiting.popleft(), panel=True)
        return Draw(next(self._fresh), panel=False)


def _renamed(prompts: Sequence[Prompt]) -> Iterator[Prompt]:
    """Return the prompts that the breaking feature is asked; their right answers are the same."""
    return (replace(prompt, task=BREAKING) for prompt in prompts if prompt.task == BREAKING_TASK)
