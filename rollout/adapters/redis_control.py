"""Flags, leases, the controller's memory and idempotency keys in Redis."""

import secrets
from typing import TypeVar, cast

import msgspec
from msgspec.structs import replace

from rollout.adapters import redis_control_scripts as control
from rollout.adapters import redis_scripts as names
from rollout.adapters.redis_connection import RedisConnection
from rollout.core.audit import AuditEntry
from rollout.core.codec import decode_flag, decode_stored, encode_flag
from rollout.core.errors import CommandRepeated, RevisionConflict, StaleWriter, StoreUnavailable
from rollout.core.keys import KeyEntry
from rollout.core.lease import Lease, checked_ask, checked_ttl_ms
from rollout.core.memory import checked as checked_memory
from rollout.core.model import FeatureFlag
from rollout.core.once import KEEP_MAX, KEEP_S, Once
from rollout.core.once import checked as checked_once
from rollout.core.position import Position, accepted

_E = TypeVar("_E", AuditEntry, KeyEntry)
_DONE, _CONFLICT, _STALE, _REPEATED = range(4)
_ATTEMPTS = 5


class RedisControl(RedisConnection):
    """What the controller and the operators write."""

    async def position(self) -> Position:
        """See `Store.position`."""
        generation, version = await self._answer(self._redis.mget(names.GENERATION, names.VERSION))
        return Position(int(generation or 0), int(version or 0))

    async def accept_loss(self, known: Position) -> Position | None:
        """See `Store.accept_loss`."""
        for _ in range(_ATTEMPTS):
            found = await self.position()
            taken = accepted(known, found)
            if taken is None:
                return None
            keys = (names.SCHEMA, names.GENERATION, names.VERSION)
            if await self._script(control.ACCEPT, keys, (*found, *taken, names.CHANNEL)):
                return taken
        raise StoreUnavailable(f"the store {self._name} changes too fast", "try again")

    async def put_if_revision(
        self,
        flag: FeatureFlag,
        expected_revision: int,
        entry: AuditEntry,
        *,
        fencing: Lease | None = None,
        once: Once | None = None,
    ) -> FeatureFlag:
        """See `Store.put_if_revision`."""
        written = replace(flag, revision=expected_revision + 1)
        keys = (
            *(names.SCHEMA, names.VERSION, names.FLAGS, names.REVISIONS, names.audit_of(flag.feature)),
            *(names.GENERATION, names.lease_of(fencing.name if fencing else ""), names.OUTCOMES, names.OUTCOME_TIMES),
        )
        change = (flag.feature, expected_revision, encode_flag(written), msgspec.json.encode(entry), names.CHANNEL)
        conditions = (fencing.token if fencing else "", *_once_values(once))
        code, told = await self._script(control.PUT, keys, (*change, fresh_generation(), *conditions))
        if code == _REPEATED and once is not None:
            raise CommandRepeated(once.key, told)
        _raise_refusal(code, told, flag.feature, expected_revision, fencing)
        return written

    async def recall(self, key: str) -> bytes | None:
        """See `Store.recall`."""
        known = await self._script(control.RECALL, (names.OUTCOMES, names.OUTCOME_TIMES), (key, _KEEP_MS))
        return cast("bytes | None", known)

    async def remember(self, once: Once) -> bytes | None:
        """See `Store.remember`."""
        values = _once_values(once)
        return cast("bytes | None", await self._script(control.REMEMBER, (names.OUTCOMES, names.OUTCOME_TIMES), values))

    async def audit(self, since_id: int = 0, limit: int = 500) -> list[AuditEntry]:
        """See `Store.audit`. The log of each feature is a list of its own; they are merged up to a version seen before.

        An entry of a feature that isn't in the list of features yet has a greater id than that version.
        """
        version, features = await self._read(("GET", names.VERSION), ("HKEYS", names.REVISIONS))
        logs = (names.audit_of(feature.decode()) for feature in features)
        page = (f"({since_id}", int(version or 0), "LIMIT", 0, limit)
        found = await self._read(*(("ZRANGEBYSCORE", log, *page) for log in logs)) if features else []
        entries = [entry_of(member, AuditEntry) for members in found for member in members]
        return sorted(entries, key=lambda entry: entry.id)[:limit]

    async def put_memory(self, feature: str, revision: int, memory: bytes, *, fencing: Lease | None = None) -> None:
        """See `Store.put_memory`."""
        keys = (names.FLAGS, names.REVISIONS, names.MEMORIES, names.lease_of(fencing.name if fencing else ""))
        values = (feature, revision, checked_memory(memory), fencing.token if fencing else "")
        code, told = await self._script(control.PUT_MEMORY, keys, values)
        _raise_refusal(code, told, feature, revision, fencing)

    async def get_memory(self, feature: str) -> tuple[int, bytes] | None:
        """See `Store.get_memory`."""
        stored = cast("bytes | None", await self._answer(self._redis.hget(names.MEMORIES, feature)))
        revision, _, memory = (stored or b"").partition(b"|")
        return None if stored is None else (int(revision), memory)

    async def acquire_lease(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """See `Store.acquire_lease`. By the clock of Redis, which all who ask have in common.

        Not as a key that expires: the token has to outlive the lease, and both are one thing that one script changes.
        """
        values, asked_at_s = ("acquire", holder, checked_ask(name, holder, ttl_s)), self._clock()
        token = await self._script(control.LEASE, (names.lease_of(name),), values)
        return Lease(name, holder, int(token), asked_at_s + ttl_s) if token else None

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease | None:
        """See `Store.renew_lease`."""
        values, asked_at_s = ("renew", lease.token, checked_ttl_ms(ttl_s)), self._clock()
        kept = await self._script(control.LEASE, (names.lease_of(lease.name),), values)
        return lease._replace(until_s=asked_at_s + ttl_s) if kept else None

    async def release_lease(self, lease: Lease) -> bool:
        """See `Store.release_lease`."""
        return bool(await self._script(control.LEASE, (names.lease_of(lease.name),), ("release", lease.token, 0)))


_KEEP_MS = round(KEEP_S * 1_000)


def fresh_generation() -> int:
    """An identity for data that has none yet."""
    return 1 + secrets.randbelow(2**53 - 1)


def entry_of(member: bytes, kind: type[_E]) -> _E:
    """An entry of an audit log as it is kept there: its id before it."""
    number, _, entry = member.partition(b"|")
    return replace(decode_stored(entry, kind), id=int(number))


def _once_values(once: Once | None) -> tuple[str | bytes | int, ...]:
    key, outcome = ("", b"") if once is None else checked_once(once)
    return key, outcome, _KEEP_MS, KEEP_MAX


def _raise_refusal(code: int, told: bytes | None, feature: str, expected: int, fencing: Lease | None) -> None:
    if code == _STALE and fencing is not None:
        raise StaleWriter(fencing.name, fencing.token, int(told or 0))
    if code != _DONE:
        raise RevisionConflict(feature, expected, None if told is None else decode_flag(told))
