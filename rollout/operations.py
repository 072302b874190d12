"""What operators do, over store, follower and clock, without HTTP."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import count
from typing import NamedTuple

from rollout.core import flag_changes as changes
from rollout.core import ramp_commands
from rollout.core.audit import AuditEntry
from rollout.core.enrolment import EnrolmentStep, enrol, find
from rollout.core.errors import InvalidArgument, InvalidDocument, RevisionConflict, StoreUnavailable
from rollout.core.loss import kept
from rollout.core.model import NOT_LOADED, FeatureFlag
from rollout.core.once import CommandKey
from rollout.core.position import Position, Standing, compare
from rollout.core.ramp_commands import Order
from rollout.core.ramp_model import GateMemory
from rollout.core.ramp_table import Ramp, Transition
from rollout.flag_writer import Command, Done, FlagWriter
from rollout.follower import Follower
from rollout.ports import Clock, Store
from rollout.stops import OK, CapacityOf, StopOutcome, Stops, unknown_capacity

Step = Callable[[Ramp, Order], Transition]
"""One of `ramp_commands`, with its own arguments given."""

Restore = Callable[[str, str], Awaitable[object]]
"""Writes back, for an actor and a reason, what else a store has lost."""

_ATTEMPTS = 10
_IN_DOUBT = "has lost data, this is what was known before"
_LAST_GOOD = "unavailable, this is the last good snapshot"


class Flags(NamedTuple):
    """Flags as read, and where from: `store` is "ok" or says that they are the last good ones."""

    version: int
    flags: Mapping[str, FeatureFlag]
    store: str


async def nothing_else(_actor: str, _reason: str) -> None:
    """There is nothing but flags."""


class Operations:
    """The operator's commands. Writes go to the store by compare-and-set, then this replica catches up at once.

    Those that need no revision are in `stops`; `restore` is awaited when a loss of the store is accepted.
    """

    def __init__(
        self,
        store: Store,
        follower: Follower,
        clock: Clock,
        capacity: CapacityOf = unknown_capacity,
        restore: Restore = nothing_else,
    ) -> None:
        self._store, self._follower, self._restore = store, follower, restore
        self.writer = FlagWriter(store, follower, clock)
        self.stops = Stops(self.writer, capacity)

    async def read(self) -> Flags:
        """Read all flags, from the last good snapshot when the store is down, or in doubt: those are in force then."""
        if self._follower.standing is not Standing.FOLLOWS:
            return Flags(self._follower.version, self._follower.flags, _IN_DOUBT)
        try:
            version, flags = await self._store.load()
        except (StoreUnavailable, InvalidDocument):
            if self._follower.version == NOT_LOADED:
                raise
            return Flags(self._follower.version, self._follower.flags, _LAST_GOOD)
        return Flags(version, flags, OK)

    async def ramp(
        self,
        name: str,
        feature: str,
        step: Step,
        *,
        expected_revision: int,
        actor: str,
        reason: str,
        key: CommandKey | None = None,
    ) -> Done:
        """Write what a ramp's command makes of a flag; RevisionConflict unless that is at `expected_revision`.

        What its phase, a kill, or a missing approval forbids is refused as `ramp_commands` says.
        """
        command = self.writer.command(name, feature, actor=actor, reason=reason, key=key)
        here = self._follower.is_killed_locally(feature)
        taken = partial(_taken, step=step, order=command.order)
        change = partial(changes.by_step, step=taken, killed_locally=here)
        return await self.writer.at_revision(command, expected_revision, change)

    async def set_share(
        self,
        feature: str,
        share_millipct: int,
        *,
        expected_revision: int,
        actor: str,
        reason: str,
        key: CommandKey | None = None,
    ) -> Done:
        """Set the share; a ramp that is under way is paused."""
        step = partial(ramp_commands.set_share, share_millipct=share_millipct)
        return await self.ramp(
            "set-share", feature, step, expected_revision=expected_revision, actor=actor, reason=reason, key=key
        )

    async def kill(self, feature: str, *, actor: str, reason: str, key: CommandKey | None = None) -> StopOutcome:
        """See `Stops.kill`."""
        return await self.stops.kill(feature, actor=actor, reason=reason, key=key)

    async def unkill(self, feature: str, *, actor: str, reason: str, key: CommandKey | None = None) -> StopOutcome:
        """See `Stops.unkill`."""
        return await self.stops.unkill(feature, actor=actor, reason=reason, key=key)

    async def enrol(
        self,
        feature: str,
        step: EnrolmentStep,
        tenant: str,
        user: str = "",
        *,
        actor: str,
        reason: str,
        key: CommandKey | None = None,
    ) -> Done:
        """Take a step on the early-access list, of a user or a whole tenant (""); needs no revision, as wishes add up.

        InvalidArgument for an approval of what nobody, or the actor, has asked for, and for what isn't on the list.
        """
        command = self.writer.command(f"enrol-{step}", feature, actor=actor, reason=reason, key=key)

        def change(flag: FeatureFlag, memory: GateMemory) -> changes.Changed:
            if step is EnrolmentStep.APPROVE and find(flag, tenant, user) is None:
                raise InvalidArgument("nobody has asked for this early access", "request it first, as somebody else")
            after = enrol(flag, step, tenant, user, actor=actor, at_s=command.order.at_s)
            return changes.Changed(after, memory)

        return await self.writer.at_any_revision(command, change)

    async def accept_loss(self, *, actor: str, reason: str) -> Position | None:
        """Have every replica go on with the store as it is after it lost data; None when this replica sees no loss.

        Before that each flag is written as `core.loss.kept` says, those that the store lacks too, with an audit entry
        that tells who decided so; and what else this replica knows is restored (API keys).
        """
        command = self.writer.command("accept-loss", "", actor=actor, reason=reason)
        known = self._follower.position
        if compare(known, await self._store.position()) is Standing.FOLLOWS:
            return None
        for feature in sorted({*self._follower.flags, *(await self._store.load())[1]}):
            await self._keep(command._replace(feature=feature))
        await self._restore(actor, command.order.reason)
        taken = await self._store.accept_loss(known)
        await self._follower.refresh()
        return taken or await self._store.position()  # None: the entries have brought it past what was known

    async def _keep(self, command: Command) -> None:
        known = self._follower.flags.get(command.feature)
        for attempt in count(1):
            found = await self._store.get(command.feature)
            try:
                await self.writer.put(found, changes.Changed(kept(known, found, command.order)), command)
            except RevisionConflict:
                if attempt == _ATTEMPTS:
                    raise
                continue
            break

    async def history(self, feature: str, *, limit: int, before_id: int | None) -> list[AuditEntry]:
        """Audit entries, newest first; UnknownFeature without such a flag, StoreReset while the store has lost data."""
        await self.writer.refuse_loss()
        await self.writer.get(feature)
        return await self._store.history(feature, limit, before_id)


def _taken(ramp: Ramp, step: Step, order: Order) -> Transition:
    return step(ramp, order)
