"""The current Snapshot in one process: polls the store, keeps the last good one, obeys the local kill file.

A request reads `.snapshot`, an attribute. Nothing here is ever awaited by a request.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from rollout import kill_file as kills
from rollout import last_good as saved
from rollout.core.errors import DamagedFlags, InvalidDocument, RolloutError, StoreReset, StoreUnavailable
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import EMPTY_SNAPSHOT, NOT_LOADED, FeatureFlag, Kill, Snapshot
from rollout.core.position import NOWHERE, Position, Standing, compare, safer
from rollout.ports import Clock, Store

_log = logging.getLogger(__name__)
_STORE, _KILL_FILE, _IN_TOUCH = "store", "kill file", "work left for the store"
_LOCAL_KILL = Kill(on=True, actor="kill file", reason="listed in this replica's kill file")

_ACCEPT = "restore its data; to go on with what it holds now: glidepath rollout accept-loss"
_LOSS = {
    Standing.EMPTIED: ("the store is empty, though it held features", _ACCEPT),
    Standing.REPLACED: ("the store holds other data than before: it was lost and begun anew, or exchanged", _ACCEPT),
    Standing.WENT_BACK: ("the store is behind what was read of it: its last writes were lost", _ACCEPT),
}


class Follower:
    """Follows one store.

    For readers: `snapshot` (always usable), `flags` (as committed, without local kills), `position` and its `version`,
    `standing` (of the store when last read: automation must hold unless it FOLLOWS), `refused_documents` (counter),
    `killed_locally` (features, or "*").

    A store that has lost data (empty, another one, or behind what was seen) replaces nothing: what was known stays in
    force, except that its kills and smaller shares count, so operators can stop. That ends when an operator accepts
    the loss (`Store.accept_loss`), or when the same data counts past what was seen.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        poll_s: float = 0.25,
        last_good: Path | None = None,
        kill_file: Path | None = None,
    ) -> None:
        """Start from the files, if given and there; a damaged one is noted in `last_error`."""
        self._store, self._clock, self._poll_s = store, clock, poll_s
        self._last_good, self._kill_file = last_good, kill_file
        self._store_turn, self._kill_turn = asyncio.Lock(), asyncio.Lock()
        self._kills_in_memory: frozenset[str] = frozenset()
        self._confirmed_at_s: float | None = None
        self._refused_at = NOWHERE
        self._in_touch = False
        self.flags: Mapping[str, FeatureFlag] = {}
        self._flags_in_force: Mapping[str, FeatureFlag] = {}
        self.position = NOWHERE
        self.standing = Standing.FOLLOWS
        self.snapshot: Snapshot = EMPTY_SNAPSHOT
        self.killed_locally: frozenset[str] = frozenset()
        self.refused_documents = 0
        self._faults: dict[str, RolloutError] = {}
        self._steps_in_touch: list[Callable[[], Awaitable[None]]] = []
        self._when_changed: Callable[[float], None] | None = None
        self._start_from_files()

    @property
    def last_error(self) -> RolloutError | None:
        """The fault that keeps this replica from following now; None while all is well."""
        return next(iter(self._faults.values()), None)

    @property
    def version(self) -> int:
        """The store's version that `flags` are of; NOT_LOADED when nothing was ever loaded."""
        return self.position.version

    def age_s(self, now_s: float) -> float:
        """Seconds since the store last confirmed this snapshot; infinite when it never did."""
        return float("inf") if self._confirmed_at_s is None else max(0.0, now_s - self._confirmed_at_s)

    async def run(self) -> None:
        """Follow until cancelled. Two loops: a store that hangs until its time limit must not delay a local kill."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self._follow))
            tasks.create_task(self._repeat(self.read_kill_file))

    def when_in_touch(self, step: Callable[[], Awaitable[None]]) -> None:
        """Have `run` await this step after every contact with the store; its fault shows in `last_error`."""
        self._steps_in_touch.append(step)

    def when_changed(self, observe: Callable[[float], None]) -> None:
        """Have it told, each time others' changes come into force here, how many seconds the oldest had to wait.

        By the clocks of two hosts if the change was made on another.
        """
        self._when_changed = observe

    async def refresh(self) -> bool:
        """Catch up with the store now; False, with `last_error`, when it gave no good document."""
        async with self._store_turn:
            try:
                await self._catch_up()
            except Exception as fault:  # noqa: BLE001  following must outlive whatever a store or a document does
                self._note(_STORE, fault)
                return False
            self._faults.pop(_STORE, None)
            return True

    async def read_kill_file(self) -> None:
        """Obey the kill file as it is now; an unreadable one changes nothing."""
        if self._kill_file is None:
            return
        async with self._kill_turn:
            try:
                listed = await asyncio.to_thread(kills.read, self._kill_file)
            except RolloutError as fault:
                self._note(_KILL_FILE, fault)
                return
            self._faults.pop(_KILL_FILE, None)
            self._put_kills_in_force(listed)

    async def kill_locally(self, feature: str, note: str = "") -> None:
        """Kill on this replica without the store: at once in memory, then in the kill file.

        KillFileFault when the file can't be written: the kill then lasts until this process ends.
        """
        async with self._kill_turn:
            self._kills_in_memory |= {feature}
            self._put_kills_in_force(self.killed_locally)
            if self._kill_file is not None:
                await asyncio.to_thread(kills.add, self._kill_file, feature, note)
                self._kills_in_memory -= {feature}

    async def unkill_locally(self, feature: str) -> None:
        """Lift a local kill, in the file first: a kill that can't be removed there must not look lifted."""
        async with self._kill_turn:
            only_in_memory = feature in self._kills_in_memory
            if self._kill_file is not None and not only_in_memory:
                await asyncio.to_thread(kills.remove, self._kill_file, feature)
            self._kills_in_memory -= {feature}
            self._put_kills_in_force(self.killed_locally - {feature})

    async def hold_kills(self, features: frozenset[str]) -> None:
        """Put kills in force that only another process of this replica remembers; they replace those told before."""
        async with self._kill_turn:
            before, self._kills_in_memory = self._kills_in_memory, features
            listed = self.killed_locally - before
            if self._kill_file is not None:
                try:
                    listed = await asyncio.to_thread(kills.read, self._kill_file)
                except RolloutError:
                    listed = self.killed_locally  # which of them the file lists can't be told: none is lifted
            self._put_kills_in_force(listed)

    @property
    def kills_in_memory(self) -> frozenset[str]:
        """Local kills that the kill file does not list (yet)."""
        return self._kills_in_memory

    def is_killed_locally(self, feature: str) -> bool:
        """Tell whether this replica kills the feature whatever the store says."""
        return not self.killed_locally.isdisjoint((feature, kills.ALL))

    async def _follow(self) -> None:
        if not await self.refresh():
            return
        try:
            for step in self._steps_in_touch:
                await step()
        except Exception as fault:  # noqa: BLE001  following must outlive whatever a step does
            self._note(_IN_TOUCH, fault)
            return
        self._faults.pop(_IN_TOUCH, None)

    async def _catch_up(self) -> None:
        # After a loss of contact the store may be another one, restored or reseeded, that counts to the same version.
        trusted, self._in_touch = self._in_touch, False
        seen = await self._store.position()
        if seen != self.position or not trusted:
            await self._take(seen)
        self._in_touch = True
        self._confirmed_at_s = self._clock.now_s()

    async def _take(self, seen: Position) -> None:
        try:
            version, flags = await self._store.load()
            # What was loaded is of one generation only if that was the same before and after.
            if seen.generation not in {0, (await self._store.position()).generation}:
                raise StoreUnavailable("the store was exchanged while it was read", "it is read again")
            self._refuse_loss(seen._replace(version=version), flags)
        except InvalidDocument as fault:
            if isinstance(fault, DamagedFlags):
                self._take_readable(seen, fault.readable)
            self.refused_documents += seen != self._refused_at
            self._refused_at = seen
            raise
        before = self.version
        self._adopt(seen._replace(version=version), flags)
        await self._observe_change(before)
        if self._last_good is not None:
            await self._save(self._last_good)

    def _take_readable(self, seen: Position, readable: Mapping[str, FeatureFlag]) -> None:
        """Put the others in force: a flag that can't be read must not keep the kill of another from being obeyed."""
        if self.flags and compare(self.position, seen) is Standing.FOLLOWS:
            self._put_in_force({**self.flags, **readable})

    async def _observe_change(self, known: int) -> None:
        """Tell how long the oldest change since `known` was waiting; a start, and a change of keys, tell nothing."""
        in_force_s = self._clock.now_s()
        if self._when_changed is None or NOT_LOADED in {known, self.version} or known == self.version:
            return
        with suppress(RolloutError):
            for entry in await self._store.audit(known, 1):
                self._when_changed(max(0.0, in_force_s - entry.at_s))

    def _refuse_loss(self, found: Position, flags: Mapping[str, FeatureFlag]) -> None:
        """Hold on to what is known when the store has lost data; no command removes a feature."""
        standing = compare(self.position, found)
        if standing is Standing.FOLLOWS and self.flags and not flags:
            standing = Standing.EMPTIED
        self.standing = standing
        if standing is not Standing.FOLLOWS and self.flags:
            self._put_in_force(safer(self.flags, flags))
            raise StoreReset(*_LOSS[standing])

    async def _save(self, path: Path) -> None:
        good = saved.LastGood(self.position, self._clock.now_s(), dict(self.flags))
        try:
            await asyncio.to_thread(saved.write, path, good)
        except OSError as fault:
            _log.warning("cannot save the last good snapshot: %s", fault)

    def _adopt(self, position: Position, flags: Mapping[str, FeatureFlag]) -> None:
        self._put_in_force(flags, position.version)
        self.position, self.flags, self.standing = position, flags, Standing.FOLLOWS

    def _put_in_force(self, flags: Mapping[str, FeatureFlag], version: int | None = None) -> None:
        if version is None:
            if flags == self._flags_in_force:
                return
            version = self.version
        self.snapshot = self._compile(version, flags)
        self._flags_in_force = flags

    def _put_kills_in_force(self, listed: frozenset[str]) -> None:
        wanted = listed | self._kills_in_memory
        if wanted != self.killed_locally:
            _log.warning("local kills now: %s", ", ".join(sorted(wanted)) or "none")
            self.killed_locally = wanted
            self.snapshot = self._compile(self.version, self._flags_in_force)

    def _compile(self, version: int, flags: Mapping[str, FeatureFlag]) -> Snapshot:
        return compile_snapshot({name: self._overlaid(flag) for name, flag in flags.items()}, version, self.snapshot)

    def _overlaid(self, flag: FeatureFlag) -> FeatureFlag:
        return replace(flag, kill=_LOCAL_KILL) if self.is_killed_locally(flag.feature) else flag

    def _start_from_files(self) -> None:
        if self._kill_file is not None:
            try:
                self.killed_locally = kills.read(self._kill_file)
            except RolloutError as fault:
                self._note(_KILL_FILE, fault)
        if self._last_good is not None:
            try:
                self._resume(saved.read(self._last_good))
            except InvalidDocument as fault:
                self.refused_documents += 1
                self._note(_STORE, fault)

    def _resume(self, good: saved.LastGood | None) -> None:
        if good is not None:
            self._confirmed_at_s = good.at_s
            self._adopt(good.position, good.flags)

    def _note(self, source: str, fault: Exception) -> None:
        known = isinstance(fault, RolloutError)
        error = fault if isinstance(fault, RolloutError) else RolloutError(f"following the {source} failed: {fault!r}")
        if str(error) != str(self._faults.get(source)):
            _log.warning("%s; what was in force stays", error.cause, exc_info=None if known else fault)
        self._faults[source] = error

    async def _repeat(self, step: Callable[[], Awaitable[object]]) -> None:
        while True:
            await step()
            await asyncio.sleep(self._poll_s)
