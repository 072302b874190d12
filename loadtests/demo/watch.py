"""Looks at a feature again and again: how its ramp stands, and what the audit log says of it."""

import asyncio
from collections.abc import Callable
from typing import Final, NoReturn

from loadtests.demo.control import Operator
from loadtests.demo.course import Entry, Stage, Standing, entries_of, stages_of

_EVERY_S: Final = 0.2
_STOPPED: Final = ("PAUSED", "ROLLED_BACK")
"""Phases out of which no ramp comes by itself."""


class Watcher:
    """One feature's. `standing` is None before the first look; `entries` are oldest first."""

    def __init__(self, operator: Operator, feature: str) -> None:
        self.feature = feature
        self.standing: Standing | None = None
        self.entries: tuple[Entry, ...] = ()
        self._operator = operator
        self._turn = asyncio.Lock()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Return the stages so far; the last one is under way."""
        return stages_of(self.entries)

    async def run(self) -> NoReturn:
        """Go on looking. Raises DemoError."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """Look once. Raises DemoError."""
        async with self._turn:
            standing = await self._operator.standing(self.feature)
            if self.standing is None or self.standing.revision != standing.revision:
                self.entries = entries_of(await self._operator.history(self.feature), self.entries)
            self.standing = standing

    async def until(self, reached: Callable[[Standing], bool], limit_s: float) -> bool:
        """Wait until a look shows what is wanted; False if the ramp has stopped before, or after `limit_s`."""
        await self.look()
        try:
            async with asyncio.timeout(limit_s):
                while self.standing is None or not reached(self.standing):
                    if self.standing is not None and self.standing.phase in _STOPPED:
                        return False
                    await asyncio.sleep(_EVERY_S)
        except TimeoutError:
            return False
        return True
