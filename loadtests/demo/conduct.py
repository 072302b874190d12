"""Does what operators would while traffic runs: plans and starts ramps, pulls a kill, resumes; collects the evidence.

The shares are moved by the controller. A ramp that stops by itself ends its script early; the checks then say so.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

from loadtests.demo.board import Board, make_board
from loadtests.demo.breach import Breach
from loadtests.demo.control import Operator, engine_requests
from loadtests.demo.course import Standing
from loadtests.demo.judge import Evidence, KillTimes, fresh_counts
from loadtests.demo.plan import (
    BEFORE_KILL_MIN,
    BREAKING,
    FEATURES,
    KILLED_AT_MILLIPCT,
    KILLED_S,
    LIFTED_S,
    MOVING,
    PANEL_ROUNDS,
    RAMP,
    RAMP_LIMIT_S,
    STEADY_SHARES,
    WARM_UP_S,
)
from loadtests.demo.race import all_of, under_watch
from loadtests.demo.ramp_judge import RampEvidence
from loadtests.demo.ramps import documents
from loadtests.demo.sample import CANDIDATE, Sample
from loadtests.demo.stack import Stack
from loadtests.demo.status import StatusAnswer, status_of
from loadtests.demo.traffic import Traffic
from loadtests.demo.watch import Watcher

_ENGINE_POLL_S: Final = 0.2
_ENGINE_LIMIT_S: Final = 5.0
_GATHER_EVERY_S: Final = 0.1
_SHOW_EVERY_S: Final = 0.25


class Conductor:
    """Runs one demo on a stack. `say` prints what stays. Samples and kill times share the callers' clock."""

    def __init__(self, stack: Stack, operator: Operator, traffic: Traffic, say: Callable[[str], None]) -> None:
        self._stack, self._operator, self._traffic, self._say = stack, operator, traffic, say
        self._moving = Watcher(operator, MOVING)
        self._breach = Breach(stack, operator) if stack.gated else None
        self._kill = "not pulled"
        self._kill_times: KillTimes | None = None
        self._status: StatusAnswer | None = None

    @property
    def board(self) -> Board:
        """Return how things stand."""
        watchers = [self._moving, *([self._breach.watcher] if self._breach else ())]
        standings = tuple(each.standing for each in watchers if each.standing is not None)
        return make_board(self._stack.elapsed_s, self._moving.stages, standings, self._traffic.samples, self._kill)

    async def show(self, draw: Callable[[Board], None]) -> NoReturn:
        """Draw the board again and again."""
        while True:
            draw(self.board)
            await asyncio.sleep(_SHOW_EVERY_S)

    async def conduct(self) -> tuple[Evidence, RampEvidence]:
        """Go through both ramps and return what there is to judge. Raises DemoError."""
        await self._prepare()
        vllm_url = self._stack.running.vllm_url
        engine_before = await engine_requests(vllm_url)
        watches = [self._moving.run(), *([self._breach.watcher.run()] if self._breach else ())]
        await under_watch(all_of(self._traffic.run(), self._operate()), *watches)
        counted = await self._engine_count(vllm_url, engine_before)
        seen = Evidence(
            stages=self._moving.stages,
            kill=self._kill_times or KillTimes(0.0, 0.0, 0.0),
            samples=self._traffic.samples,
            feedback_problems=self._traffic.feedback_problems,
            engine_requests=counted,
            quality=await self._operator.quality(),
        )
        breach = self._breach.evidence(self._traffic.samples) if self._breach else None
        return seen, RampEvidence(self._moving.entries, self._status, breach)

    async def _prepare(self) -> None:
        """Bring the features to where an operator's work begins: shares at rest, the ramps' documents applied."""
        for feature in (MOVING, BREAKING):
            await self._operator.prepare(feature)
        for feature, share_millipct in STEADY_SHARES.items():
            await self._operator.set_share(feature, share_millipct)
        await self._operator.apply(documents(gated=self._stack.gated))

    async def _operate(self) -> None:
        try:
            await asyncio.sleep(WARM_UP_S)
            await self._plan()
            await all_of(self._raise(), *([self._breach.conduct()] if self._breach else ()))
        finally:
            self._traffic.end()

    async def _plan(self) -> None:
        """Say what each step needs at the traffic there is now."""
        rate = len(self._samples_of(MOVING)) / WARM_UP_S
        lines = await self._operator.plan(MOVING, rate)
        self._say("\n".join((f"plan of {MOVING}, at {rate:.1f} requests/s:", *(f"  {line}" for line in lines))))

    async def _raise(self) -> None:
        """Start the ramp, and let the panel come at each of its steps, before and after a kill."""
        await self._operator.ramp(MOVING, "start")
        for step in RAMP:
            if not await self._moving.until(partial(_has_share, step.share_millipct), RAMP_LIMIT_S):
                return
            await self._traffic.panel_through(PANEL_ROUNDS)
            if step.share_millipct == KILLED_AT_MILLIPCT:
                await self._gather()
                await self._pull_and_lift()
        asked = self._stack.ask_status(MOVING)
        if await self._moving.until(lambda now: now.phase == "COMPLETED", RAMP_LIMIT_S):
            self._status = await status_of(asked)

    async def _gather(self) -> None:
        """Wait until the stage under way has enough fresh conversations to be judged by."""
        stage = self._moving.stages[-1]
        while fresh_counts(stage, self._samples_of(MOVING))[1] < BEFORE_KILL_MIN:  # noqa: ASYNC110  traffic brings them
            await asyncio.sleep(_GATHER_EVERY_S)

    async def _pull_and_lift(self) -> None:
        """Kill, lift the kill, see that the ramp stays paused with its share, and resume it."""
        called_s = time.perf_counter()
        await self._operator.kill(MOVING)
        self._kill = "PULLED"
        self._kill_times = KillTimes(called_s, time.perf_counter(), float("inf"))
        await asyncio.sleep(KILLED_S)
        self._kill_times = self._kill_times._replace(lifted_s=time.perf_counter())
        await self._operator.unkill(MOVING)
        self._kill = "lifted"
        await all_of(self._traffic.panel_through(PANEL_ROUNDS), asyncio.sleep(LIFTED_S))
        await self._operator.ramp(MOVING, "resume")

    def _samples_of(self, feature: str) -> list[Sample]:
        return [sample for sample in self._traffic.samples if sample.feature == feature]

    async def _engine_count(self, vllm_url: str, before: int) -> int:
        """Return what vLLM counted since `before`; its page may lag behind the answers for a moment."""
        expected = sum(each.served == CANDIDATE and each.feature in FEATURES for each in self._traffic.samples)
        give_up_s = time.perf_counter() + _ENGINE_LIMIT_S
        while (counted := await engine_requests(vllm_url) - before) < expected:
            if time.perf_counter() > give_up_s:
                break
            await asyncio.sleep(_ENGINE_POLL_S)
        return counted


def _has_share(least_millipct: int, now: Standing) -> bool:
    return now.share_millipct >= least_millipct
