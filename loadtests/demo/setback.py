"""A ramp that must not come to its end: its candidate is harmful, and nobody but the controller may take it back."""

import asyncio
import time
from typing import Final

from loadtests.demo.control import Operator
from loadtests.demo.injection import Injection
from loadtests.demo.plan import (
    AFTER_ROLLBACK_S,
    INJECTED_AFTER_S,
    INJECTED_AT_STEP,
    RAMP_LIMIT_S,
    ROLLBACK_LIMIT_S,
    Harm,
)
from loadtests.demo.ramp_judge import REQUESTS_AFTER_MIN, Began, SetbackEvidence, after_rollback
from loadtests.demo.sample import Sample
from loadtests.demo.stack import Stack
from loadtests.demo.status import StatusAnswer, status_of
from loadtests.demo.traffic import Traffic
from loadtests.demo.watch import Watcher

_POLL_S: Final = 0.2


class Setback:
    """Runs the ramp of one harm; `watcher` must be running."""

    def __init__(self, harm: Harm, stack: Stack, operator: Operator, injection: Injection, traffic: Traffic) -> None:
        self.watcher = Watcher(operator, harm.feature)
        self._harm, self._stack, self._operator = harm, stack, operator
        self._injection, self._traffic = injection, traffic
        self._began: Began | None = None
        self._status: StatusAnswer | None = None

    async def conduct(self) -> None:
        """Start the ramp, harm the candidate in the middle of it, wait for the rollback. Raises DemoError."""
        feature = self._harm.feature
        if not self._harm.injected:
            self._begin()
        await self._operator.ramp(feature, "start")
        asked = self._stack.ask_status(feature) if self._harm.injected else None
        if self._harm.injected:
            if not await self.watcher.until(lambda now: now.step >= INJECTED_AT_STEP, RAMP_LIMIT_S):
                return
            await asyncio.sleep(INJECTED_AFTER_S)
            self._begin()
            await self._injection.harm(feature)
        if await self.watcher.until(lambda now: now.phase == "ROLLED_BACK", ROLLBACK_LIMIT_S):
            await asyncio.sleep(AFTER_ROLLBACK_S)
            await self._gather()
            self._status = await status_of(asked) if asked is not None else None
        self._traffic.source.drop(feature)

    def evidence(self) -> SetbackEvidence:
        """Return what there is to judge."""
        return SetbackEvidence(self._harm, self.watcher.entries, self._began, self._samples(), self._status)

    def _begin(self) -> None:
        # Unix time for the audit log, the callers' clock for the samples.
        self._began = Began(time.time(), time.perf_counter())

    async def _gather(self) -> None:
        """Wait until enough requests have been decided after the rollback to be judged by."""
        while len(after_rollback(self.evidence())) < REQUESTS_AFTER_MIN:  # noqa: ASYNC110  traffic brings them
            await asyncio.sleep(_POLL_S)

    def _samples(self) -> list[Sample]:
        return [sample for sample in self._traffic.samples if sample.feature == self._harm.feature]
