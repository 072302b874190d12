"""One Redis database: a pool of connections, answers in bounded time, faults in our words."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from rollout.core.errors import StoreUnavailable

_T = TypeVar("_T")
_SCHEMA_VERSION = b"1"
_SOCKET_S = 1.0
_LIMIT_S = 2.0
_CONNECTIONS = 8
_READ = """
local answers, place = {}, 1
for i, key in ipairs(KEYS) do
  local last = place + 1 + ARGV[place + 1]
  answers[i] = redis.call(ARGV[place], key, unpack(ARGV, place + 2, last))
  place = last + 1
end
return answers
"""


class RedisConnection:
    """No retries: a repeated change could meet its own first attempt."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        """Prepare for a redis:// or rediss:// URL without connecting; ValueError for a URL that can't be one.

        `clock`: Unix time of this process; it only tells holders of leases until when to act.
        """
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
        self._clock = clock

    async def close(self) -> None:
        """See `Store.close`."""
        await self._redis.aclose(close_connection_pool=True)

    def _check_schema(self, schema: bytes | None) -> None:
        if schema not in {None, _SCHEMA_VERSION}:
            cause = f"the store {self._name} has schema {schema!r}, this program knows {_SCHEMA_VERSION!r}"
            raise StoreUnavailable(cause, "use the version of this program that wrote it")

    async def _script(self, script: str, keys: tuple[str, ...], values: tuple[str | int | bytes, ...]) -> Any:  # noqa: ANN401  a script answers with what it likes
        return await self._answer(self._redis.eval(script, len(keys), *keys, *values))

    async def _read(self, *commands: tuple[str | int, ...]) -> list[Any]:
        """Answers of reading commands (name, key, arguments) at one moment, pairs as flat lists.

        Not as a transaction: a full Redis refuses to queue even reads.
        """
        keys = tuple(str(command[1]) for command in commands)
        values = [value for name, _, *rest in commands for value in (name, len(rest), *rest)]
        return list(await self._script(_READ, keys, tuple(values)))

    async def _answer(self, command: Awaitable[_T]) -> _T:
        """Await an answer for a bounded time, also from a server that is connected and silent."""
        try:
            async with asyncio.timeout(_LIMIT_S):
                answer = await command
        except (RedisError, OSError, TimeoutError) as fault:
            cause = f"the store {self._name} is unavailable: {fault or type(fault).__name__}"
            raise StoreUnavailable(cause, _hint(str(fault))) from fault
        # The client waits with wait_for, which before Python 3.12 can swallow a cancellation; the task still knows.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        return answer


def pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    """A hash from its fields and values by turns."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _hint(fault: str) -> str:
    hints = {
        "OOM ": "Redis is full and wrote nothing: give it more memory, or look for what else fills it",
        "command not allowed when used memory": "Redis is full and wrote nothing: give it more memory",
        "read only replica": "this Redis is a replica: name the master, or an address that follows it",
        "READONLY": "this Redis is a replica: name the master, or an address that follows it",
        "MOVED": "this node of the cluster doesn't own the slot of {glidepath}: name the one that does",
        "NOAUTH": "put the password into the URL: redis://:PASSWORD@HOST:PORT/DB",
    }
    found = (hint for part, hint in hints.items() if part in fault)
    unknown = "check that Redis runs and is reachable; a change in flight may or may not have been made"
    return next(found, unknown)
