"""Everything that moves shares by itself, wired: controller, metric source, webhooks and the teller between them."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from typing import TYPE_CHECKING, NamedTuple

from rollout.controller import EVERY_S, TTL_S, Controller, World, read_capacity
from rollout.telling import Teller
from rollout.webhooks import Webhooks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollout.core.model import FeatureFlag
    from rollout.core.ramp_table import Capacity
    from rollout.follower import Follower
    from rollout.ports import Clock, MetricSource, Store
    from rollout.webhooks import Receiver


class AutomationRules(NamedTuple):
    """How often ramps are looked at, how long a lease lasts, and who is told."""

    every_s: float = EVERY_S
    lease_s: float = TTL_S
    receivers: Sequence[Receiver] = ()


class Automation:
    """One of N. For readers: `controller`, `webhooks`."""

    def __init__(
        self, store: Store, follower: Follower, clock: Clock, rules: AutomationRules, metrics: MetricSource | None
    ) -> None:
        """InvalidArgument for receivers that can't be meant. `metrics` is closed with this."""
        self._metrics, self._every_s = metrics, rules.every_s
        world = World(
            clock=clock,
            holder=holder_name(),
            metrics=metrics,
            standing=lambda: follower.standing,
            killed_locally=follower.is_killed_locally,
        )
        self.controller = Controller(store, world, every_s=rules.every_s, ttl_s=rules.lease_s)
        self.webhooks = Webhooks(rules.receivers, clock)
        self._teller = Teller(store, clock, lambda: self.controller.leading, self.webhooks.publish)
        self._told = bool(rules.receivers)

    async def capacity(self, flag: FeatureFlag) -> Capacity:
        """See `read_capacity`."""
        return await read_capacity(self._metrics, flag)

    async def run(self) -> None:
        """Work until cancelled, then give the lease back. Whoever leads next tells again what was told last."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.controller.run())
                tasks.create_task(self.webhooks.run())
                if self._told:
                    tasks.create_task(self._teller.run(self._every_s))
        finally:
            await self.close()

    async def close(self) -> None:
        """Release connections."""
        await self.webhooks.close()
        if self._metrics is not None:
            await self._metrics.close()


def holder_name() -> str:
    """Name this start of this process, for leases and for people."""
    return f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(4)}"
