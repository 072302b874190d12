"""Keeps a worker's meters supplied from the store, in the background: no request ever waits for it.

While the store doesn't answer, rates and concurrency go on with this worker's share of each limit, and budgets with the
block they hold, no further. Contact comes back by itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from gateway.core.admission.gate import Admission
from rollout.core.errors import RolloutError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.admission.leasing import Sent
    from rollout.core.quota import QuotaAsk, QuotaGrant

_log = logging.getLogger(__name__)
EVERY_S = 0.1
GAP_S = 0.02
"""Between rounds that requests call for: what came in the meantime goes into one."""
ANSWER_MAX_S = 1.0
RETRY_S = 0.5
PRIME_ROUNDS_MAX = 200


class QuotaStore(Protocol):
    """What is needed of a store. `StoreUnavailable` when it can't answer."""

    async def lease_quota(self, asks: Sequence[QuotaAsk]) -> list[QuotaGrant]:
        """Grant each ask what its window still gives, in one round trip."""
        ...


class Quotas:
    """The limits of one worker (`admission`), leased from `store`.

    For readers: `is_down`, `rounds`, `failures` (counters), `age_s`.
    """

    def __init__(self, store: QuotaStore, *, workers: int = 1, clock: Callable[[], float] = time.time) -> None:
        """`workers`: how many share each limit until the store has been heard. `clock`: Unix time."""
        self._store, self._clock = store, clock
        self._called = asyncio.Event()
        self.admission = Admission(workers=workers, wake=self._called.set)
        self.rounds = self.failures = 0
        self._answered_at_s = clock()

    @property
    def is_down(self) -> bool:
        """Whether the store did not answer when last asked."""
        return self.admission.leasing.down

    def age_s(self) -> float:
        """Seconds since the store last answered, or since the start."""
        return max(0.0, self._clock() - self._answered_at_s)

    async def prime(self) -> None:
        """Get every budget its first block, before the first request; returns early when the store doesn't answer."""
        for _ in range(PRIME_ROUNDS_MAX):
            if not self.admission.leasing.urgent:
                return
            await self.round()
            if self.is_down:
                return

    async def run(self) -> None:
        """Supply the meters until cancelled; whatever goes wrong in a round, the next one comes."""
        while True:
            if not self.admission.leasing.behind:
                await self._called_or(EVERY_S)
            await self.round()
            await asyncio.sleep(RETRY_S if self.is_down else GAP_S)

    async def round(self) -> None:
        """Ask the store once for all that is needed now; nothing is sent when nothing is."""
        leasing = self.admission.leasing
        self._called.clear()
        sent = leasing.plan(self._clock())
        if leasing.urgent:
            self._called.set()
        if not sent:
            return
        grants = await self._ask(sent)
        if grants is None:
            leasing.lose()
            return
        leasing.take(sent, grants)

    async def close(self) -> None:
        """Give back what is left; for when no request is under way any more. Never raises, always ends soon."""
        sent = self.admission.leasing.give_all_back(self._clock())
        if sent:
            await self._ask(sent)

    async def _ask(self, sent: Sequence[Sent]) -> list[QuotaGrant] | None:
        try:
            # Not wait_for: before Python 3.12 it swallows a cancellation that comes as the work ends.
            async with asyncio.timeout(ANSWER_MAX_S):
                grants = await self._store.lease_quota([each.ask for each in sent])
        except (RolloutError, TimeoutError) as fault:
            self._note_failure(str(fault) or f"no answer within {ANSWER_MAX_S:g} s", None)
            return None
        except Exception as fault:  # noqa: BLE001  limits must outlive whatever a store does
            self._note_failure(repr(fault), fault)
            return None
        if len(grants) != len(sent):
            self._note_failure(f"{len(grants)} grants for {len(sent)} asks", None)
            return None
        if self.is_down:
            _log.warning("quotas are leased again")
        self.rounds += 1
        self._answered_at_s = self._clock()
        return grants

    def _note_failure(self, text: str, fault: Exception | None) -> None:
        self.failures += 1
        if not self.is_down:
            _log.warning("quotas can't be leased, local shares are in force: %s", text, exc_info=fault)

    async def _called_or(self, limit_s: float) -> None:
        try:
            async with asyncio.timeout(limit_s):
                await self._called.wait()
        except TimeoutError:
            return
