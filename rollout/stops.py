"""Commands that only take exposure away: kill, pause, rollback. They need no revision, and work with the store down."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rollout.core import flag_changes as changes
from rollout.core import ramp_commands
from rollout.core.errors import (
    CommandRepeated,
    IdempotencyKeyUsed,
    InvalidDocument,
    RampRefused,
    RevisionConflict,
    RolloutError,
    ShareIncreaseRefused,
    StoreReset,
    StoreUnavailable,
    UnknownFeature,
)
from rollout.core.model import NOT_LOADED, FeatureFlag
from rollout.core.ramp_table import Capacity, Event
from rollout.flag_writer import Command, Done
from rollout.kill_file import ALL

if TYPE_CHECKING:
    from rollout.core.flag_changes import Change
    from rollout.core.once import CommandKey
    from rollout.flag_writer import FlagWriter

_log = logging.getLogger(__name__)
OK = "ok"
_KILLED_HERE = "unavailable, killed on this replica"
_PENDING = "unavailable, to be written when it is back"
_KILL = "kill"
_PATIENCE_S = 0.5
"""How long a rollback waits for the store before it is in force here, and for what the baseline bears."""

CapacityOf = Callable[[FeatureFlag], Awaitable[Capacity]]
"""Measures what each side bears of a feature's traffic; bounded in time, never raises."""


async def unknown_capacity(_: FeatureFlag) -> Capacity:
    """Know nothing: a rollback then gives everything back at once, with an alarm if the flag asked for the check."""
    return Capacity()


class StopOutcome(NamedTuple):
    """How a stop, or the lifting of a kill, ended; `flag` is None when the store could not give it.

    `store`: "ok", or what holds on this replica until the store can be written. `replayed`: see `Done`.
    """

    feature: str
    killed: bool
    store: str
    flag: FeatureFlag | None
    replayed: bool = False


class _Stop(NamedTuple):
    """A stop as it was ordered. `takes_away`: until the store has it, nobody gets the candidate on this replica."""

    command: Command
    change: Change
    takes_away: bool


class Stops:
    """Writes stops on whatever revision there is; what the store could not take is pending.

    That is written whenever the running follower is in touch with the store again, and lost if the process ends before;
    a local kill isn't. A kill is in force here before the store is asked. A rollback asks first, as it may be staged,
    or not down to nothing; a store that doesn't answer soon costs this replica's candidate the whole share, by a local
    kill that ends once the rollback is written. Nothing rises without the store, so a pause has nothing to do here.
    """

    def __init__(self, writer: FlagWriter, capacity: CapacityOf = unknown_capacity) -> None:
        self._writer, self._follower, self._capacity = writer, writer.follower, capacity
        self._pending: dict[str, dict[str, _Stop]] = {}
        self._ours: set[str] = set()  # features whose local kill stands for a stop, and ends with its write
        self._under_way: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._follower.when_in_touch(self.write_pending)

    async def kill(self, feature: str, *, actor: str, reason: str, key: CommandKey | None = None) -> StopOutcome:
        """Kill: on this replica first and without the store, then in the store for all."""
        command = self._writer.command(_KILL, feature, actor=actor, reason=reason, key=key)
        stop = _Stop(command, partial(changes.killed, order=command.order), takes_away=True)
        return await self._carry_out(stop, here_first=True)

    async def roll_back(self, feature: str, *, actor: str, reason: str, key: CommandKey | None = None) -> StopOutcome:
        """Give the share back, as far at once as the baseline bears, where the flag asks for that check."""
        command = self._writer.command(Event.ROLL_BACK, feature, actor=actor, reason=reason, key=key)
        step = partial(ramp_commands.roll_back, order=command.order, capacity=await self._bears(feature))
        return await self._carry_out(_Stop(command, partial(changes.by_step, step=step), takes_away=True))

    async def pause(self, feature: str, *, actor: str, reason: str, key: CommandKey | None = None) -> StopOutcome:
        """Stop the automation; the share stays."""
        command = self._writer.command(Event.PAUSE, feature, actor=actor, reason=reason, key=key)
        step = partial(ramp_commands.pause, order=command.order)
        return await self._carry_out(_Stop(command, partial(changes.by_step, step=step), takes_away=False))

    async def unkill(self, feature: str, *, actor: str, reason: str, key: CommandKey | None = None) -> StopOutcome:
        """Lift the kill in the store and on this replica; needs the store, since it raises exposure.

        A kill that is still pending is dropped; any other stop is written first.
        """
        command = self._writer.command("unkill", feature, actor=actor, reason=reason, key=key)
        if ALL in self._follower.killed_locally:
            raise ShareIncreaseRefused("the kill file of this replica kills all features", f"remove its line {ALL!r}")
        async with self._turn:
            await self._write_pending_of(feature, but=_KILL)
            here = self._follower.is_killed_locally(feature)
            lift = partial(changes.lifted, order=command.order, killed_locally=here)
            done = await self._written(_Stop(command, lift, takes_away=False))
            if not done.replayed:
                await self._lift_here(feature)
        await self._follower.refresh()
        return StopOutcome(feature, done.flag.kill.on, OK, done.flag, done.replayed)

    async def write_pending(self) -> None:
        """Write the stops that the store could not take when they were ordered; what fails again stays pending.

        Raises the last fault, after all features had their turn: what fails for one must not keep others waiting.
        """
        last: RolloutError | None = None
        for feature in tuple(self._pending):
            try:
                await self._settle(feature)
            except RolloutError as fault:
                last = fault
        if last is not None:
            raise last

    async def _settle(self, feature: str) -> None:
        async with self._turn:
            await self._write_pending_of(feature)
            stops = self._pending.get(feature)
            if not stops and await self._give_back(feature) and not self._pending.get(feature):
                self._pending.pop(feature, None)

    async def _carry_out(self, stop: _Stop, *, here_first: bool = False) -> StopOutcome:
        feature = stop.command.feature
        await self._check_known(feature)
        self._under_way[feature] += 1
        try:
            fault = await self._take_away(stop) if here_first else None
            done = await self._soon_written(stop)
        except (StoreUnavailable, InvalidDocument, RevisionConflict):
            fault = fault if here_first else await self._take_away(stop)
            self._pending.setdefault(feature, {}).setdefault(stop.command.name, stop)
            return self._only_here(stop, fault)
        finally:
            self._under_way -= Counter([feature])
            if feature not in self._pending and not await self._has_given_back(feature) and feature in self._ours:
                self._pending[feature] = {}  # to be tried again
        return StopOutcome(feature, done.flag.kill.on, OK, done.flag, done.replayed)

    def _only_here(self, stop: _Stop, fault: RolloutError | None) -> StopOutcome:
        name, feature, *_ = stop.command
        if fault is not None:
            hint = "this process has killed it, until it ends; mend the store or the kill file"
            raise RolloutError(f"neither the store nor the kill file took the {name}: {fault.cause}", hint) from fault
        killed = self._follower.is_killed_locally(feature)
        return StopOutcome(feature, killed, _KILLED_HERE if stop.takes_away else _PENDING, None)

    async def _bears(self, feature: str) -> Capacity:
        flag = self._follower.flags.get(feature)
        if flag is None or not flag.rollback.partner_capacity_check:
            return Capacity()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._capacity(flag)
        except TimeoutError:
            return Capacity()

    async def _soon_written(self, stop: _Stop) -> Done:
        """Write a stop; while the store lets it wait, this replica doesn't."""
        writing = asyncio.ensure_future(self._written(stop))
        try:
            await asyncio.wait({writing}, timeout=_PATIENCE_S)
            if not writing.done() and not self._follower.is_killed_locally(stop.command.feature):
                await self._take_away(stop)
            return await writing
        finally:
            writing.cancel()

    async def _written(self, stop: _Stop) -> Done:
        try:
            return Done(await self._writer.until_written(stop.command, stop.change, restore=stop.takes_away))
        except CommandRepeated as repeated:
            return await self._writer.replay(stop.command, repeated.outcome)

    async def _write_pending_of(self, feature: str, *, but: str = "") -> None:
        """Write the pending stops of a feature in their order; those that can't be meant any more are dropped."""
        self._drop_lifted(feature)
        stops = self._pending.get(feature, {})
        for name, stop in [each for each in stops.items() if each[0] != but]:
            try:
                await self._written(stop)
            except StoreReset:
                continue  # what the store has lost waits until that is accepted, and keeps no other stop from it
            except UnknownFeature:
                self._ours.discard(feature)  # what was killed by a name that nobody knows stays killed
            except (RampRefused, IdempotencyKeyUsed):
                pass
            stops.pop(name, None)

    async def _take_away(self, stop: _Stop) -> RolloutError | None:
        if not stop.takes_away:
            return None
        name, feature, order, _ = stop.command
        if not self._follower.is_killed_locally(feature):
            self._drop_lifted(feature)
            self._ours.add(feature)
        note = f"{order.actor}: {order.reason}" if name == _KILL else f"{order.actor}: {name}: {order.reason}"
        try:
            await self._follower.kill_locally(feature, note)
        except RolloutError as fault:
            return fault
        return None

    async def _give_back(self, feature: str) -> bool:
        """End the local kill of stops that all are in the store, once that is in force here; say whether it is."""
        if not await self._follower.refresh():
            return False
        if feature in self._ours and not self._is_awaited(feature):
            await self._follower.unkill_locally(feature)
            self._ours.discard(feature)
        return True

    async def _has_given_back(self, feature: str) -> bool:
        """As `_give_back`; a kill file that can't be written must not make a stop that is in the store look failed."""
        try:
            return await self._give_back(feature)
        except RolloutError as fault:
            _log.warning("%s stays killed on this replica: %s", feature, fault.cause)
            return False

    async def _lift_here(self, feature: str) -> None:
        """End any local kill, but for one that a newer stop needs: it then ends with that."""
        self._pending.get(feature, {}).pop(_KILL, None)
        self._ours.add(feature)
        if not self._is_awaited(feature):
            await self._follower.unkill_locally(feature)
            self._ours.discard(feature)

    def _is_awaited(self, feature: str) -> bool:
        """Whether a stop that takes traffic away is not in the store yet."""
        pending = self._pending.get(feature, {}).values()
        return self._under_way[feature] > 0 or any(stop.takes_away for stop in pending)

    def _drop_lifted(self, feature: str) -> None:
        """Forget the pending stops whose local kill was lifted by hand: whoever did that wants them no more."""
        if self._follower.is_killed_locally(feature):
            return
        self._ours.discard(feature)
        stops = self._pending.get(feature, {})
        for name in [name for name, stop in stops.items() if stop.takes_away]:
            del stops[name]

    async def _check_known(self, feature: str) -> None:
        """Refuse a misspelt feature, but never for want of the store when nothing is known at all."""
        known = self._follower.flags
        if feature in known:
            return
        try:
            await self._writer.get(feature)
        except (StoreUnavailable, InvalidDocument):
            if self._follower.version != NOT_LOADED:
                raise UnknownFeature(feature, known) from None
