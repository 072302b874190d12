"""The shared store: Redis. A change is one script: document, version, audit and notice together or not at all.

All keys carry one hash tag, so in a cluster they share a slot, which a script over them needs.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar, cast

import msgspec
from msgspec.structs import replace
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from rollout.core.audit import AuditEntry
from rollout.core.codec import decode_flag, decode_stored, encode_flag
from rollout.core.errors import RevisionConflict, StoreUnavailable
from rollout.core.model import FeatureFlag
from rollout.ports import KeyRecord

_T = TypeVar("_T")
_SCHEMA_VERSION = b"1"
_SOCKET_S = 1.0
_LIMIT_S = 2.0
_CONNECTIONS = 8

_TAG = "{glidepath}"
_SCHEMA, _VERSION, _FLAGS, _REVISIONS, _KEYS = (
    f"{_TAG}:{name}" for name in ("schema", "version", "flags", "revisions", "keys")
)
_CHANNEL = f"{_TAG}:changed"

# KEYS: schema, version, flags, revisions, audit of the feature. ARGV: feature, expected, document, entry, channel.
_PUT = """
if (redis.call('HGET', KEYS[4], ARGV[1]) or '0') ~= ARGV[2] then
  return {0, redis.call('HGET', KEYS[3], ARGV[1])}
end
redis.call('SETNX', KEYS[1], '1')
local version = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[3])
redis.call('HSET', KEYS[4], ARGV[1], tonumber(ARGV[2]) + 1)
redis.call('ZADD', KEYS[5], version, version .. '|' .. ARGV[4])
redis.call('PUBLISH', ARGV[5], version)
return {1, false}
"""
# KEYS: schema, version, keys. ARGV: id, record, "1" to write only into an empty map, channel.
_PUT_KEY = """
if ARGV[3] == '1' and redis.call('HLEN', KEYS[3]) > 0 then
  return 0
end
redis.call('SETNX', KEYS[1], '1')
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
redis.call('PUBLISH', ARGV[4], redis.call('INCR', KEYS[2]))
return 1
"""


class RedisStore:
    """A `Store` in one Redis database. No retries: a repeated change could meet its own first attempt."""

    def __init__(self, url: str) -> None:
        """Prepare for a redis:// or rediss:// URL without connecting; ValueError for a URL that can't be one."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_SOCKET_S,
            socket_timeout=_SOCKET_S,
            socket_connect_timeout=_SOCKET_S,
            retry=Retry(NoBackoff(), 0),
        )
        arguments = pool.connection_kwargs
        self._name = f"redis://{arguments.get('host', 'localhost')}:{arguments.get('port', 6379)}"
        self._redis = Redis.from_pool(pool)

    async def load(self) -> tuple[int, dict[str, FeatureFlag]]:
        """See `Store.load`."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(_SCHEMA)
        pipeline.get(_VERSION)
        pipeline.hvals(_FLAGS)
        schema, version, documents = await self._answer(pipeline.execute())
        if schema not in {None, _SCHEMA_VERSION}:
            cause = f"the store {self._name} has schema {schema!r}, this program knows {_SCHEMA_VERSION!r}"
            raise StoreUnavailable(cause, "use the version of this program that wrote it")
        flags = [decode_flag(document) for document in documents]
        return int(version or 0), {flag.feature: flag for flag in flags}

    async def version(self) -> int:
        """See `Store.version`."""
        return int(await self._answer(self._redis.get(_VERSION)) or 0)

    async def get(self, feature: str) -> FeatureFlag | None:
        """See `Store.get`."""
        document = await self._answer(self._redis.hget(_FLAGS, feature))
        return None if document is None else decode_flag(document)

    async def put_if_revision(self, flag: FeatureFlag, expected_revision: int, entry: AuditEntry) -> FeatureFlag:
        """See `Store.put_if_revision`."""
        written = replace(flag, revision=expected_revision + 1)
        keys = (_SCHEMA, _VERSION, _FLAGS, _REVISIONS, _audit_key(flag.feature))
        values = (flag.feature, expected_revision, encode_flag(written), msgspec.json.encode(entry), _CHANNEL)
        done, current = await self._script(_PUT, keys, values)
        if not done:
            raise RevisionConflict(flag.feature, expected_revision, None if current is None else decode_flag(current))
        return written

    async def history(self, feature: str, limit: int = 50, before_id: int | None = None) -> list[AuditEntry]:
        """See `Store.history`."""
        newest = "+inf" if before_id is None else f"({before_id}"
        query = self._redis.zrevrangebyscore(_audit_key(feature), newest, "-inf", start=0, num=limit)
        members = cast("list[bytes]", await self._answer(query))
        return [_entry(member) for member in members]

    async def list_keys(self) -> list[KeyRecord]:
        """See `Store.list_keys`."""
        raw = await self._answer(self._redis.hvals(_KEYS))
        records = [decode_stored(record, KeyRecord) for record in raw]
        return sorted(records, key=lambda record: (record.created_at_s, record.id))

    async def put_key(self, record: KeyRecord) -> None:
        """See `Store.put_key`."""
        await self._put_key(record, only_if_empty=False)

    async def create_key_if_empty(self, record: KeyRecord) -> bool:
        """See `Store.create_key_if_empty`."""
        return await self._put_key(record, only_if_empty=True)

    async def close(self) -> None:
        """See `Store.close`."""
        await self._redis.aclose(close_connection_pool=True)

    async def _put_key(self, record: KeyRecord, *, only_if_empty: bool) -> bool:
        values = (record.id, msgspec.json.encode(record), int(only_if_empty), _CHANNEL)
        return bool(await self._script(_PUT_KEY, (_SCHEMA, _VERSION, _KEYS), values))

    async def _script(self, script: str, keys: tuple[str, ...], values: tuple[str | int | bytes, ...]) -> Any:  # noqa: ANN401  a script answers with what it likes
        return await self._answer(self._redis.eval(script, len(keys), *keys, *values))

    async def _answer(self, command: Awaitable[_T]) -> _T:
        """Await an answer for a bounded time, also from a server that is connected and silent."""
        try:
            async with asyncio.timeout(_LIMIT_S):
                answer = await command
        except (RedisError, OSError, TimeoutError) as fault:
            cause = f"the store {self._name} is unavailable: {fault or type(fault).__name__}"
            hint = "check that Redis runs and is reachable; a change in flight may or may not have been made"
            raise StoreUnavailable(cause, hint) from fault
        # The client waits with wait_for, which before Python 3.12 can swallow a cancellation; the task still knows.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        return answer


def _audit_key(feature: str) -> str:
    return f"{_TAG}:audit:{feature}"


def _entry(member: bytes) -> AuditEntry:
    number, _, entry = member.partition(b"|")
    return replace(decode_stored(entry, AuditEntry), id=int(number))
