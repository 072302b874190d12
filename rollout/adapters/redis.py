"""The shared store: Redis. A change is one script: document, version, audit and notice together or not at all."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar, cast

import msgspec
from msgspec.structs import replace
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from rollout.adapters import redis_scripts as scripts
from rollout.core.audit import AuditEntry
from rollout.core.codec import decode_flag, decode_stored, encode_flag
from rollout.core.errors import RevisionConflict, StoreUnavailable
from rollout.core.keys import KeyChange, KeyEntry, KeyRecord, first_entry
from rollout.core.model import FeatureFlag
from rollout.core.quota import KEEP_MIN_S, QuotaAsk, QuotaGrant

_T = TypeVar("_T")
_E = TypeVar("_E", AuditEntry, KeyEntry)
_SCHEMA_VERSION = b"1"
_SOCKET_S = 1.0
_LIMIT_S = 2.0
_CONNECTIONS = 8


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
        pipeline.get(scripts.SCHEMA)
        pipeline.get(scripts.VERSION)
        pipeline.hvals(scripts.FLAGS)
        schema, version, documents = await self._answer(pipeline.execute())
        self._check_schema(schema)
        flags = [decode_flag(document) for document in documents]
        return int(version or 0), {flag.feature: flag for flag in flags}

    async def version(self) -> int:
        """See `Store.version`."""
        return int(await self._answer(self._redis.get(scripts.VERSION)) or 0)

    async def get(self, feature: str) -> FeatureFlag | None:
        """See `Store.get`."""
        document = await self._answer(self._redis.hget(scripts.FLAGS, feature))
        return None if document is None else decode_flag(document)

    async def put_if_revision(self, flag: FeatureFlag, expected_revision: int, entry: AuditEntry) -> FeatureFlag:
        """See `Store.put_if_revision`."""
        written = replace(flag, revision=expected_revision + 1)
        keys = (scripts.SCHEMA, scripts.VERSION, scripts.FLAGS, scripts.REVISIONS, scripts.audit_of(flag.feature))
        values = (flag.feature, expected_revision, encode_flag(written), msgspec.json.encode(entry), scripts.CHANNEL)
        done, current = await self._script(scripts.PUT, keys, values)
        if not done:
            raise RevisionConflict(flag.feature, expected_revision, None if current is None else decode_flag(current))
        return written

    async def history(self, feature: str, limit: int = 50, before_id: int | None = None) -> list[AuditEntry]:
        """See `Store.history`."""
        members = await self._newest(scripts.audit_of(feature), limit, before_id)
        return [_entry(member, AuditEntry) for member in members]

    async def load_keys(self) -> tuple[int, list[KeyRecord]]:
        """See `Store.load_keys`."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.get(scripts.SCHEMA)
        pipeline.get(scripts.VERSION)
        pipeline.hgetall(scripts.KEYS)
        pipeline.hgetall(scripts.KEY_USES)
        schema, version, stored, uses = await self._answer(pipeline.execute())
        self._check_schema(schema)
        records = [_key(record, uses.get(key)) for key, record in stored.items()]
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
        return [_entry(member, KeyEntry) for member in members]

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

    async def close(self) -> None:
        """See `Store.close`."""
        await self._redis.aclose(close_connection_pool=True)

    async def _change_keys(self, change: KeyChange, expected: int | str) -> bool:
        records = [replace(record, last_used_at_s=None) for record in change.written]
        pairs = (value for record in records for value in (record.id, msgspec.json.encode(record)))
        head = (expected, msgspec.json.encode(change.entry), scripts.CHANNEL, len(records))
        names = (scripts.SCHEMA, scripts.VERSION, scripts.KEYS, scripts.KEY_AUDIT, scripts.KEY_USES)
        return bool(await self._script(scripts.CHANGE_KEYS, names, (*head, *pairs, *change.dropped)))

    async def _newest(self, name: str, limit: int, before_id: int | None) -> list[bytes]:
        newest = "+inf" if before_id is None else f"({before_id}"
        query = self._redis.zrevrangebyscore(name, newest, "-inf", start=0, num=limit)
        return cast("list[bytes]", await self._answer(query))

    def _check_schema(self, schema: bytes | None) -> None:
        if schema not in {None, _SCHEMA_VERSION}:
            cause = f"the store {self._name} has schema {schema!r}, this program knows {_SCHEMA_VERSION!r}"
            raise StoreUnavailable(cause, "use the version of this program that wrote it")

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


def _entry(member: bytes, kind: type[_E]) -> _E:
    number, _, entry = member.partition(b"|")
    return replace(decode_stored(entry, kind), id=int(number))


def _key(stored: bytes, used_at_s: bytes | None) -> KeyRecord:
    return replace(decode_stored(stored, KeyRecord), last_used_at_s=None if used_at_s is None else float(used_at_s))


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
