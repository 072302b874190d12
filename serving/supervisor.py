"""Runs one vLLM server from start to stop: the shell around lifecycle's table.

One task reads the engine's output, one waits for its process to end, one asks it over HTTP (`_follow`); `_until_over`
takes whichever has news first. Whatever happens, `_Engine.kill` comes last.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

from serving import diagnosis, guard, lifecycle
from serving.errors import EngineError
from serving.lifecycle import Event, Life, Phase, RestartPolicy
from serving.logfile import EngineLog, LineSplitter
from serving.probe import Probe

if TYPE_CHECKING:
    from pathlib import Path

    from serving.spec import ModelSpec

Report = Callable[[str], None]


class Timing(NamedTuple):
    """How patient the supervisor is, in seconds."""

    poll_s: float = 0.25
    health_every_s: float = 5.0
    health_failures: int = 6
    heartbeat_s: float = 10.0
    warm_up_attempts: int = 4
    term_s: float = 15.0
    kill_s: float = 5.0


class Launch(NamedTuple):
    """The command that starts vLLM, and its environment."""

    argv: Sequence[str]
    env: Mapping[str, str]


class Supervisor:
    """Keeps one model served until asked to stop. `run` once; `stop` from a signal handler or another task."""

    def __init__(
        self,
        spec: ModelSpec,
        launch: Launch,
        log: EngineLog,
        report: Report,
        *,
        ready_file: Path | None = None,
        policy: RestartPolicy | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._spec = spec
        self._launch = launch
        self._log = log
        self._report_line = report
        self._ready_file = ready_file
        self._policy = policy or RestartPolicy()
        self._timing = timing or Timing()
        self._began = time.monotonic()
        self._life = Life(since_s=self._began)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    @property
    def phase(self) -> Phase:
        """Where the served model is in its life."""
        return self._life.phase

    def stop(self) -> None:
        """Ask to drain and stop; asked again, the grace for running requests ends."""
        (self._hurry if self._stop.is_set() else self._stop).set()

    async def run(self) -> None:
        """Serve until stopped. Raises EngineError when vLLM fails for good."""
        self._withdraw()
        try:
            self._happened(Event.STOP if self._stop.is_set() else Event.PREPARED)
            while self.phase not in lifecycle.FINAL:
                if self.phase is Phase.BACKOFF:
                    await self._back_off()
                else:
                    await self._one_engine()
        finally:
            self._withdraw()

    async def _one_engine(self) -> None:
        self._log.forget()
        async with (
            await _Engine.start(self._launch, self._log, self._progress, self._timing) as engine,
            Probe(self._spec) as probe,
        ):
            cause = await self._until_over(engine, probe)
            if cause is None:
                self._happened(Event.STOP)
                await self._drain(engine, probe)
                await engine.kill()
                self._happened(Event.EXITED)
                self._report("stopped")
                return
            await engine.kill()
        self._died(cause)

    async def _until_over(self, engine: _Engine, probe: Probe) -> diagnosis.Cause | None:
        """Follow the engine through its phases; give the cause of its end, or None when it should stop."""
        follow = asyncio.ensure_future(self._follow(probe))
        stop = asyncio.ensure_future(self._stop.wait())
        over = asyncio.ensure_future(engine.over())
        try:
            await asyncio.wait({follow, stop, over}, return_when=asyncio.FIRST_COMPLETED)
            self._withdraw()
            if stop.done():
                return None
            return diagnosis.cause_of(self._log.tail(), over.result()) if over.done() else follow.result()
        finally:
            for task in (follow, stop, over):
                task.cancel()
            await asyncio.gather(follow, stop, over, return_exceptions=True)

    async def _follow(self, probe: Probe) -> diagnosis.Cause:
        """Ask until the engine is ready, then for as long as it answers; give why it no longer counts as alive."""
        try:
            async with asyncio.timeout(self._spec.start_timeout_s):
                cold = await self._warm(probe)
        except TimeoutError:
            return diagnosis.too_slow(self._spec.start_timeout_s, self.phase.value)
        if cold:
            return diagnosis.cold(cold)
        self._happened(Event.WARMED)
        self._announce()
        missed = 0
        while missed < self._timing.health_failures:
            await asyncio.sleep(self._timing.health_every_s)
            missed = 0 if await probe.is_healthy() else missed + 1
        return diagnosis.silent()

    async def _warm(self, probe: Probe) -> str:
        """Wait for the server, then for a token; empty, or why there is still none after some attempts."""
        spoke = time.monotonic()
        while not await probe.is_answering():
            await asyncio.sleep(self._timing.poll_s)
            if time.monotonic() - spoke >= self._timing.heartbeat_s:
                spoke = time.monotonic()
                self._report(f"still {self.phase.value}")
        self._happened(Event.ANSWERED)
        cold = await probe.warm_up()
        for _ in range(self._timing.warm_up_attempts - 1):
            if not cold:
                break
            await asyncio.sleep(self._timing.poll_s)
            cold = await probe.warm_up()
        return cold

    async def _drain(self, engine: _Engine, probe: Probe) -> None:
        """Let running requests finish within the grace, then ask the process group to end."""
        grace_ends = time.monotonic() + self._spec.drain_grace_s
        self._report(f"draining, up to {self._spec.drain_grace_s:g} s")
        while time.monotonic() < grace_ends and not self._hurry.is_set() and engine.is_alive():
            if not await probe.unfinished_requests():
                break
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._timing.poll_s)
        await engine.terminate()

    def _died(self, cause: diagnosis.Cause) -> None:
        event, self._life = lifecycle.after_death(self._life, self._policy, time.monotonic(), can_heal=cause.can_heal)
        if event is Event.GAVE_UP:
            hint = f"{cause.hint}; log: {self._log.path}"
            raise EngineError(cause.line, hint, self._log.tail(20))
        delay_s = lifecycle.backoff_s(self._life.failures, self._policy)
        self._report(f"vLLM died: {cause.line}; again in {delay_s:g} s (log: {self._log.path})")

    async def _back_off(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), lifecycle.backoff_s(self._life.failures, self._policy))
        self._happened(Event.STOP if self._stop.is_set() else Event.RETRY)

    def _happened(self, event: Event) -> None:
        self._life = lifecycle.advance(self._life, event, time.monotonic())
        if self.phase in {Phase.STARTING, Phase.WARMING}:
            self._report(self.phase.value)

    def _progress(self, line: str) -> None:
        words = diagnosis.progress_of(line) if self.phase is Phase.STARTING else None
        if words:
            self._report(words)

    def _report(self, words: str) -> None:
        self._report_line(f"{time.monotonic() - self._began:6.1f} s  {self._spec.served_name}: {words}")

    def _announce(self) -> None:
        self._report("ready")
        if self._ready_file:
            fresh = self._ready_file.with_name(self._ready_file.name + ".new")
            fresh.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps({"url": self._spec.url, "model": self._spec.served_name}) + "\n")
            fresh.replace(self._ready_file)
        self._report_line(f"READY {self._spec.url}")

    def _withdraw(self) -> None:
        if self._ready_file:
            self._ready_file.unlink(missing_ok=True)


class _Engine:
    """vLLM under its guard. Leaving the context leaves no process."""

    def __init__(
        self, process: asyncio.subprocess.Process, pump: asyncio.Task[None], timing: Timing, lifeline: int
    ) -> None:
        self._process = process
        self._pump = pump
        self._timing = timing
        self._lifeline = lifeline

    @classmethod
    async def start(cls, launch: Launch, log: EngineLog, on_line: Callable[[str], None], timing: Timing) -> Self:
        stdin, lifeline = os.pipe()
        # A pipe of ours rather than asyncio's: there, waiting for a process also waits for every holder of its output,
        # and an engine core left by a killed server would be one.
        output, stdout = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guard.__file__, *launch.argv),
                stdin=stdin,
                stdout=stdout,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(launch.env),
                start_new_session=True,
            )
        except BaseException:
            os.close(lifeline)
            os.close(output)
            raise
        finally:
            os.close(stdin)
            os.close(stdout)
        pump = asyncio.create_task(_pump(output, log, on_line))
        return cls(process, pump, timing, lifeline)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def over(self) -> int:
        """Wait for the end of the process and of its output; give its exit status."""
        status = await self._process.wait()
        await asyncio.wait({self._pump}, timeout=self._timing.kill_s)
        return status

    async def terminate(self) -> None:
        """Ask the whole group to end, and give it a while."""
        self._signal_group(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), self._timing.term_s)

    async def kill(self) -> None:
        """End everything that is left: the guard does it when its lifeline is cut, the group signal if it cannot."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), self._timing.kill_s)
        # Also after a normal end: a guard that was itself killed has left the group behind.
        self._signal_group(signal.SIGKILL)
        await self._process.wait()
        await asyncio.wait({self._pump}, timeout=self._timing.kill_s)
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


async def _pump(output: int, log: EngineLog, on_line: Callable[[str], None]) -> None:
    """Copy the engine's output, line by line, until all its processes have closed it."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", buffering=0)
    )
    lines = LineSplitter()
    try:
        while data := await reader.read(65536):
            for line in lines.feed(data):
                log.write(line)
                on_line(line)
        for line in lines.end():
            log.write(line)
    finally:
        transport.close()
