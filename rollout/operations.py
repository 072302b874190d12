"""What operators do, over store, follower and clock, without HTTP."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import NamedTuple

from rollout.core import commands
from rollout.core.audit import AuditEntry, record_change
from rollout.core.errors import (
    InvalidDocument,
    RevisionConflict,
    RolloutError,
    ShareIncreaseRefused,
    StoreUnavailable,
    UnknownFeature,
)
from rollout.core.model import NOT_LOADED, FeatureFlag
from rollout.core.position import Position, Standing, compare
from rollout.follower import Follower
from rollout.kill_file import ALL
from rollout.ports import Clock, Store

_ATTEMPTS = 10
_OK = "ok"
_LAST_GOOD = "unavailable, this is the last good snapshot"
_KILLED_HERE = "unavailable, killed on this replica"


class Flags(NamedTuple):
    """Flags as read, and where from: `store` is "ok" or says that they are the last good ones."""

    version: int
    flags: Mapping[str, FeatureFlag]
    store: str


class KillOutcome(NamedTuple):
    """How a kill or its lifting ended; `flag` is None when the store could not give it."""

    feature: str
    killed: bool
    store: str
    flag: FeatureFlag | None


class _PendingKill(NamedTuple):
    """A kill that the store has yet to take; `was_local` when this replica had killed the feature before it."""

    actor: str
    reason: str
    at_s: float
    was_local: bool

    def applied(self, flag: FeatureFlag) -> FeatureFlag:
        """Kill the flag; one that is killed already stays as it is."""
        return flag if flag.kill.on else commands.kill(flag, actor=self.actor, reason=self.reason, at_s=self.at_s)


class Operations:
    """The operator's commands. Writes go to the store by compare-and-set, then this replica catches up at once.

    A kill the store could not take is tried again whenever the running follower is in touch with the store.
    """

    def __init__(self, store: Store, follower: Follower, clock: Clock) -> None:
        self._store, self._follower, self._clock = store, follower, clock
        self._pending_kills: dict[str, _PendingKill] = {}
        self._pending_turn = asyncio.Lock()
        follower.when_in_touch(self.write_pending_kills)

    async def read(self) -> Flags:
        """Read all flags, from the last good snapshot when the store is down."""
        try:
            version, flags = await self._store.load()
        except (StoreUnavailable, InvalidDocument):
            if self._follower.version == NOT_LOADED:
                raise
            return Flags(self._follower.version, self._follower.flags, _LAST_GOOD)
        return Flags(version, flags, _OK)

    async def set_share(
        self, feature: str, share_millipct: int, *, expected_revision: int, actor: str, reason: str
    ) -> FeatureFlag:
        """Set the share; RevisionConflict unless the flag is at `expected_revision`."""
        why = commands.checked_reason(reason)
        before = await self._get(feature)
        if before.revision != expected_revision:
            raise RevisionConflict(feature, expected_revision, before)
        after = commands.set_share(before, share_millipct, killed_locally=self._follower.is_killed_locally(feature))
        written = await self._put(before, after, actor, "set-share", why)
        await self._follower.refresh()
        return written

    async def kill(self, feature: str, *, actor: str, reason: str) -> KillOutcome:
        """Kill: on this replica first and without the store, then in the store for all.

        The local kill is taken back once the store's is in force here; it stays while the store can't be written.
        """
        why = commands.checked_reason(reason)
        await self._check_known(feature)
        kill = _PendingKill(actor, why, self._clock.now_s(), self._follower.is_killed_locally(feature))
        fault = await self._kill_here(feature, f"{actor}: {why}")
        try:
            flag = await self._until_killed(feature, kill, actor, why)
        except (StoreUnavailable, InvalidDocument, RevisionConflict):
            self._remember(feature, kill)
            if fault is not None:
                hint = "this process has killed it, until it ends; mend the store or the kill file"
                raise RolloutError(f"neither the store nor the kill file took the kill: {fault.cause}", hint) from fault
            return KillOutcome(feature, killed=True, store=_KILLED_HERE, flag=None)
        if await self._follower.refresh() and not kill.was_local:
            await self._follower.unkill_locally(feature)
        return KillOutcome(feature, killed=True, store=_OK, flag=flag)

    async def unkill(self, feature: str, *, actor: str, reason: str) -> KillOutcome:
        """Lift the kill in the store and on this replica; needs the store, since it raises exposure."""
        why = commands.checked_reason(reason)
        if ALL in self._follower.killed_locally:
            raise ShareIncreaseRefused("the kill file of this replica kills all features", f"remove its line {ALL!r}")
        async with self._pending_turn:
            flag = await self._until_written(feature, commands.unkill, actor, "unkill", why)
            self._pending_kills.pop(feature, None)
            await self._follower.unkill_locally(feature)
        await self._follower.refresh()
        return KillOutcome(feature, killed=flag.kill.on, store=_OK, flag=flag)

    async def write_pending_kills(self) -> None:
        """Write the kills that the store could not take when they were made; what fails again stays pending."""
        for feature in tuple(self._pending_kills):
            async with self._pending_turn:
                kill = self._pending_kills.get(feature)
                if kill is not None and await self._is_settled(feature, kill):
                    self._pending_kills.pop(feature, None)

    async def accept_loss(self, *, actor: str, reason: str) -> Position | None:
        """Have every replica take the store as it is after it lost data; None when this replica sees no loss.

        Before that each flag it holds gets an audit entry that says who decided so.
        """
        why = commands.checked_reason(reason)
        known = self._follower.position
        if compare(known, await self._store.position()) is Standing.FOLLOWS:
            return None
        for flag in (await self._store.load())[1].values():
            with suppress(RevisionConflict):
                await self._put(flag, flag, actor, "accept-loss", why)
        taken = await self._store.accept_loss(known)
        await self._follower.refresh()
        return taken or await self._store.position()  # None: the entries have brought it past what was known

    async def history(self, feature: str, *, limit: int, before_id: int | None) -> list[AuditEntry]:
        """Audit entries, newest first; UnknownFeature when there is no such flag."""
        await self._get(feature)
        return await self._store.history(feature, limit, before_id)

    def _remember(self, feature: str, kill: _PendingKill) -> None:
        """Keep the first kill of an outage: a repeated one finds the feature killed here by the first."""
        if not kill.was_local:
            self._pending_kills[feature] = kill
        self._pending_kills.setdefault(feature, kill)

    async def _is_settled(self, feature: str, kill: _PendingKill) -> bool:
        """Write a pending kill and take the local one back; one lifted by hand or of no feature is settled too."""
        if not self._follower.is_killed_locally(feature):
            return True
        try:
            await self._until_killed(feature, kill, kill.actor, kill.reason)
        except UnknownFeature:
            return True
        if not await self._follower.refresh():
            return False
        if not kill.was_local:
            await self._follower.unkill_locally(feature)
        return True

    async def _kill_here(self, feature: str, note: str) -> RolloutError | None:
        try:
            await self._follower.kill_locally(feature, note)
        except RolloutError as fault:
            return fault
        return None

    async def _check_known(self, feature: str) -> None:
        """Refuse a misspelt feature, but never for want of the store when nothing is known at all."""
        if feature in self._follower.flags:
            return
        try:
            await self._get(feature)
        except (StoreUnavailable, InvalidDocument):
            if self._follower.version != NOT_LOADED:
                raise UnknownFeature(feature, self._follower.flags) from None

    async def _get(self, feature: str) -> FeatureFlag:
        flag = await self._store.get(feature)
        if flag is None:
            _, known = await self._store.load()
            raise UnknownFeature(feature, known)
        return flag

    async def _until_killed(self, feature: str, kill: _PendingKill, actor: str, reason: str) -> FeatureFlag:
        """Kill in the store; in one that lost the feature by writing it anew, as known here, so that all hear of it."""
        known = self._follower.flags.get(feature)
        if known is not None and await self._store.get(feature) is None:
            after = kill.applied(known)
            entry = record_change(None, after, actor=actor, command="kill", reason=reason, at_s=self._clock.now_s())
            with suppress(RevisionConflict):  # somebody else has written it anew: it is killed as any other
                return await self._store.put_if_revision(after, 0, entry)
        return await self._until_written(feature, kill.applied, actor, "kill", reason)

    async def _until_written(
        self, feature: str, change: Callable[[FeatureFlag], FeatureFlag], actor: str, command: str, reason: str
    ) -> FeatureFlag:
        """Change whatever revision is current, again when somebody else was faster; leave alone what is so already."""
        for attempt in count(1):
            before = await self._get(feature)
            after = change(before)
            if after == before:
                break
            try:
                return await self._put(before, after, actor, command, reason)
            except RevisionConflict:
                if attempt == _ATTEMPTS:
                    raise
        return before

    async def _put(self, before: FeatureFlag, after: FeatureFlag, actor: str, command: str, reason: str) -> FeatureFlag:
        entry = record_change(before, after, actor=actor, command=command, reason=reason, at_s=self._clock.now_s())
        return await self._store.put_if_revision(after, before.revision, entry)
