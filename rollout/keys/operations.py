"""What operators do with API keys, over store and clock, without HTTP."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from rollout.core import keys
from rollout.core.commands import checked_reason
from rollout.core.errors import InvalidArgument, RolloutError, StoreReset, StoreUnavailable, UnknownFeature, UnknownKey
from rollout.core.keys import Because, KeyChange, KeyEntry, KeyRecord, KeyScope
from rollout.ports import Clock, Store

_ATTEMPTS = 10
_Rule = Callable[[Sequence[KeyRecord], Because], KeyChange | None]


class Made(NamedTuple):
    """A new key, the only time it is seen; `replaced` is the one it follows, with its new end."""

    key: str
    record: KeyRecord
    replaced: KeyRecord | None = None


def no_doubt() -> None:
    """Know of no fault of the store's."""


class KeyOperations:
    """The operator's commands on keys, written by compare-and-set: the rules hold for all records at once."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        make_key: Callable[[], str],
        changed: Callable[[], Awaitable[object]],
        fault: Callable[[], RolloutError | None] = no_doubt,
    ) -> None:
        """`make_key` makes up a new key; `changed` is awaited after each change, so that this process catches up.

        `fault`: what keeps this process from following the keys of the store (`KeyFollower.last_error`).
        """
        self._store, self._clock, self._make_key, self._changed = store, clock, make_key, changed
        self._fault = fault

    async def read(self, *, dead_too: bool) -> list[KeyRecord]:
        """All keys, or the live ones, oldest first; StoreReset when the store lost data, as others are in force."""
        self._refuse_loss()
        now_s = self._clock.now_s()
        return [record for record in await self._store.list_keys() if dead_too or record.is_live(now_s)]

    async def create(
        self, client: tuple[str, str], scope: KeyScope, *, expires_in_s: float | None, actor: str, reason: str
    ) -> Made:
        """Make a key for `client` (tenant, name). See `core.keys.create` for what is refused."""
        await self._check_features(scope)
        key = self._make_key()

        def rule(records: Sequence[KeyRecord], why: Because) -> KeyChange:
            return keys.create(records, client, scope, keys.digest(key), why, expires_in_s=expires_in_s)

        change = await self._until_written(rule, actor, reason)
        assert change is not None  # noqa: S101  creating always changes
        return Made(key, change.written[0])

    async def rotate(
        self, key_id: str, *, overlap_s: float, expires_in_s: float | None, force: bool, actor: str, reason: str
    ) -> Made:
        """Make a successor and let the key expire after the overlap. See `core.keys.rotate` for what is refused."""
        key = self._make_key()

        def rule(records: Sequence[KeyRecord], why: Because) -> KeyChange:
            return keys.rotate(
                records, key_id, keys.digest(key), why, overlap_s=overlap_s, expires_in_s=expires_in_s, force=force
            )

        change = await self._until_written(rule, actor, reason)
        assert change is not None  # noqa: S101  rotating always changes
        return Made(key, *change.written)

    async def revoke(self, key_id: str, *, force: bool, actor: str, reason: str) -> KeyRecord:
        """End a key now; one that is revoked already stays as it is."""

        def rule(records: Sequence[KeyRecord], why: Because) -> KeyChange | None:
            return keys.revoke(records, key_id, why, force=force)

        change = await self._until_written(rule, actor, reason)
        return keys.find(await self._store.list_keys(), key_id) if change is None else change.written[0]

    async def restore(self, known: Iterable[KeyRecord], *, actor: str, reason: str) -> None:
        """Write back the keys that a store has lost. See `core.keys.restore`."""
        records = tuple(known)

        def rule(found: Sequence[KeyRecord], why: Because) -> KeyChange | None:
            return keys.restore(found, records, why)

        while await self._until_written(rule, actor, reason) is not None:
            pass

    async def history(self, *, limit: int, before_id: int | None) -> list[KeyEntry]:
        """Audit entries of keys, newest first; StoreReset while the store has lost data."""
        self._refuse_loss()
        return await self._store.key_history(limit, before_id)

    async def _check_features(self, scope: KeyScope) -> None:
        """Refuse a misspelt feature: its key would open nothing, and nobody would be told."""
        wanted = set(scope.features) - {keys.ALL_FEATURES}
        _, known = await self._store.load() if wanted else (0, {})
        for feature in sorted(wanted - set(known)):
            fault = UnknownFeature(feature[:100], known)
            raise InvalidArgument(fault.cause, fault.hint)

    async def _until_written(self, rule: _Rule, actor: str, reason: str) -> KeyChange | None:
        """Apply the rule to whatever is stored, again when somebody else was faster."""
        why = Because(actor, checked_reason(reason), self._clock.now_s())
        for _ in range(_ATTEMPTS):
            version, records = await self._store.load_keys()
            change = self._ruled(rule, records, why)
            if change is None or await self._store.change_keys(change, version):
                await self._changed()
                return change
        cause = f"the store was changed by others during each of {_ATTEMPTS} attempts"
        raise StoreUnavailable(cause, "nothing was changed; try again")

    def _ruled(self, rule: _Rule, records: Sequence[KeyRecord], why: Because) -> KeyChange | None:
        try:
            return rule(records, why)
        except UnknownKey:
            self._refuse_loss()  # it may be one that the store has lost
            raise

    def _refuse_loss(self) -> None:
        fault = self._fault()
        if isinstance(fault, StoreReset):
            raise StoreReset(fault.cause, fault.hint)
