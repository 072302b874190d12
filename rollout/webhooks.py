"""Telling others of changes: bounded queues, signed posts, retries. Whoever publishes never waits for a receiver.

The queues live in memory: what waits when the process ends is lost, and said so. The audit log is the record.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import httpx2

from rollout.core.errors import InvalidArgument, RolloutError, nearest_names
from rollout.core.webhooks import (
    KINDS,
    Attempted,
    Event,
    RetryRules,
    body_of,
    headers_of,
    outcome_of,
    read_secrets,
    wait_s,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rollout.ports import Clock

_log = logging.getLogger(__name__)
LIMIT_S = 15.0
WAITING_MAX = 1_000
_SECRETS_MAX_CHARS = 4_096
_RULES = RetryRules()


class Receiver(NamedTuple):
    """One address, from the configuration only. Its URL may hold a secret, so logs show its name."""

    name: str
    url: str
    secret_file: Path
    """Secrets, one per line; read for each attempt, so that a new one is in force at once."""
    kinds: frozenset[str] | None = None
    """Kinds of events it gets; None for all."""


class _Delivery(NamedTuple):
    """An event that waits for its next attempt, at the loop's time `due_s`."""

    due_s: float
    number: int
    event: Event
    failures: int = 0


class Webhooks:
    """Sends events to receivers.

    For readers: `counts` (receiver, outcome) and `waiting`. InvalidArgument for a receiver that can't be meant.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        clock: Clock,
        *,
        rules: RetryRules = _RULES,
        limit_s: float = LIMIT_S,
        waiting_max: int = WAITING_MAX,
        tls: ssl.SSLContext | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Give each attempt `limit_s`, keep `waiting_max` events per receiver; `tls`: whose certificates are good."""
        for receiver in receivers:
            _check(receiver)
        if waiting_max < 1 or limit_s <= 0:
            raise InvalidArgument("webhooks need room for one event and time for an attempt", "raise the limits")
        if len({receiver.name for receiver in receivers}) < len(receivers):
            raise InvalidArgument("two webhook receivers have the same name", "give each its own")
        self.counts: Counter[tuple[str, Attempted]] = Counter()
        self._http = httpx2.AsyncClient(
            verify=True if tls is None else tls,
            timeout=None,  # `_Channel` bounds the whole, a receiver that drips included
            follow_redirects=False,  # a redirect would let a receiver choose where else we post
            trust_env=False,
        )
        sender = _Sender(self._http, clock, limit_s)
        self._channels = [
            _Channel(each, sender, rules=rules, waiting_max=waiting_max, draw=draw, counts=self.counts)
            for each in receivers
        ]

    @property
    def waiting(self) -> Mapping[str, int]:
        """Events not yet delivered nor given up, by receiver."""
        return {channel.receiver.name: channel.waiting for channel in self._channels}

    def publish(self, event: Event) -> None:
        """Queue an event for all who want its kind, from the loop's own thread; returns at once and never fails.

        When too many wait for a receiver, the oldest of them is dropped.
        """
        for channel in self._channels:
            channel.publish(event)

    async def run(self) -> None:
        """Send until cancelled; without receivers there is nothing to do."""
        async with asyncio.TaskGroup() as tasks:
            for channel in self._channels:
                tasks.create_task(channel.run())

    async def settle(self, limit_s: float) -> bool:
        """Let `run` send what waits, for so long at most; whether nothing is left."""
        try:
            async with asyncio.timeout(limit_s):
                for channel in self._channels:
                    await channel.settled.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Release connections, after `run` has ended; what still waits is lost. Calling it twice is harmless."""
        for channel in self._channels:
            channel.abandon()
        await self._http.aclose()


class _Sender(NamedTuple):
    """One attempt: sign, post, look at the status and nothing else of the answer."""

    http: httpx2.AsyncClient
    clock: Clock
    limit_s: float

    async def attempt(self, receiver: Receiver, event: Event) -> tuple[Attempted, str, str | None]:
        """What became of it, in words too, and the receiver's Retry-After."""
        try:
            body = body_of(event)
            async with asyncio.timeout(self.limit_s):
                secrets = read_secrets(await asyncio.to_thread(_read, receiver.secret_file))
                headers = headers_of(event, body, secrets, self.clock.now_s())
                async with self.http.stream("POST", receiver.url, content=body, headers=headers) as answer:
                    retry_after = answer.headers.get("retry-after")
                    return outcome_of(answer.status_code), f"HTTP {answer.status_code}", retry_after
        except TimeoutError:
            return Attempted.FAILED, f"no answer within {self.limit_s:g} s", None
        except RolloutError as fault:
            return Attempted.FAILED, fault.cause, None
        except Exception as fault:  # noqa: BLE001  one receiver must not end the sending to others
            return Attempted.FAILED, type(fault).__name__, None  # its text could show the URL


class _Channel:
    """One receiver's queue. What failed waits for its time while newer events pass it."""

    def __init__(
        self,
        receiver: Receiver,
        sender: _Sender,
        *,
        rules: RetryRules,
        waiting_max: int,
        draw: Callable[[], float],
        counts: Counter[tuple[str, Attempted]],
    ) -> None:
        self.receiver = receiver
        self._sender, self._rules, self._waiting_max, self._draw, self._counts = (
            sender,
            rules,
            waiting_max,
            draw,
            counts,
        )
        self._queue: list[_Delivery] = []
        self._under_way: _Delivery | None = None
        self._numbers = count()
        self._woken = asyncio.Event()
        self._gone = False
        self.settled = asyncio.Event()
        self.settled.set()

    @property
    def waiting(self) -> int:
        return len(self._queue) + (self._under_way is not None)

    def publish(self, event: Event) -> None:
        if self.receiver.kinds is not None and event.kind not in self.receiver.kinds:
            return
        if self._gone:
            self._end(event, Attempted.GONE, "it wanted no more")
            return
        if self.waiting >= self._waiting_max and self._queue:
            oldest = min(self._queue, key=lambda delivery: delivery.number)
            self._queue.remove(oldest)
            heapq.heapify(self._queue)
            self._end(oldest.event, Attempted.DROPPED, f"{self._waiting_max} were waiting already")
        self._push(_Delivery(0.0, next(self._numbers), event))

    def abandon(self) -> None:
        if self.waiting:
            _log.error("webhook %s: %d events are lost", self.receiver.name, self.waiting)

    async def run(self) -> None:
        while True:
            delivery = await self._due()
            self._under_way = delivery
            try:
                outcome, told, retry_after = await self._sender.attempt(self.receiver, delivery.event)
            except asyncio.CancelledError:
                self._push(delivery)
                raise
            finally:
                self._under_way = None
            self._settle(delivery, outcome, told, retry_after)
            if not self._queue:
                self.settled.set()

    async def _due(self) -> _Delivery:
        """Wait for the delivery whose time comes first; newer events may have an earlier time."""
        while True:
            now_s = asyncio.get_running_loop().time()
            if self._queue and self._queue[0].due_s <= now_s:
                return heapq.heappop(self._queue)
            self._woken.clear()
            wait = self._queue[0].due_s - now_s if self._queue else None
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _settle(self, delivery: _Delivery, outcome: Attempted, told: str, retry_after: str | None) -> None:
        failures = delivery.failures + 1
        if outcome is Attempted.DELIVERED:
            self._counts[self.receiver.name, outcome] += 1
        elif outcome is Attempted.GONE:
            self._give_up_all(delivery.event)
        else:
            self._counts[self.receiver.name, outcome] += 1
            wait = wait_s(self._rules, failures, retry_after, self._draw())
            if wait is None:
                self._end(delivery.event, Attempted.GIVEN_UP, f"{failures} attempts failed, the last with: {told}")
                return
            _log.warning("webhook %s: %s; next attempt in %.1f s", self.receiver.name, told, wait)
            self._push(delivery._replace(due_s=asyncio.get_running_loop().time() + wait, failures=failures))

    def _give_up_all(self, event: Event) -> None:
        self._gone = True
        left, self._queue = self._queue, []
        for each in (event, *(delivery.event for delivery in left)):
            self._end(each, Attempted.GONE, "it answered 410 and gets nothing more until a restart")

    def _push(self, delivery: _Delivery) -> None:
        heapq.heappush(self._queue, delivery)
        self.settled.clear()
        self._woken.set()

    def _end(self, event: Event, outcome: Attempted, why: str) -> None:
        self._counts[self.receiver.name, outcome] += 1
        _log.error("webhook %s: %s %s is not delivered: %s", self.receiver.name, event.kind, event.event_id, why)


def _check(receiver: Receiver) -> None:
    for kind in sorted((receiver.kinds or frozenset()) - KINDS):
        nearest = nearest_names(kind, KINDS)
        meant = f"did you mean {nearest[0]!r}?" if nearest else f"kinds: {', '.join(sorted(KINDS))}"
        raise InvalidArgument(f"webhook {receiver.name!r} asks for {kind!r}, which there is not", meant)
    hint = 'write it as "https://HOST/PATH"'
    try:
        parts = httpx2.URL(receiver.url)
    except (httpx2.InvalidURL, TypeError, UnicodeError) as fault:
        raise InvalidArgument(f"the URL of webhook {receiver.name!r} is not usable", hint) from fault
    if parts.scheme not in {"http", "https"} or not parts.host or parts.userinfo or parts.fragment:
        raise InvalidArgument(f"the URL of webhook {receiver.name!r} is not usable", hint)


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_SECRETS_MAX_CHARS)
    except (OSError, UnicodeError) as fault:
        raise InvalidArgument(f"the webhook secrets in {path} can't be read: {type(fault).__name__}") from None
