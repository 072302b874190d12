"""The sequence of requests: fresh conversations without end, and a panel that comes back at every step (pure)."""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from loadtests.demo.plan import MOVING, PANEL_EVERY, PANEL_SIZE, TASKS, WEIGHTS
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

    def __init__(self, prompts: Sequence[Prompt], seed: int) -> None:
        """Raise InvalidFileError when a task has no prompt."""
        asked = list(_by_feature(prompts))
        self._fresh: Iterator[PlannedRequest] = requests_of(0, asked, Mix(tasks=WEIGHTS, turns=1), seed)
        panel = requests_of(1, asked, Mix(tasks={MOVING: 1.0}, turns=1), seed)
        self._panel = [request._replace(user="panel") for request in islice(panel, PANEL_SIZE)]
        self._waiting: deque[PlannedRequest] = deque()
        self._dropped: set[str] = set()
        self._drawn = 0

    @property
    def panel_waiting(self) -> int:
        """Return how many requests of the panel are still to be drawn."""
        return len(self._waiting)

    def call_panel(self, rounds: int) -> None:
        """Let every conversation of the panel come `rounds` times among the next requests."""
        for _ in range(rounds):
            self._waiting.extend(self._panel)

    def drop(self, feature: str) -> None:
        """Ask a feature nothing more, so that the others get its traffic; the moving one can't be dropped."""
        self._dropped |= {feature} - {MOVING}

    def draw(self) -> Draw:
        """Return the next request."""
        self._drawn += 1
        if self._waiting and not self._drawn % PANEL_EVERY:
            return Draw(self._waiting.popleft(), panel=True)
        drawn = (Draw(request, panel=False) for request in self._fresh)
        return next(each for each in drawn if each.feature not in self._dropped)


def _by_feature(prompts: Sequence[Prompt]) -> Iterator[Prompt]:
    """Return what each feature is asked: the prompts of its task, whose right answers stay the same."""
    for feature, task in TASKS.items():
        yield from (replace(prompt, task=feature) for prompt in prompts if prompt.task == task)
