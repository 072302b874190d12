"""What the operator API shows of features: the flags as committed, and what a controller saw of their ramps.

While the store is away, or has lost data, the flags are the last good ones, and their holds say so.
"""

from __future__ import annotations

import asyncio
from math import isfinite
from typing import TYPE_CHECKING

from rollout.api import views
from rollout.core.errors import InvalidDocument, StoreUnavailable, UnknownFeature
from rollout.core.position import Standing
from rollout.core.ramp_shown import decode_shown
from rollout.core.ramp_state import Look

if TYPE_CHECKING:
    from rollout.core.model import FeatureFlag
    from rollout.follower import Follower
    from rollout.operations import Operations
    from rollout.ports import Clock, Store
    from rollout.stops import StopOutcome

_AT_ONCE = 16
OK = "ok"


class FeatureReads:
    """The reads of one replica; whatever a store can't give is shown as missing."""

    def __init__(self, operations: Operations, store: Store, follower: Follower, clock: Clock) -> None:
        self._operations, self._store, self._follower, self._clock = operations, store, follower, clock
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def list(self) -> views.FeatureList:
        """Show all features by name; StoreUnavailable when nothing was ever known."""
        read = await self._operations.read()
        shown = await asyncio.gather(*(self.show(read.flags[name], read.store) for name in sorted(read.flags)))
        age_s, error = self._follower.age_s(self._clock.now_s()), self._follower.last_error
        return views.FeatureList(
            version=read.version,
            store=read.store,
            age_s=age_s if isfinite(age_s) else None,
            last_error=None if error is None else error.cause,
            features=shown,
        )

    async def get(self, feature: str) -> views.FeatureView:
        """Show one feature; UnknownFeature when there is none of that name."""
        read = await self._operations.read()
        if feature not in read.flags:
            raise UnknownFeature(feature, read.flags)
        return await self.show(read.flags[feature], read.store)

    async def show(self, flag: FeatureFlag, store: str = OK) -> views.FeatureView:
        """Show a flag as read or just written; `store` says whether it could be."""
        look = await self._look(flag, store)
        killed = self._follower.is_killed_locally(flag.feature)
        return views.feature_view(flag, killed_locally=killed, now_s=self._clock.now_s(), store=store, look=look)

    def killed(self, outcome: StopOutcome) -> views.KillAnswer:
        """Show how a kill ended."""
        killed = self._follower.is_killed_locally(outcome.feature)
        return views.kill_answer(outcome, killed_locally=killed, now_s=self._clock.now_s())

    async def _look(self, flag: FeatureFlag, store: str) -> Look:
        if flag.ramp is None:
            return Look()
        fault = self._fault(store)
        if fault is None:
            try:
                async with self._places:
                    return await self._seen(flag)
            except (StoreUnavailable, InvalidDocument) as unread:
                fault = unread.cause
        now_s = self._clock.now_s()
        age_s = self._follower.age_s(now_s)
        return Look(store_fault=fault, store_read_s=now_s - age_s if isfinite(age_s) else None)

    def _fault(self, store: str) -> str | None:
        standing = self._follower.standing
        if standing is not Standing.FOLLOWS:  # no controller moves anything then either
            return f"it lost data ({standing}): restore them, or accept the loss"
        return None if store == OK else store

    async def _seen(self, flag: FeatureFlag) -> Look:
        kept = await self._store.get_memory(flag.feature)
        shown = None if kept is None else decode_shown(kept[1])
        if shown is not None and shown.revision == flag.revision:
            return Look(shown)
        entries = await self._store.history(flag.feature, 1)
        written = next((entry.at_s for entry in entries if entry.revision_after == flag.revision), None)
        return Look(written_s=written)
