"""Callers of every replica at a steady pace, and what each answer said."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.system.traps.caller import Line, chat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CALLERS = 5
"""Of each replica."""
PERIOD_S = 0.3
"""Of each caller; so 50 requests a second at three replicas."""
UNITS = 200
_REUSES = 10
"""Answers after which a caller connects anew, so that it meets other workers as well."""


_AT_ONCE = 6
"""Conversations of each replica."""


class Seen(NamedTuple):
    """One answer, or the lack of one (`status` 0). Unix times."""

    replica: int
    feature: str
    user: str
    sent_s: float
    got_s: float
    status: int
    arm: str = ""
    assigned: str = ""
    reason: str = ""
    revision: int = 0
    trouble: str = ""

    @property
    def failed(self) -> bool:
        return self.status != 200 or bool(self.trouble)


class Traffic:
    """Asks every replica for the features by turns, as users of whom each is met by all replicas."""

    def __init__(self, urls: Mapping[int, str], features: Sequence[str], key: str) -> None:
        self._urls, self._features, self._key = urls, features, key
        self._callers: list[asyncio.Task[None]] = []
        self._ended = False
        self.seen: list[Seen] = []

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        for replica, number in itertools.product(self._urls, range(CALLERS)):
            self._callers.append(loop.create_task(self._call(replica, number)))

    async def stop(self) -> None:
        """End once everybody has the last answer."""
        self._ended = True
        await asyncio.gather(*self._callers)

    def since(self, moment_s: float, replica: int | None = None) -> list[Seen]:
        """Answers to what was sent after a moment, by all replicas or one."""
        found = (each for each in self.seen if each.sent_s > moment_s)
        return [each for each in found if replica is None or each.replica == replica]

    async def _call(self, replica: int, number: int) -> None:
        line = Line(self._urls[replica], self._key)
        await asyncio.sleep(PERIOD_S * number / CALLERS)
        for turn, (feature, user) in enumerate(self._asked(number), 1):
            if self._ended:
                break
            began_s = time.monotonic()
            self.seen.append(await _ask(line, replica, feature, user))
            if turn % _REUSES == 0:
                line.close()
            await asyncio.sleep(max(0.0, began_s + PERIOD_S - time.monotonic()))
        line.close()

    def _asked(self, number: int) -> Iterator[tuple[str, str]]:
        users = itertools.cycle(range(number, UNITS, CALLERS))
        return ((feature, f"user-{next(users)}") for feature in itertools.cycle(self._features))


async def converse(urls: Sequence[str], feature: str, names: Sequence[str], key: str) -> set[str]:
    """Ask as each name, a user and a conversation, at all `urls`, six at once; who had no answer once."""
    parts = [(url, names[number::_AT_ONCE]) for url, number in itertools.product(urls, range(_AT_ONCE))]
    failed = await asyncio.gather(*(_converse(url, feature, part, key) for url, part in parts))
    return set().union(*failed)


async def _converse(url: str, feature: str, names: Sequence[str], key: str) -> set[str]:
    """A connection for each: another worker."""
    failed = set()
    for name in names:
        line = Line(url, key)
        try:
            answer = await line.ask(chat("say something", feature, user=name), {"x-conversation-id": name})
            if answer.status != 200 or not answer.whole:
                failed.add(name)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            failed.add(name)
        finally:
            line.close()
    return failed


async def _ask(line: Line, replica: int, feature: str, user: str) -> Seen:
    sent_s = time.time()
    try:
        answer = await line.ask(chat("say something", feature, user=user))
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as fault:
        line.close()
        return Seen(replica, feature, user, sent_s, time.time(), 0, trouble=repr(fault))
    said = answer.headers.get
    return Seen(
        *(replica, feature, user, sent_s, time.time(), answer.status),
        arm=said("x-glidepath-arm", ""),
        assigned=said("x-glidepath-assigned", ""),
        reason=said("x-glidepath-reason", ""),
        revision=int(said("x-glidepath-flag-version", "0")),
        trouble="" if answer.whole and answer.status == 200 else answer.body.decode("utf-8", "replace")[:200] or "cut",
    )
