"""What workers say, brought to where it belongs: counts to the ledger, questions and old answers to other workers."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from gateway.core import messages as say
from gateway.core.lives import State
from gateway.core.series import Ledger
from gateway.peers import WITHIN_S

if TYPE_CHECKING:
    from gateway.process import WorkerProcess


class Switchboard:
    """The lines to all workers there are, by worker number."""

    def __init__(self) -> None:
        self.lines: dict[int, WorkerProcess] = {}
        self.ledger = Ledger()
        self._tasks: set[asyncio.Task[None]] = set()

    def among(self, *states: State) -> list[WorkerProcess]:
        """Workers in these states, in the order of their start."""
        return [each for each in self.lines.values() if each.state in states]

    async def ask(
        self, question: say.Question, *, but: int | None = None, to: int | None = None
    ) -> tuple[tuple[int, say.Answer], ...]:
        """Ask all workers that are ready or drain (but one; or just one); `Unheard` of who is silent for too long."""
        able = self.among(State.READY, State.DRAINING)
        asked = [each for each in able if each.number != but and to in {None, each.number}]
        replies = await asyncio.gather(*(each.channel.ask(question, WITHIN_S) for each in asked))
        return tuple(
            (each.number, reply[0][1] if reply else say.Unheard()) for each, reply in zip(asked, replies, strict=True)
        )

    async def collect(self) -> None:
        """Bring ledger and readings up to now; of a worker that doesn't answer in time, what it said last remains."""
        for number, answer in await self.ask(say.Collect()):
            worker = self.lines.get(number)
            if worker is not None and isinstance(answer, say.Collected):
                worker.readings = answer.readings

    def hear(self, worker: WorkerProcess, message: say.Message) -> None:
        """Take a message that says nothing about the worker's own life."""
        worker.heard_at_s = monotonic()
        if isinstance(message, say.Counts):
            self.ledger.take(worker.number, message.series)
        elif isinstance(message, say.Ask):
            task = asyncio.get_running_loop().create_task(self._pass_on(worker, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif isinstance(message, say.Handover):
            self._hand_over(worker, message)

    def bury(self, worker: WorkerProcess) -> None:
        """Forget a dead worker's line and gauges; what it had counted stays."""
        del self.lines[worker.number]
        self.ledger.bury(worker.number)

    async def _pass_on(self, worker: WorkerProcess, ask: say.Ask) -> None:
        answers = await self.ask(ask.question, but=worker.number, to=ask.to)
        worker.channel.send(say.Reply(ask.id, answers))

    def _hand_over(self, worker: WorkerProcess, message: say.Handover) -> None:
        """Give a leaving worker's answers to its successor, or to any other; without one nobody could use them."""
        heirs = self.among(State.READY)
        if heirs:
            max(heirs, key=lambda each: (each.slot == worker.slot, each.number)).channel.send(message)
