"""Several workers on one store, in made-up time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.admission.gate import Admission, Holder, Permit
from gateway.core.admission.limits import Limits
from rollout.core.quota import QuotaAsk, QuotaGrant, grant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.admission.gate import Refusal, Subject
    from gateway.core.admission.meter import Meter

NOW_S = 1_800_000_000.0


class Windows:
    """A store of quotas in memory, granting by the rule of all stores."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, int], int] = {}

    def lease(self, asks: Sequence[QuotaAsk]) -> list[QuotaGrant]:
        return [self._lease(ask) for ask in asks]

    def _lease(self, ask: QuotaAsk) -> QuotaGrant:
        key = (ask.name, ask.window)
        answer = grant(self.used.get(key, 0), ask)
        self.used[key] = answer.used
        return answer


class Fleet:
    """Workers that serve one key, "k" of tenant "t"."""

    def __init__(self, workers: int, key: Limits, tenant: Limits | None = None) -> None:
        self.windows = Windows()
        self.now_s = NOW_S
        self.workers = [Admission(workers=workers) for _ in range(workers)]
        for worker in self.workers:
            worker.replace([Holder("k", "t", key)], lambda _: tenant or Limits())
            for meter in worker.subjects["k"].meters:
                meter.roll(self.now_s)
        self.supply()

    def subject(self, worker: int) -> Subject:
        return self.workers[worker].subjects["k"]

    def admit(self, worker: int, tokens: int = 0, microusd: int = 0) -> Permit | Refusal:
        return self.workers[worker].admit(self.subject(worker), tokens, microusd, self.now_s)

    def settle(self, worker: int, permit: Permit, tokens: int = 0, microusd: int = 0) -> None:
        self.workers[worker].settle(permit, tokens, microusd, self.now_s)

    def supply(self, *workers: int) -> None:
        for worker in workers or range(len(self.workers)):
            leasing = self.workers[worker].leasing
            sent = leasing.plan(self.now_s)
            leasing.take(sent, self.windows.lease([each.ask for each in sent]))

    def lose_answer(self, worker: int) -> None:
        """The store does as it was asked, and nobody hears of it."""
        leasing = self.workers[worker].leasing
        sent = leasing.plan(self.now_s)
        self.windows.lease([each.ask for each in sent])
        leasing.lose()

    def newest(self, name: str) -> list[Meter]:
        """The meters of one limit that have gone over to its newest window."""
        meters = [meter for each in range(len(self.workers)) for meter in self.subject(each).meters]
        window = max(meter.window for meter in meters if meter.name == name)
        return [meter for meter in meters if (meter.name, meter.window) == (name, window)]

    def taken(self, name: str) -> int:
        return sum(meter.taken for meter in self.newest(name))

    def check_books(self) -> None:
        """Workers hold no more than was granted, and no more was granted than the limit."""
        for name in {meter.name for meter in self.subject(0).meters}:
            meters = self.newest(name)
            granted = self.windows.used.get((name, meters[0].window), 0)
            assert sum(meter.granted for meter in meters) <= granted <= meters[0].limit

    def tick(self, seconds: float = 0.1) -> None:
        self.now_s += seconds
        self.supply()


@pytest.fixture(scope="session")
def fleet() -> Callable[..., Fleet]:
    return Fleet
