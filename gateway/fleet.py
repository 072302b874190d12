"""The workers: as many as wanted, replaced when they die, grow too large, or the configuration changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from gateway.core import messages as say
from gateway.core.lives import Acceptor, Event, RestartPolicy, State, after_death, assign
from gateway.process import WorkerProcess
from gateway.start_error import StartError
from gateway.switchboard import Switchboard

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.listeners import Listeners
    from gateway.settings import Settings

_log = logging.getLogger(__name__)
_START_S = 120.0
_WATCH_EVERY_S = 2.0
_HUNG_AFTER_S = 30.0
_KILL_AFTER_S = 5.0
RESTART_REASONS = ("died", "memory", "reload", "asked")


class Configuration(NamedTuple):
    """What `glidepath.toml` and the environment say."""

    settings: Settings
    api_keys: dict[str, str | None]
    proxy_credentials: dict[str, str | None]
    judge_keys: dict[str, str | None]


class Slot:
    """One place for a worker, with a listening socket of its own."""

    def __init__(self) -> None:
        self.current: WorkerProcess | None = None
        self.predecessor: WorkerProcess | None = None
        """The one replaced last, while it drains."""
        self.deaths = 0
        self.wanted = True
        self.turn = asyncio.Lock()


class Fleet:
    """All workers of this replica. `given` makes what a new worker is told."""

    def __init__(
        self,
        configuration: Configuration,
        listeners: Listeners,
        given: Callable[[Configuration, WorkerProcess], say.Configure],
        policy: RestartPolicy | None = None,
    ) -> None:
        self.configuration = configuration
        self.board = Switchboard()
        self.restarts: Counter[str] = Counter(dict.fromkeys(RESTART_REASONS, 0))
        self.hopeless: asyncio.Future[StartError] = asyncio.get_running_loop().create_future()
        """Gets the error when no worker can be kept alive."""
        self._listeners, self._given, self._policy = listeners, given, policy or RestartPolicy()
        self._slots: list[Slot] = []
        self._numbers = count(1)
        self._rolling = asyncio.Lock()
        self._ending = False
        self._started = False
        """Until all accept nobody is replaced: if a worker dies, this start has failed."""
        self._tasks: set[asyncio.Task[None]] = set()

    def unready(self) -> str | None:
        """None, or why this replica should get no traffic."""
        if self._ending:
            return "draining"
        return None if self.board.among(State.READY) else "no worker is ready"

    async def spawn(self) -> None:
        """Start the processes of the configured slots; they load while the supervisor does what comes first."""
        for number in range(self.configuration.settings.server.workers):
            self._slots.append(Slot())
            self._slots[number].current = await self._spawn(number)

    async def start(self) -> None:
        """Tell the spawned workers what to be; return when all accept. Raises `StartError`."""
        first = [slot.current for slot in self._slots if slot.current is not None]
        for worker in first:
            worker.channel.send(self._given(self.configuration, worker))
        try:
            async with asyncio.timeout(_START_S):
                await asyncio.gather(*(worker.settled.wait() for worker in first))
        except TimeoutError:
            raise StartError("the workers don't get ready", "see their messages above") from None
        for worker in first:
            if worker.state is not State.READY:
                hint = worker.failure.hint if worker.failure else "see its message above"
                raise StartError(f"a worker can't start: {worker.end}", hint)
        self._started = True

    async def reload(self, configuration: Configuration) -> None:
        """Replace all workers, one after the other; if a new one can't start, the old ones stay."""
        async with self._rolling:
            wanted = configuration.settings.server.workers
            self._listeners.widen(wanted)
            while len(self._slots) < wanted:
                self._slots.append(Slot())
            for number in range(wanted):
                self._slots[number].wanted = True
                if not await self._replace(number, configuration, "reload"):
                    return
                self.configuration = configuration
            for slot in self._slots[wanted:]:
                slot.wanted = False
                self._succeed(slot, None)

    async def replace(self, worker: WorkerProcess, reason: str) -> None:
        """Replace one worker, unless that has happened already."""
        async with self._rolling:
            if self._slots[worker.slot].current is worker and not self._ending:
                await self._replace(worker.slot, self.configuration, reason)

    async def watch(self) -> None:
        """Look after the workers for ever: too large ones are replaced, silent ones killed."""
        while True:
            await asyncio.sleep(_WATCH_EVERY_S)
            for worker in self.board.among(State.STARTING, State.READY):
                silent_s = monotonic() - worker.heard_at_s
                if silent_s > (_HUNG_AFTER_S if worker.state is State.READY else _START_S):
                    _log.error("worker %d has said nothing for %d s and is killed", worker.number, silent_s)
                    worker.kill()
            if not self._rolling.locked():
                await self.replace_too_large()

    async def replace_too_large(self) -> None:
        """Replace workers above the memory limit, one after the other."""
        limit_mb = self.configuration.settings.server.memory_max_mb
        for worker in self.board.among(State.READY):
            used_mb = worker.memory_bytes >> 20
            if limit_mb and used_mb > limit_mb and monotonic() - worker.started_at_s > self._policy.settling_s:
                _log.warning("worker %d uses %d MB (memory_max_mb: %d)", worker.number, used_mb, limit_mb)
                await self.replace(worker, "memory")

    async def drain(self, grace_s: float, bound_s: float) -> None:
        """End all workers: not ready at once, no new connections after the grace, then bounded."""
        self._ending = True
        for worker in self.board.among(State.STARTING, State.READY):
            worker.drain(say.Drain(grace_s, bound_s, replaced=False))
        self._listeners.close_public()
        ends = [worker.gone.wait() for worker in self.board.lines.values()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s + bound_s + _KILL_AFTER_S):
                await asyncio.gather(*ends)

    async def kill(self) -> None:
        """End all workers that are left, at once."""
        self._ending = True
        left = list(self.board.lines.values())
        for worker in left:
            worker.kill()
        for worker in left:
            await worker.gone.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _spawn(self, slot: int) -> WorkerProcess:
        worker = WorkerProcess(next(self._numbers), slot, self._listeners.public)
        self.board.lines[worker.number] = worker
        await worker.open(self._on_message)
        self._begin(self._see_off(worker))
        return worker

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_message(self, worker: WorkerProcess, message: say.Message) -> None:
        if isinstance(message, say.Ready) and worker.state is State.STARTING:
            worker.move(Event.READY)
            self._rebalance()
        elif isinstance(message, say.Failed):
            worker.failure = message
        elif isinstance(message, say.Retire):
            self._begin(self.replace(worker, "asked"))
        self.board.hear(worker, message)

    async def _replace(self, number: int, configuration: Configuration, reason: str) -> bool:
        """Start a successor; once it accepts, let the predecessor end. False if it can't start."""
        slot = self._slots[number]
        if slot.predecessor is not None:
            await slot.predecessor.gone.wait()  # never more than two processes per slot
        async with slot.turn:
            new = await self._spawn(number)
            new.channel.send(self._given(configuration, new))
            try:
                async with asyncio.timeout(_START_S):
                    await new.settled.wait()
            except TimeoutError:
                new.kill()
                await new.gone.wait()
            if self._ending:
                return False
            if new.state is not State.READY:
                hint = new.failure.hint if new.failure else "see its message above"
                _log.error("a new worker can't start, so nothing is replaced: %s\n  hint: %s", new.end, hint)
                return False
            self.restarts[reason] += slot.current is not None
            self._succeed(slot, new)
            return True

    def _succeed(self, slot: Slot, new: WorkerProcess | None) -> None:
        """Let `new`, or nobody of its own, serve a slot from now on; whoever did so ends."""
        old, slot.current = slot.current, new
        self._rebalance()
        if old is not None and old.state in {State.STARTING, State.READY}:
            slot.predecessor = old
            old.drain(say.Drain(0.0, self.configuration.settings.server.drain_s, replaced=True))

    def _rebalance(self) -> None:
        """See to it that every slot is accepted from, by its own worker if that is ready."""
        ready = {each.number: each for each in self.board.among(State.READY)}
        own = [slot.current.number if slot.current and slot.current.number in ready else None for slot in self._slots]
        acceptors = [Acceptor(number, ready[number].slots) for number in own if number is not None]
        for number, slots in assign(own, acceptors).items():
            ready[number].accept(slots)

    async def _see_off(self, worker: WorkerProcess) -> None:
        """Wait for a worker's end, and decide what comes after."""
        await worker.wait()
        self.board.bury(worker)
        slot = self._slots[worker.slot]
        if slot.predecessor is worker:
            slot.predecessor = None
        if slot.current is worker and self._started and not self._ending:
            slot.current = None
            self._rebalance()
            await self._revive(worker, slot)

    async def _revive(self, dead: WorkerProcess, slot: Slot) -> None:
        lived_s = monotonic() - dead.started_at_s
        others = bool(self.board.among(State.READY))
        verdict = after_death(slot.deaths, lived_s, self._policy, others_ready=others)
        slot.deaths = verdict.deaths
        _log.error("worker %d died after %.1f s: %s", dead.number, lived_s, dead.end)
        if verdict.hopeless:
            if not self.hopeless.done():
                hint = dead.failure.hint if dead.failure else "see their messages above"
                cause = f"worker after worker dies, {verdict.deaths} in a row: {dead.end}"
                self.hopeless.set_result(StartError(cause, hint))
            return
        await asyncio.sleep(verdict.wait_s)
        async with slot.turn:
            if slot.current is None and slot.wanted and not self._ending:
                self.restarts["died"] += 1
                slot.current = await self._spawn(dead.slot)
                slot.current.channel.send(self._given(self.configuration, slot.current))
