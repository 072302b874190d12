"""Does what operators would while traffic runs: plans and starts ramps, pulls a kill, resumes; collects the evidence.

The shares are moved by the controller. A ramp that stops by itself ends its script early; the checks then say so.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, NoReturn

from loadtests.demo.board import Board, make_board
from loadtests.demo.control import Operator, engine_requests
from loadtests.demo.course import Standing
from loadtests.demo.injection import Injection
from loadtests.demo.judge import EngineCount, Evidence, KillTimes, fresh_counts
from loadtests.demo.layout import INHOUSE, INHOUSE_WORSE
from loadtests.demo.plan import (
    BEFORE_KILL_MIN,
    GOOD,
    HARMS,
    KILLED_AT_MILLIPCT,
    KILLED_S,
    LIFTED_S,
    MOVING,
    PANEL_ROUNDS,
    RAMP,
    RAMP_LIMIT_S,
    STEADY,
    STEADY_SHARE_MILLIPCT,
    WARM_UP_S,
    WORSE,
)
from loadtests.demo.race import all_of, under_watch
from loadtests.demo.ramp_judge import RampEvidence
from loadtests.demo.ramps import documents
from loadtests.demo.sample import CANDIDATE, Sample
from loadtests.demo.setback import Setback
from loadtests.demo.stack import Stack
from loadtests.demo.status import StatusAnswer, status_of
from loadtests.demo.traffic import Traffic
from loadtests.demo.watch import Watcher

_ASKED_OF: Final = {INHOUSE: GOOD, INHOUSE_WORSE: (WORSE,)}
"""Whose candidate each vLLM is."""
_ENGINE_POLL_S: Final = 0.2
_ENGINE_LIMIT_S: Final = 5.0
_GATHER_EVERY_S: Final = 0.1
_SHOW_EVERY_S: Final = 0.25


class Conductor:
    """Runs one demo on a stack. `say` prints what stays. Samples and kill times share the callers' clock."""

    def __init__(self, stack: Stack, operator: Operator, traffic: Traffic, say: Callable[[str], None]) -> None:
        self._stack, self._operator, self._traffic, self._say = stack, operator, traffic, say
        injection = Injection(stack.running.simulator_url, stack.log("simulator"))
        self._moving = Watcher(operator, MOVING)
        self._setbacks = [Setback(harm, stack, operator, injection, traffic) for harm in HARMS]
        self._kill = "not pulled"
        self._kill_times: KillTimes | None = None
        self._status: StatusAnswer | None = None

    @property
    def board(self) -> Board:
        """Return how things stand."""
        standings = tuple(each.standing for each in self._watchers if each.standing is not None)
        return make_board(self._stack.elapsed_s, self._moving.stages, standings, self._traffic.samples, self._kill)

    @property
    def _watchers(self) -> list[Watcher]:
        return [self._moving, *(setback.watcher for setback in self._setbacks)]

    async def show(self, draw: Callable[[Board], None]) -> NoReturn:
        """Draw the board again and again."""
        while True:
            draw(self.board)
            await asyncio.sleep(_SHOW_EVERY_S)

    async def conduct(self) -> tuple[Evidence, RampEvidence]:
        """Go through all ramps and return what there is to judge. Raises DemoError."""
        await self._prepare()
        engines = self._stack.running.engines
        before = {upstream: await engine_requests(url) for upstream, url in engines.items()}
        watches = (watcher.run() for watcher in self._watchers)
        await under_watch(all_of(self._traffic.run(), self._operate()), *watches)
        counted = [await self._engine_count(upstream, url, before[upstream]) for upstream, url in engines.items()]
        seen = Evidence(
            stages=self._moving.stages,
            kill=self._kill_times or KillTimes(0.0, 0.0, 0.0),
            samples=self._traffic.samples,
            feedback_problems=self._traffic.feedback_problems,
            engines=counted,
            quality=await self._operator.quality(),
        )
        setbacks = [setback.evidence() for setback in self._setbacks]
        moving = self._moving.entries, self._samples_of(MOVING), self._status
        return seen, RampEvidence(*moving, self._stack.gated, setbacks)

    async def _prepare(self) -> None:
        """Bring the features to where an operator's work begins."""
        await self._operator.set_share(STEADY, STEADY_SHARE_MILLIPCT)
        await self._operator.apply(documents(self._stack.inhouse, self._stack.partner, gated=self._stack.gated))

    async def _operate(self) -> None:
        try:
            await asyncio.sleep(WARM_UP_S)
            await self._plan()
            await all_of(self._raise(), *(setback.conduct() for setback in self._setbacks))
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

    async def _engine_count(self, upstream: str, vllm_url: str, before: int) -> EngineCount:
        """Return what a vLLM counted since `before`; its page may lag behind the answers for a moment."""
        features = _ASKED_OF[upstream]
        expected = sum(each.served == CANDIDATE and each.feature in features for each in self._traffic.samples)
        give_up_s = time.perf_counter() + _ENGINE_LIMIT_S
        while (counted := await engine_requests(vllm_url) - before) < expected:
            if time.perf_counter() > give_up_s:
                break
            await asyncio.sleep(_ENGINE_POLL_S)
        return EngineCount(upstream, features, counted)


def _has_share(least_millipct: int, now: Standing) -> bool:
    return now.share_millipct >= least_millipct
