"""Moves the share of the moving feature through its steps while traffic runs, and collects the evidence."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, NoReturn

from loadtests.demo.board import Board, make_board
from loadtests.demo.control import Operator, engine_requests
from loadtests.demo.judge import Evidence, KillTimes, Stage
from loadtests.demo.plan import MOVING, PANEL_ROUNDS, STEADY_SHARES, STEPS, Step
from loadtests.demo.race import all_of
from loadtests.demo.sample import CANDIDATE
from loadtests.demo.traffic import Traffic

_ENGINE_POLL_S: Final = 0.2
_ENGINE_LIMIT_S: Final = 5.0
_SHOW_EVERY_S: Final = 0.25


class Conductor:
    """Runs one demo. `elapsed_s` is the clock of the view; samples and kill times share the callers' clock."""

    def __init__(self, operator: Operator, traffic: Traffic, vllm_url: str, elapsed_s: Callable[[], float]) -> None:
        self._operator, self._traffic, self._vllm_url, self._elapsed_s = operator, traffic, vllm_url, elapsed_s
        self._stages: list[Stage] = []
        self._kill = "not pulled"
        self._kill_times: KillTimes | None = None

    @property
    def board(self) -> Board:
        """Return how things stand."""
        return make_board(self._elapsed_s(), self._stages, self._traffic.samples, self._kill)

    async def show(self, draw: Callable[[Board], None]) -> NoReturn:
        """Draw the board again and again."""
        while True:
            draw(self.board)
            await asyncio.sleep(_SHOW_EVERY_S)

    async def conduct(self) -> Evidence:
        """Go through all steps and return what there is to judge. Raises DemoError."""
        await self._reset()
        engine_before = await engine_requests(self._vllm_url)
        await all_of(self._traffic.run(), self._take_all())
        counted = await self._engine_count(engine_before)
        return Evidence(
            stages=self._stages,
            kill=self._kill_times or KillTimes(0.0, 0.0, 0.0),
            samples=self._traffic.samples,
            feedback_problems=self._traffic.feedback_problems,
            engine_requests=counted,
            quality=await self._operator.quality(),
        )

    async def _reset(self) -> None:
        """Begin as if nothing had been before: an earlier run may have left its last share, or a kill."""
        await self._operator.unkill(MOVING)
        await self._operator.set_share(MOVING, 0)
        for feature, share_millipct in STEADY_SHARES.items():
            await self._operator.set_share(feature, share_millipct)

    async def _take_all(self) -> None:
        try:
            for step in STEPS:
                await self._take(step)
        finally:
            self._traffic.end()

    async def _take(self, step: Step) -> None:
        """Put a step in force, and stay until its time is over and the panel has been through."""
        self._stages.append(Stage(step, await self._put_in_force(step)))
        rounds = 0 if step.killed else PANEL_ROUNDS
        await all_of(self._traffic.panel_through(rounds), asyncio.sleep(step.lasts_s))

    async def _put_in_force(self, step: Step) -> int:
        """Return the revision of the flag from which on the step holds."""
        if step.killed:
            called_s = time.perf_counter()
            revision = await self._operator.kill(MOVING)
            self._kill = "PULLED"
            self._kill_times = KillTimes(called_s, time.perf_counter(), float("inf"))
            return revision
        if self._kill == "PULLED" and self._kill_times is not None:
            self._kill_times = self._kill_times._replace(lifted_s=time.perf_counter())
            revision = await self._operator.unkill(MOVING)
            self._kill = "lifted"
            return revision
        return await self._operator.set_share(MOVING, step.share_millipct)

    async def _engine_count(self, before: int) -> int:
        """Return what vLLM counted since `before`; its page may lag behind the answers for a moment."""
        expected = sum(sample.served == CANDIDATE for sample in self._traffic.samples)
        give_up_s = time.perf_counter() + _ENGINE_LIMIT_S
        while (counted := await engine_requests(self._vllm_url) - before) < expected:
            if time.perf_counter() > give_up_s:
                break
            await asyncio.sleep(_ENGINE_POLL_S)
        return counted
