"""Looks for what has come of age: in steps, between which the worker's loop serves requests."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

JUDGED_AT_ONCE, WATCHED_AT_ONCE, SENT_AT_ONCE = 32, 64, 256
"""Units, or requests, so that none waits for more than a few milliseconds of this work."""


class Looks:
    """One collector's, one after another."""

    def __init__(self) -> None:
        self._steps: Iterator[None] = iter(())

    async def take(self, steps: Iterator[None]) -> None:
        """Take all steps; the first one before anything else happens."""
        self._steps = steps
        for _ in steps:
            await asyncio.sleep(0)

    def finish(self) -> None:
        """Take what is left of a look that was cut short: what it has begun to hand out is nowhere else."""
        for _ in self._steps:
            pass
