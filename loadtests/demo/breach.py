"""The second ramp: its candidate is broken on purpose, and nobody but the controller may take the share back."""

import asyncio
import time

from loadtests.demo.control import Operator, break_model
from loadtests.demo.layout import TRIAL_MODEL
from loadtests.demo.plan import (
    AFTER_ROLLBACK_S,
    BREAKING,
    BROKEN_AFTER_S,
    BROKEN_AT_STEP,
    RAMP_LIMIT_S,
    ROLLBACK_LIMIT_S,
)
from loadtests.demo.ramp_judge import BreachEvidence
from loadtests.demo.sample import Sample
from loadtests.demo.stack import Stack
from loadtests.demo.status import StatusAnswer, status_of
from loadtests.demo.watch import Watcher


class Breach:
    """Runs the ramp of the breaking feature; `watcher` must be running."""

    def __init__(self, stack: Stack, operator: Operator) -> None:
        self.watcher = Watcher(operator, BREAKING)
        self._stack, self._operator = stack, operator
        self._broken_at_s: float | None = None
        self._status: StatusAnswer | None = None

    async def conduct(self) -> None:
        """Start the ramp, break the candidate in the middle of it, wait for the rollback. Raises DemoError."""
        await self._operator.ramp(BREAKING, "start")
        asked = self._stack.ask_status(BREAKING)
        if not await self.watcher.until(lambda now: now.step >= BROKEN_AT_STEP, RAMP_LIMIT_S):
            return
        await asyncio.sleep(BROKEN_AFTER_S)
        # Unix time: what it is compared with is the audit log's.
        self._broken_at_s = time.time()
        await break_model(self._stack.running.simulator_url, TRIAL_MODEL)
        if await self.watcher.until(lambda now: now.phase == "ROLLED_BACK", ROLLBACK_LIMIT_S):
            await asyncio.sleep(AFTER_ROLLBACK_S)
            self._status = await status_of(asked)

    def evidence(self, samples: list[Sample]) -> BreachEvidence:
        """Return what there is to judge."""
        own = [sample for sample in samples if sample.feature == BREAKING]
        return BreachEvidence(self.watcher.entries, self._broken_at_s, own, self._status)
