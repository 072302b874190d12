"""The shared store: Redis. A change is one script: document, version, audit and notice together or not at all."""

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec
from msgspec.structs import replace

from rollout.adapters import redis_scripts as scripts
from rollout.adapters.redis_claims import RedisClaims
from rollout.adapters.redis_connection import pairs
from rollout.adapters.redis_control import RedisControl, entry_of, fresh_generation
from rollout.adapters.redis_sums import RedisSums
from rollout.adapters.redis_votes import RedisVotes
from rollout.core.audit import AuditEntry
from rollout.core.codec import decode_flag, decode_flags, decode_stored
from rollout.core.keys import KeyChange, KeyEntry, KeyRecord, first_entry
from rollout.core.model import FeatureFlag
from rollout.core.quota import KEEP_MIN_S, QuotaAsk, QuotaGrant


class RedisStore(RedisControl, RedisSums, RedisClaims, RedisVotes):
    """A `Store` in one Redis database."""

    async def load(self) -> tuple[int, dict[str, FeatureFlag]]:
        """See `Store.load`."""
        head = (("GET", scripts.SCHEMA), ("GET", scripts.VERSION))
        schema, version, documents = await self._read(*head, ("HVALS", scripts.FLAGS))
        self._check_schema(schema)
        return int(version or 0), decode_flags(documents)

    async def version(self) -> int:
        """See `Store.version`."""
        return int(await self._answer(self._redis.get(scripts.VERSION)) or 0)

    async def get(self, feature: str) -> FeatureFlag | None:
        """See `Store.get`."""
        document = await self._answer(self._redis.hget(scripts.FLAGS, feature))
        return None if document is None else decode_flag(document)

    async def history(self, feature: str, limit: int = 50, before_id: int | None = None) -> list[AuditEntry]:
        """See `Store.history`."""
        members = await self._newest(scripts.audit_of(feature), limit, before_id)
        return [entry_of(member, AuditEntry) for member in members]

    async def load_keys(self) -> tuple[int, list[KeyRecord]]:
        """See `Store.load_keys`."""
        head = (("GET", scripts.SCHEMA), ("GET", scripts.VERSION))
        hashes = (("HGETALL", scripts.KEYS), ("HGETALL", scripts.KEY_USES))
        schema, version, stored, used = await self._read(*head, *hashes)
        self._check_schema(schema)
        uses = pairs(used)
        records = [_key(record, uses.get(key)) for key, record in pairs(stored).items()]
        return int(version or 0), sorted(records, key=lambda record: (record.created_at_s, record.id))

    async def list_keys(self) -> list[KeyRecord]:
        """See `Store.list_keys`."""
        return (await self.load_keys())[1]

    async def change_keys(self, change: KeyChange, expected_version: int) -> bool:
        """See `Store.change_keys`."""
        return await self._change_keys(change, expected_version)

    async def create_key_if_empty(self, record: KeyRecord) -> bool:
        """See `Store.create_key_if_empty`."""
        return await self._change_keys(KeyChange((record,), (), first_entry(record)), "empty")

    async def key_history(self, limit: int = 50, before_id: int | None = None) -> list[KeyEntry]:
        """See `Store.key_history`."""
        members = await self._newest(scripts.KEY_AUDIT, limit, before_id)
        return [entry_of(member, KeyEntry) for member in members]

    async def touch_keys(self, uses: Mapping[str, float]) -> None:
        """See `Store.touch_keys`."""
        if uses:
            values = tuple(value for key, at_s in uses.items() for value in (key, repr(at_s)))
            await self._script(scripts.TOUCH_KEYS, (scripts.KEYS, scripts.KEY_USES), values)

    async def lease_quota(self, asks: Sequence[QuotaAsk]) -> list[QuotaGrant]:
        """See `Store.lease_quota`."""
        if not asks:
            return []
        windows = tuple(scripts.window_of(ask.name, ask.window) for ask in asks)
        values = (value for ask in asks for value in (ask.amount, ask.limit, _ms(ask.expires_at_s)))
        numbers = await self._script(scripts.LEASE, windows, (_ms(KEEP_MIN_S), *values))
        return [QuotaGrant(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]

    async def _change_keys(self, change: KeyChange, expected: int | str) -> bool:
        records = [replace(record, last_used_at_s=None) for record in change.written]
        pairs = (value for record in records for value in (record.id, msgspec.json.encode(record)))
        head = (expected, msgspec.json.encode(change.entry), scripts.CHANNEL, fresh_generation(), len(records))
        names = (
            *(scripts.SCHEMA, scripts.VERSION, scripts.KEYS, scripts.KEY_AUDIT, scripts.KEY_USES),
            scripts.GENERATION,
        )
        return bool(await self._script(scripts.CHANGE_KEYS, names, (*head, *pairs, *change.dropped)))

    async def _newest(self, name: str, limit: int, before_id: int | None) -> list[bytes]:
        newest = "+inf" if before_id is None else f"({before_id}"
        query = self._redis.zrevrangebyscore(name, newest, "-inf", start=0, num=limit)
        return cast("list[bytes]", await self._answer(query))


def _key(stored: bytes, used_at_s: bytes | None) -> KeyRecord:
    return replace(decode_stored(stored, KeyRecord), last_used_at_s=None if used_at_s is None else float(used_at_s))


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
