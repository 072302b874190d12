"""How commands reach the store: by compare-and-set, with their audit entry, once."""

from __future__ import annotations

import logging
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from rollout.core.audit import as_of, record_change
from rollout.core.commands import checked_reason
from rollout.core.errors import (
    CommandRepeated,
    InvalidArgument,
    InvalidDocument,
    RevisionConflict,
    RolloutError,
    StoreReset,
    UnknownFeature,
)
from rollout.core.once import remembered, remembering
from rollout.core.position import Standing, compare
from rollout.core.prerequisites import check_prerequisites
from rollout.core.ramp_commands import Order
from rollout.core.ramp_flag import is_watched
from rollout.core.ramp_model import GateMemory
from rollout.core.ramp_shown import decode_memory, encode_memory
from rollout.core.ramp_table import EffectKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rollout.core.audit import AuditEntry
    from rollout.core.flag_changes import Change, Changed
    from rollout.core.model import FeatureFlag
    from rollout.core.once import CommandKey, Once
    from rollout.follower import Follower
    from rollout.ports import Clock, Store

_log = logging.getLogger(__name__)
_ATTEMPTS = 10
_PAGE = 500


class Command(NamedTuple):
    """A command as it was given: under which name the audit log has it, for which feature, who, why and when."""

    name: str
    feature: str
    order: Order
    key: CommandKey | None = None


class Done(NamedTuple):
    """The flag after a command; `replayed`: as it was after that command's first coming, which this one repeats."""

    flag: FeatureFlag
    replayed: bool = False


def store_reset(standing: Standing) -> StoreReset:
    """Make the refusal of what needs the store's data while they are lost."""
    return StoreReset(f"the store has lost data ({standing})", "restore it, or `glidepath rollout accept-loss`")


class FlagWriter:
    """Writes what commands make of flags."""

    def __init__(self, store: Store, follower: Follower, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self.follower = follower

    def command(self, name: str, feature: str, *, actor: str, reason: str, key: CommandKey | None = None) -> Command:
        """Note a command with the present time; InvalidArgument without a reason."""
        return Command(str(name), feature, Order(actor, checked_reason(reason), self._clock.now_s()), key)

    async def get(self, feature: str) -> FeatureFlag:
        """Read a flag from the store; UnknownFeature when there is none, StoreReset when the store has lost it."""
        flag = await self._store.get(feature)
        if flag is None:
            if feature in self.follower.flags:  # no command removes one
                raise store_reset(Standing.EMPTIED)
            raise UnknownFeature(feature, (await self._store.load())[1])
        return flag

    async def refuse_loss(self) -> None:
        """StoreReset while the store is not the one that this replica knows: what it says now is not in force."""
        standing = compare(self.follower.position, await self._store.position())
        if standing is not Standing.FOLLOWS:
            raise store_reset(standing)

    async def at_revision(self, command: Command, expected_revision: int, change: Change) -> Done:
        """Change the flag that is at that revision, else RevisionConflict; this replica then catches up at once."""

        async def write() -> FeatureFlag:
            await self.refuse_loss()
            before = await self.get(command.feature)
            if before.revision != expected_revision:
                raise RevisionConflict(command.feature, expected_revision, before)
            return await self.put(before, change(before, await self._memory(before)), command)

        return await self._once(command, write)

    async def at_any_revision(self, command: Command, change: Change) -> Done:
        """Change the configuration of whatever revision is current; this replica then catches up at once."""

        async def write() -> FeatureFlag:
            await self.refuse_loss()
            return await self.until_written(command, change, configures=True)

        return await self._once(command, write)

    async def until_written(
        self, command: Command, change: Change, *, restore: bool = False, configures: bool = False
    ) -> FeatureFlag:
        """Change whatever revision is current, again when somebody else was faster; leave alone what is so already.

        `restore`: in a store that has lost the feature write it anew, as known here, so that all hear of it.
        `configures`: refuse what leaves a document that doesn't hold together. CommandRepeated when it was done before.
        """
        for attempt in count(1):
            before = await self._store.get(command.feature)
            lost = self.follower.flags.get(command.feature) if restore and before is None else None
            base = before or lost or await self.get(command.feature)
            changed = change(base, await self._memory(base))
            if before is not None and changed.flag == before:
                await self._note(command, before.revision)
                break
            if configures:
                await self._check(changed.flag)
            try:
                return await self.put(before, changed, command)
            except RevisionConflict:
                if attempt == _ATTEMPTS:
                    raise
        return base

    async def put(self, before: FeatureFlag | None, changed: Changed, command: Command) -> FeatureFlag:
        """Write one change with its entry and the gates' memory. `before`: None makes the flag."""
        order, revision = command.order, 0 if before is None else before.revision
        entry = record_change(
            before, changed.flag, actor=order.actor, command=command.name, reason=order.reason, at_s=order.at_s
        )
        once = _once_of(command, revision + 1)
        written = await self._store.put_if_revision(changed.flag, revision, entry, once=once)
        if is_watched(written) and changed.memory != GateMemory():
            with suppress(RolloutError):  # it may be lost without harm
                await self._store.put_memory(command.feature, written.revision, encode_memory(changed.memory))
        _log.info("%s: %s by %s: %s", command.feature, command.name, order.actor, order.reason)
        for effect in changed.effects:
            if effect.kind is EffectKind.ALARM:
                _log.warning("%s: %s", command.feature, effect.text)
        return written

    async def replay(self, command: Command, outcome: bytes) -> Done:
        """Give the flag as it was after the command's first coming; IdempotencyKeyUsed if that was another command."""
        if command.key is None:
            raise CommandRepeated("", outcome)
        first = remembered(command.key, command.order.actor, outcome)
        return Done(await self._as_of(first.feature, first.revision), replayed=True)

    async def _once(self, command: Command, write: Callable[[], Awaitable[FeatureFlag]]) -> Done:
        done = await self._recalled(command)
        if done is None:
            try:
                done = Done(await write())
            except RolloutError:
                done = await self._recalled(command)  # its twin may have been faster
                if done is None:
                    raise
        await self.follower.refresh()
        return done

    async def _recalled(self, command: Command) -> Done | None:
        outcome = None if command.key is None else await self._store.recall(command.key.key)
        return None if outcome is None else await self.replay(command, outcome)

    async def _note(self, command: Command, revision: int) -> None:
        """Remember a command that had nothing to change."""
        once = _once_of(command, revision)
        known = None if once is None else await self._store.remember(once)
        if once is not None and known is not None:
            raise CommandRepeated(once.key, known)

    async def _memory(self, flag: FeatureFlag) -> GateMemory:
        stored = await self._store.get_memory(flag.feature) if is_watched(flag) else None
        return decode_memory(None if stored is None else stored[1])

    async def _check(self, changed: FeatureFlag) -> None:
        """Refuse, as the caller's fault, what the features needing each other could not be evaluated with."""
        _, flags = await self._store.load()
        try:
            check_prerequisites(flags | {changed.feature: changed})
        except InvalidDocument as fault:
            raise InvalidArgument(fault.cause, fault.hint) from fault

    async def _as_of(self, feature: str, revision: int) -> FeatureFlag:
        entries: list[AuditEntry] = []
        while page := await self._store.history(feature, _PAGE, entries[-1].id if entries else None):
            entries += page
        _, flag = as_of(entries, revision)
        return flag or await self.get(feature)


def _once_of(command: Command, revision: int) -> Once | None:
    if command.key is None:
        return None
    return remembering(command.key, actor=command.order.actor, feature=command.feature, revision=revision)
