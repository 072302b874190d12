"""`glidepath rollout status FEATURE --timeout`, run as a build would run it."""

import time
from typing import NamedTuple

from loadtests.demo.child import Child

COMPLETED, ROLLED_BACK = 0, 1
TIMEOUT = "8m"


class Asked(NamedTuple):
    """The command while it runs. `began_s`: a monotonic clock."""

    feature: str
    child: Child
    began_s: float


class StatusAnswer(NamedTuple):
    """How it ended. `said`: what it printed about the goal."""

    feature: str
    exit_code: int
    said: str
    lasted_s: float


def status_arguments(feature: str) -> tuple[str, ...]:
    """Return the arguments of the `glidepath` command: wait until the ramp is completed, or can't be any more."""
    return ("rollout", "status", feature, "--timeout", TIMEOUT)


async def status_of(asked: Asked) -> StatusAnswer:
    """Wait for the end of the command."""
    code = await asked.child.ended()
    lines = [line.strip() for line in asked.child.tail(20)]
    said = next((line for line in reversed(lines) if not line.startswith("- ")), "")
    return StatusAnswer(asked.feature, code, said, time.perf_counter() - asked.began_s)
