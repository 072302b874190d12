"""The keys in force in one process: polls the store, keeps the last good ones, hands over what changed."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec.structs import replace

from rollout.core.errors import InvalidDocument, RolloutError, StoreReset
from rollout.core.keys import KeyRecord
from rollout.core.position import NOWHERE, Position, Standing, compare
from rollout.keys import last_good as saved
from rollout.ports import Clock, Store

_log = logging.getLogger(__name__)
_HINT = "restore its data; to go on with what it holds now, glidepath rollout accept-loss"


class KeyFollower:
    """Follows the keys of one store.

    For readers: `records` (as last handed to `adopt`, without their last use), `position` and its `version` (NOT_LOADED
    until there are any), `last_error` (the fault that keeps this replica from following now, or None). While the store
    is away the keys known last stay in force; their expiry goes on. When it has lost data, see `rollout.follower`, they
    stay too, beside those it holds now: nobody is locked out, and a revocation of either counts.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        adopt: Callable[[Sequence[KeyRecord]], None],
        *,
        poll_s: float = 0.25,
        last_good: Path | None = None,
    ) -> None:
        """Start from the file, if given and there; a damaged one is noted in `last_error`."""
        self._store, self._clock, self._adopt = store, clock, adopt
        self._poll_s, self._last_good = poll_s, last_good
        self._turn = asyncio.Lock()
        self._in_touch = False
        self.records: tuple[KeyRecord, ...] = ()
        self.position = NOWHERE
        self.last_error: RolloutError | None = None
        self._start_from_file()

    @property
    def version(self) -> int:
        """The store's version that `records` are of; NOT_LOADED when nothing was ever loaded."""
        return self.position.version

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._poll_s)

    async def refresh(self) -> bool:
        """Catch up with the store now; False, with `last_error`, when it gave no good records."""
        async with self._turn:
            try:
                await self._catch_up()
            except Exception as fault:  # noqa: BLE001  following must outlive whatever a store or a record does
                self._note(fault)
                return False
            self.last_error = None
            return True

    async def _catch_up(self) -> None:
        # After a loss of contact the store may be another one, restored or reseeded, that counts to the same version.
        trusted, self._in_touch = self._in_touch, False
        seen = await self._store.position()
        if seen != self.position or not trusted:
            version, loaded = await self._store.load_keys()
            records = tuple(replace(record, last_used_at_s=None) for record in loaded)
            await self._take(seen._replace(version=version), records)
        self._in_touch = True

    async def _take(self, found: Position, records: tuple[KeyRecord, ...]) -> None:
        if self.records and not records:
            # No command removes the last key: such a store has lost its data, and must not lock everybody out.
            raise StoreReset("the store holds no key, though it held some", _HINT)
        lost = bool(self.records) and compare(self.position, found) is not Standing.FOLLOWS
        records = _of_both(self.records, records) if lost else records
        changed = records != self.records
        if changed:
            self._adopt(records)
        self.records = records
        if lost:
            raise StoreReset("the store has lost data; the keys known before stay beside those it holds", _HINT)
        self.position = found
        if changed and self._last_good is not None:
            await self._save(self._last_good)

    async def _save(self, path: Path) -> None:
        good = saved.LastGoodKeys(self.version, self._clock.now_s(), self.records, self.position.generation)
        try:
            await asyncio.to_thread(saved.write, path, good)
        except OSError as fault:
            _log.warning("cannot save the last good keys: %s", fault)

    def _start_from_file(self) -> None:
        if self._last_good is None:
            return
        try:
            good = saved.read(self._last_good)
        except InvalidDocument as fault:
            self._note(fault)
            return
        if good is not None:
            self.position, self.records = Position(good.generation, good.version), good.records
            self._adopt(good.records)

    def _note(self, fault: Exception) -> None:
        known = isinstance(fault, RolloutError)
        error = fault if isinstance(fault, RolloutError) else RolloutError(f"following the keys failed: {fault!r}")
        if str(error) != str(self.last_error):
            _log.warning("%s; the keys in force stay", error.cause, exc_info=None if known else fault)
        self.last_error = error


def _of_both(known: tuple[KeyRecord, ...], found: tuple[KeyRecord, ...]) -> tuple[KeyRecord, ...]:
    """All records; of one that both have the revoked one, else as found."""
    newer = {record.id: record for record in found}
    kept = [record if record.revoked_at_s is not None else newer.get(record.id, record) for record in known]
    known_ids = {record.id for record in known}
    return (*kept, *(record for record in found if record.id not in known_ids))
