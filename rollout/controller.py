"""Moves shares as their ramps say: reads, has measured, decides (`core.ramp.tick`), writes. Of many, one acts.

Whoever holds the lease does. A lease only saves work: every write is a compare-and-set on the revision it was decided
at, under the lease's token, so a tick that is repeated, or comes late, changes nothing. While the store's data is in
doubt nothing is decided.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from rollout.core import gates
from rollout.core.audit import record_change
from rollout.core.errors import DamagedFlags, InvalidArgument, RevisionConflict, RolloutError, StaleWriter
from rollout.core.evidence.arms import sample_ratio_of
from rollout.core.evidence.folding import folds_of
from rollout.core.evidence.known import KnownSums, same_or_new
from rollout.core.evidence.names import is_gathered
from rollout.core.evidence.verdicts import verdicts_of
from rollout.core.lease import CONTROLLER
from rollout.core.position import NOWHERE, Standing, compare
from rollout.core.ramp import tick
from rollout.core.ramp_flag import (
    applied,
    as_measured,
    capacity_of,
    capacity_queries_of,
    faults_of,
    is_watched,
    queries_of,
    ramp_of,
)
from rollout.core.ramp_model import Phase
from rollout.core.ramp_shown import decode_memory, decode_shown, encode_memory, is_news, shown_of
from rollout.core.ramp_table import Capacity, EffectKind, Observations
from rollout.core.request_sums import samples_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from rollout.core.gates import Verdict
    from rollout.core.lease import Lease
    from rollout.core.model import FeatureFlag
    from rollout.core.position import Position
    from rollout.core.promql import MetricQuery
    from rollout.core.ramp_shown import Shown
    from rollout.core.ramp_table import Transition
    from rollout.core.sums import SumKey
    from rollout.ports import Clock, MetricSource, Store

_log = logging.getLogger(__name__)
ACTOR = "controller"
EVERY_S = 1.0
TTL_S = 10.0
_AT_ONCE = 16
"""Ramps that are measured at the same time: one that Prometheus lets wait must not hold up all others."""
_READS_EACH = 4
"""Gates of one ramp that are read at the same time: slow ones must not take all connections from other ramps."""


class World(NamedTuple):
    """What a controller sees beside the store. `holder`: its own name, new at each start of the process."""

    clock: Clock
    holder: str
    metrics: MetricSource | None = None
    standing: Callable[[], Standing] = lambda: Standing.FOLLOWS
    known: Callable[[], Position] = lambda: NOWHERE
    killed_locally: Callable[[str], bool] = lambda _: False


class Controller:
    """One of N. For readers: `leading`, `shown` (by feature, while leading), `conflicts` (writes that came late)."""

    def __init__(self, store: Store, world: World, *, every_s: float = EVERY_S, ttl_s: float = TTL_S) -> None:
        self._store, self._world = store, world
        self._every_s, self._ttl_s = every_s, ttl_s
        self._patience_s = min(every_s, ttl_s / 8)  # of a turn; with `every_s` it must not use up half a lease
        self._lease: Lease | None = None
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._known: dict[str, KnownSums] = {}
        self._left: dict[str, set[str]] = {}
        """Why sums were not folded, as it was told."""
        self.shown: dict[str, Shown] = {}
        self.conflicts = 0

    @property
    def leading(self) -> bool:
        """Whether this one acts now, as far as it knows."""
        return self._lease is not None and self._world.clock.now_s() < self._lease.until_s

    async def run(self) -> None:
        """Take turns until cancelled; what goes wrong in one turn costs that turn."""
        try:
            async with asyncio.TaskGroup() as loops:
                loops.create_task(self._repeat(self._every_s, self.turn))
                loops.create_task(self._repeat(self._ttl_s / 4, self._keep))
        finally:
            await self._end_looks()
            await self.release()

    async def turn(self) -> None:
        """Look at every ramp once, if this controller is the one to act. RolloutError when the store can't be used.

        A look that lasts is left to itself, and its ramp left out until it ends: neither other ramps nor the lease wait
        for slow metrics.
        """
        lease = await self._hold()
        flags = None if lease is None else await self._trusted()
        if lease is None or flags is None:
            self.shown, self._known, self._left = {}, {}, {}
            return
        watched = [flag for flag in flags.values() if is_watched(flag)]
        self.shown = {flag.feature: self.shown[flag.feature] for flag in watched if flag.feature in self.shown}
        self._known = {flag.feature: self._known[flag.feature] for flag in watched if flag.feature in self._known}
        self._left = {flag.feature: self._left[flag.feature] for flag in watched if flag.feature in self._left}
        for flag in watched:
            if flag.feature not in self._looks:
                self._looks[flag.feature] = asyncio.create_task(self._in_turn(flag, lease))
        try:
            if self._looks:
                await asyncio.wait(self._looks.values(), timeout=self._patience_s)
        except asyncio.CancelledError:
            await self._end_looks()
            raise

    async def _end_looks(self) -> None:
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        self._looks.clear()  # one that had not begun takes nothing back itself

    async def _repeat(self, every_s: float, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except RolloutError as fault:
                _log.warning("the controller holds: %s", fault.cause)
            except Exception:  # noqa: BLE001  a defect must not end the automation, nor move anything
                _log.exception("the controller holds")
            await asyncio.sleep(every_s)

    async def _trusted(self) -> Mapping[str, FeatureFlag] | None:
        """Read the flags; None while the store has lost data, also when that has happened since anybody looked."""
        if self._world.standing() is not Standing.FOLLOWS:
            return None
        try:
            _, flags = await self._store.load()
        except DamagedFlags as fault:
            _log.warning("the controller leaves out what it can't read: %s", fault.cause)
            flags = fault.readable
        doubted = compare(self._world.known(), await self._store.position()) is not Standing.FOLLOWS
        return None if doubted else flags

    async def _in_turn(self, flag: FeatureFlag, lease: Lease) -> None:
        """Look at one ramp; what goes wrong with it holds no other one up."""
        try:
            async with self._places:
                if self._is_held(lease):
                    await self._look_at(flag, lease)
        except RevisionConflict:  # somebody was faster: the next turn sees what they made
            self.conflicts += 1
        except StaleWriter as fault:
            if self._is_held(lease):
                self._lease = None
            _log.warning("%s: the controller holds: %s", flag.feature, fault.cause)
        except RolloutError as fault:
            _log.warning("%s: the controller holds: %s", flag.feature, fault.cause)
        except Exception:  # noqa: BLE001  a defect moves nothing
            _log.exception("%s: the controller holds", flag.feature)
        finally:
            self._looks.pop(flag.feature, None)

    def _is_held(self, lease: Lease) -> bool:
        """Whether this lease, prolonged or not, is still the one to act under."""
        return self._lease is not None and self._lease.token == lease.token

    async def release(self) -> None:
        """Let another one act at once; never raises."""
        lease, self._lease = self._lease, None
        if lease is not None:
            try:
                await self._store.release_lease(lease)
            except RolloutError as fault:
                _log.debug("the lease ends by itself: %s", fault.cause)

    async def _hold(self) -> Lease | None:
        lease = self._lease
        if lease is not None and lease.until_s - self._world.clock.now_s() > self._ttl_s / 2:
            return lease
        await self._keep()
        if self._lease is None:
            self._lease = await self._store.acquire_lease(CONTROLLER, self._world.holder, self._ttl_s)
        return self._lease

    async def _keep(self) -> None:
        """Prolong the lease. Also while a turn lasts: else measurements as slow as it would be lost, whoever leads."""
        lease = self._lease
        if lease is not None:
            kept = await self._store.renew_lease(lease, self._ttl_s)
            if self._is_held(lease):
                self._lease = kept

    async def _look_at(self, flag: FeatureFlag, lease: Lease) -> None:
        stored = await self._store.get_memory(flag.feature)
        # Also that of an older revision: an edit must not make a gate forget its FAILs, another attempt does.
        kept = None if stored is None else stored[1]
        memory = decode_memory(kept)
        measured, sums, capacity = await asyncio.gather(
            self._measured(flag), self._sums(flag), read_capacity(self._world.metrics, flag)
        )
        samples = None if sums is None else samples_of(flag.feature, flag.progress, sums)
        now_s = self._world.clock.now_s()
        measured |= verdicts_of(flag, sums or {}, now_s)
        ratio = sample_ratio_of(flag.feature, flag.progress, sums or {}, now_s)
        ramp = ramp_of(flag, memory, killed_locally=self._world.killed_locally(flag.feature))
        began_s, faults = flag.progress.step_began_s, faults_of(flag)
        seen = Observations(measured, samples, began_s, ratio, faults=faults, capacity=capacity)
        made = tick(ramp, seen, now_s)
        revision = await self._commit(flag, made, lease, now_s)
        shown = shown_of(made, revision, at_s=now_s, holder=self._world.holder, before=decode_shown(kept))
        if made.memory != memory or is_news(self.shown.get(flag.feature), shown):
            await self._store.put_memory(flag.feature, revision, encode_memory(made.memory, shown), fencing=lease)
            if self._is_held(lease):
                self.shown[flag.feature] = shown
        await self._fold(flag, sums or {}, now_s)

    async def _fold(self, flag: FeatureFlag, sums: Mapping[SumKey, tuple[int, ...]], now_s: float) -> None:
        """Replace what is over; what can't be is told once, and stays."""
        left: set[str] = set()
        for each in folds_of(flag, sums, now_s, left.add):
            try:
                await self._store.replace_sums(each)  # found otherwise by now: another look does it
            except InvalidArgument as fault:
                left.add(fault.cause)
        for cause in sorted(left - self._left.get(flag.feature, set())):
            _log.warning("%s: sums of evidence are not folded: %s", flag.feature, cause)
        self._left[flag.feature] = left

    async def _commit(self, flag: FeatureFlag, made: Transition, lease: Lease, now_s: float) -> int:
        """Write and tell what a tick decided; the flag's revision afterwards."""
        if made.event is None:
            return flag.revision
        after = applied(flag, made)
        entry = record_change(
            flag,
            after,
            actor=ACTOR,
            command=str(made.event),
            reason=made.reason,
            at_s=now_s,
            verdicts=made.verdicts,
        )
        written = await self._store.put_if_revision(after, flag.revision, entry, fencing=lease)
        _log_change(flag.feature, made)
        return written.revision

    async def _measured(self, flag: FeatureFlag) -> dict[str, gates.Reading | Verdict]:
        queries = queries_of(flag, self._world.clock.now_s())
        places = asyncio.Semaphore(_READS_EACH)
        readings = await asyncio.gather(*(self._read(query, places) for query in queries.values()))
        return dict(zip(queries, readings, strict=True))

    async def _sums(self, flag: FeatureFlag) -> Mapping[SumKey, tuple[int, ...]] | None:
        """All sums of the feature; None where nobody asks for them, and before a ramp has begun its attempt.

        Those in the store are then of the attempt before, whose candidate may have been another one.
        """
        if flag.progress.phase is Phase.READY:
            return None
        plan, step = flag.ramp, flag.progress.step
        counted = plan is not None and step < len(plan.steps) and plan.criteria(step).min_samples > 0
        if not counted and not any(map(is_gathered, flag.gates)):
            return None
        read = await self._store.read_sums(flag.feature)
        known = self._known[flag.feature] = same_or_new(self._known.get(flag.feature), read)
        return known

    async def _read(self, query: MetricQuery, places: asyncio.Semaphore) -> gates.Reading:
        source = self._world.metrics
        if source is None:
            return gates.Reading(error="no Prometheus is configured")
        async with places:
            return as_measured(await source.read(query))


async def read_capacity(metrics: MetricSource | None, flag: FeatureFlag) -> Capacity:
    """Ask what each side bears of the feature's traffic, where the flag says how; bounded in time, never raises."""
    queries = capacity_queries_of(flag)
    if metrics is None or not queries:
        return Capacity()
    readings = await asyncio.gather(*map(metrics.read, queries.values()))
    return capacity_of(dict(zip(queries, readings, strict=True)))


def _log_change(feature: str, made: Transition) -> None:
    _log.info("%s: %s: %s", feature, made.event, made.reason)
    for effect in made.effects:
        if effect.kind is EffectKind.ALARM:
            _log.warning("%s: %s", feature, effect.text)
