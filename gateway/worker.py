"""One worker process: serves the public port from the sockets it inherits, as the supervisor tells it to.

`python -m gateway.worker FD`: FD is one end of a socket pair, on which the configuration comes first. The worker
follows the store by itself; without its supervisor it serves nobody new and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import signal
import socket
import sys
import time
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from gateway.channel import open_channel
from gateway.core import messages as say
from gateway.core.frames import frame
from gateway.feedback import LateFeedbackError, UnknownAnswerError
from gateway.loop import loop_factory, repeat, spare_collections
from gateway.parts import Secrets, build_parts
from gateway.peers import Peers
from gateway.settings import Settings
from gateway.start_error import StartError
from rollout import ofrep
from rollout.adapters import open_store
from rollout.adapters.clock import WallClock
from rollout.follower import Follower
from rollout.keys.follower import KeyFollower
from rollout.keys.uses import KeyUses
from rollout.ports import KeyRecord

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from gateway.channel import Channel
    from gateway.parts import Parts
    from rollout.ports import Store

_log = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_SWEEP_EVERY_S = 0.1
_SWEEP_CALLERS_EVERY_S = 0.5
_QUIET_S = 0.5
"""A connection that nothing has come on for so long is idle: closing it while draining fails nobody's request."""
_HANDED_OVER_AT_ONCE = 500
_HEARTBEAT_S = 1.0


class Worker:
    """What the messages of the supervisor act on."""

    def __init__(self, given: say.Configure, settings: Settings, store: Store, listeners: list[socket.socket]) -> None:
        self._given, self._settings, self._store, self._listeners = given, settings, store, listeners
        state_dir = Path(settings.store.state_dir)
        self._follower = Follower(
            store, WallClock(), last_good=state_dir / "last-good.json", kill_file=state_dir / "kill"
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining: say.Drain | None = None
        self._serving = False
        self._sent_at_s = 0.0
        self._ended = asyncio.Event()

    async def run(self, line: socket.socket) -> None:
        """Serve until told to end, or until the supervisor is gone."""
        self._channel = await open_channel(line, self._on_message, self._on_lost)
        try:
            parts = self._parts = self._build(self._channel)
            self._follower.when_changed(parts.metrics.propagation.cell().observe)
            parts.adopt_keys(msgspec.msgpack.decode(self._given.key_records, type=list[KeyRecord]))
            self._keys = KeyFollower(self._store, WallClock(), parts.adopt_keys)
            self._uses = KeyUses(self._store, parts.keyring.take_uses)
            await self._follower.hold_kills(frozenset(self._given.kills))
            await self._follower.refresh()
            await self._keys.refresh()
            await parts.quotas.prime()
            await self._serve(parts)
        except Exception as fault:
            self._channel.send(_failed(fault))
            await self._channel.close()
            raise

    async def _serve(self, parts: Parts) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._on_terminate)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        chores = [
            loop.create_task(each)
            for each in (
                parts.recorder.run(self._send_counts),
                self._follower.run(),
                self._keys.run(),
                self._uses.run(),
                parts.quotas.run(),
                parts.gather(),
                repeat(_SWEEP_EVERY_S, self._sweep),
                repeat(_SWEEP_CALLERS_EVERY_S, self._sweep_callers),
            )
        ]
        ending = loop.create_task(self._ended.wait())
        self._serving = True
        if self._draining is not None:  # told so while it started
            self._begin(self._drain(self._draining))
        spare_collections()
        self._channel.send(say.Ready())
        await asyncio.wait([ending, *chores], return_when=asyncio.FIRST_COMPLETED)
        for task in (ending, *chores):
            task.cancel()
        results = await asyncio.gather(*chores, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _build(self, channel: Channel) -> Parts:
        given = self._given
        return build_parts(
            self._settings,
            Secrets(given.api_keys, given.proxy_credentials, given.judge_keys),
            self._store,
            self._follower,
            unready=self._unready,
            others=Peers(channel),
            flag_router=ofrep.router,
        )

    def _unready(self) -> str | None:
        if self._draining is not None and not self._draining.replaced:
            return "draining"
        if self._follower.version < 0:
            return "no rollout document has been loaded yet"
        return None

    def _on_message(self, message: say.Message) -> None:
        if isinstance(message, say.Accept):
            self._begin(self._accept(message))
        elif isinstance(message, say.Drain):
            self._drain_once(message)
        elif isinstance(message, say.Ask):
            self._begin(self._reply(message))
        elif isinstance(message, say.Handover):
            self._parts.settled.receive(message.records, message.scores)
            self._parts.gathering.receive(message)

    def _on_lost(self) -> None:
        """The supervisor is gone: nobody can be told what happens here from now on."""
        self._drain_once(say.Drain(0.0, self._settings.server.drain_s, replaced=False))

    def _on_terminate(self) -> None:
        if self._channel.congested:
            self._on_lost()
        else:
            self._channel.send(say.Retire())

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, message: say.Accept) -> None:
        if self._draining is None:
            await self._parts.port.accept_from([self._listeners[slot] for slot in message.slots])

    async def _reply(self, ask: say.Ask) -> None:
        self._channel.send(say.Reply(ask.id, ((self._given.number, await self._answer(ask.question)),)))

    async def _answer(self, question: say.Question) -> say.Answer:
        if isinstance(question, say.CatchUp):
            await self._follower.hold_kills(frozenset(question.kills))
            await self._follower.refresh()
            await self._keys.refresh()
            return say.CaughtUp(self._follower.version)
        await self._parts.recorder.settle()
        if isinstance(question, say.Collect):
            self._send_counts()
            return say.Collected(tuple(self._parts.metrics.readings()))
        if isinstance(question, say.FindRequest):
            settled = self._parts.settled
            return say.Requests(settled.find(question.request_id), settled.complete_since_s)
        answered = self._parts.answers.find(question.request_id, question.tenant)
        if answered is None:
            return say.Unknown()
        if isinstance(question, say.FindAnswer):
            return say.Found(answered.at_s)
        return self._take(question)

    def _take(self, rated: say.TakeFeedback) -> say.Answer:
        try:
            return say.Taken(self._parts.answers.take(rated, rated.tenant, time.time()).feature)
        except UnknownAnswerError:
            return say.Unknown()
        except LateFeedbackError:
            return say.Late()

    def _send_counts(self) -> None:
        """Send what changed; at least now and then, so that the supervisor sees that the loop turns."""
        if self._channel.congested:
            return  # what is not sent now is sent with the next
        changes = self._parts.metrics.changes()
        now_s = perf_counter()
        if changes or now_s - self._sent_at_s >= _HEARTBEAT_S:
            self._sent_at_s = now_s
            self._channel.send(say.Counts(tuple(changes)))

    async def _sweep(self) -> None:
        """Deadlines of exchanges, idle connections to upstreams."""
        self._parts.relay.sweep(perf_counter())

    async def _sweep_callers(self) -> None:
        """What callers may take of time."""
        self._parts.port.sweep(perf_counter())

    def _drain_once(self, order: say.Drain) -> None:
        """Drain, once there is something to: a start that fails loses its line too, and has nothing to give back."""
        if self._draining is None:
            self._draining = order
            if self._serving:
                self._begin(self._drain(order))

    async def _drain(self, order: say.Drain) -> None:
        """Serve what is under way, bounded; then give everything back and end.

        With a successor on the same port, idle connections are kept: their next answer ends them, so that no request
        meets a closed connection. Without one, they have the grace and a quiet moment.
        """
        port = self._parts.port
        port.begin_drain()
        self._parts.relay.end_shadows()
        if not order.replaced:
            await asyncio.sleep(order.grace_s)
        await port.accept_from(())
        for listener in self._listeners:
            listener.close()
        until_s = perf_counter() + order.bound_s
        while port.connections and perf_counter() < until_s:
            if not order.replaced:
                port.close_idle(_QUIET_S)
            await asyncio.sleep(0.02)
        self._parts.relay.end_now()
        await asyncio.sleep(0)  # what they were told leaves
        port.abort()
        self._parts.relay.close()
        self._parts.recorder.drain()
        await self._give_back(order)
        await self._hand_over(order)
        self._ended.set()

    async def _give_back(self, order: say.Drain) -> None:
        """To the store: what was counted last, unused quotas (judges' too), and when keys were used."""
        await self._parts.gathering.close(replaced=order.replaced)
        await self._parts.quotas.close()
        await self._uses.close()
        for sink in self._parts.sinks:
            await asyncio.to_thread(sink.close)

    async def _hand_over(self, order: say.Drain) -> None:
        self._parts.recorder.drain()
        await self._channel.send_when_writable(say.Counts(tuple(self._parts.metrics.changes())))
        if order.replaced:
            for records, scores in self._parts.settled.give_away(_HANDED_OVER_AT_ONCE):
                await self._channel.send_when_writable(say.Handover(records, scores))
            for waiting in self._parts.gathering.give_away(_HANDED_OVER_AT_ONCE):
                await self._channel.send_when_writable(waiting)
        await self._channel.close()


async def _work(given: say.Configure, settings: Settings, store: Store, line: socket.socket) -> None:
    listeners = [socket.socket(fileno=each) for each in given.listeners]
    for each in listeners:
        each.setblocking(False)
    try:
        await Worker(given, settings, store, listeners).run(line)
    finally:
        await store.close()


def main(argv: Sequence[str] = tuple(sys.argv)) -> int:
    """Serve as the supervisor at the other end of the line says."""
    with contextlib.suppress(AttributeError):  # Linux only; elsewhere the end of the line has to do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    line = socket.socket(fileno=int(argv[1]))
    given = _first_message(line)
    if given is None:
        return 0
    logging.basicConfig(
        level=logging.WARNING, format=f"%(asctime)s %(levelname)s worker {given.number} %(name)s: %(message)s"
    )
    try:
        settings, store = _prepare(given, line)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_work(given, settings, store, line))
    except Exception as fault:
        if isinstance(getattr(fault, "cause", None), str):
            return 1  # foreseen, and told
        raise
    return 0


def _prepare(given: say.Configure, line: socket.socket) -> tuple[Settings, Store]:
    try:
        _check_origin(given)
        settings = Settings.model_validate_json(given.settings)
        return settings, open_store(settings.store.url)
    except Exception as fault:
        line.sendall(frame(say.encode(_failed(fault))))
        raise


def _failed(fault: Exception) -> say.Failed:
    cause = getattr(fault, "cause", None)
    return say.Failed(cause if isinstance(cause, str) else repr(fault), str(getattr(fault, "hint", "")))


def _check_origin(given: say.Configure) -> None:
    here = version("glidepath")
    if (given.protocol, given.build) != (say.PROTOCOL, here):
        cause = f"this worker is version {here}, its supervisor {given.build}"
        raise StartError(cause, "the installation was changed under a running gateway: restart it")


def _first_message(line: socket.socket) -> say.Configure | None:
    """Wait for the configuration; None if the supervisor ended first."""
    line.setblocking(True)
    head = line.recv(4, socket.MSG_WAITALL)
    body = line.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL) if head else b""
    message = say.decode(body) if body else None
    return message if isinstance(message, say.Configure) else None


if __name__ == "__main__":
    sys.exit(main())
