"""What workers say, brought to where it belongs: counts to the ledger, questions and old answers to other workers."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

from gateway.core import messages as say
from gateway.core.lives import State
from gateway.core.series import Ledger
from gateway.peers import WITHIN_S

if TYPE_CHECKING:
    from gateway.process import WorkerProcess

_log = logging.getLogger(__name__)
KEPT_MAX = 512
"""Messages; all of one worker, which hands over 500 at once."""


class Switchboard:
    """The lines to all workers there are, by worker number."""

    def __init__(self) -> None:
        self.lines: dict[int, WorkerProcess] = {}
        self.ledger = Ledger()
        self._tasks: set[asyncio.Task[None]] = set()
        self._heirless: deque[tuple[int, say.Handover]] = deque()
        """What was handed over while nobody was ready, by slot."""

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
            self._hand_over(worker.slot, message)
        elif isinstance(message, say.Ready):
            self._hand_over_what_was_kept()

    def bury(self, worker: WorkerProcess) -> None:
        """Forget a dead worker's line and gauges; what it had counted stays."""
        del self.lines[worker.number]
        self.ledger.bury(worker.number)

    async def _pass_on(self, worker: WorkerProcess, ask: say.Ask) -> None:
        answers = await self.ask(ask.question, but=worker.number, to=ask.to)
        worker.channel.send(say.Reply(ask.id, answers))

    def _hand_over(self, slot: int, message: say.Handover) -> None:
        """Give what a leaving worker knew to its successor, or to any other, or to the next that will be ready."""
        heirs = self.among(State.READY)
        if heirs:
            max(heirs, key=lambda each: (each.slot == slot, each.number)).channel.send(message)
            return
        self._heirless.append((slot, message))
        if len(self._heirless) > KEPT_MAX:
            self._heirless.popleft()
            _log.warning("no worker is ready to take over what others knew: some of it is lost")

    def _hand_over_what_was_kept(self) -> None:
        kept, self._heirless = self._heirless, deque()
        for slot, message in kept:
            self._hand_over(slot, message)
