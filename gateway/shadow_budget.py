"""Whether the shadow calls of a day are given out: asked of the store, without taking any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gateway.core.admission.meter import MONEY, Meter
from rollout.core.errors import RolloutError
from rollout.core.quota import QuotaAsk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollout.core.quota import QuotaGrant


class Quotas(Protocol):
    """What of the store it needs."""

    async def lease_quota(self, asks: Sequence[QuotaAsk]) -> list[QuotaGrant]:
        """As `Store.lease_quota`."""
        ...


async def is_spent(store: Quotas, feature: str, daily_budget: int, now_s: float) -> bool:
    """Whether all of the budget of `now_s`'s UTC day is given out to workers; False where the store can't tell."""
    meter = Meter("shadow", feature, MONEY, daily_budget)
    meter.roll(now_s)
    try:
        (found,) = await store.lease_quota([QuotaAsk(meter.name, meter.window, 0, meter.limit, meter.until_s)])
    except RolloutError:
        return False
    return found.used >= daily_budget
