"""Adapters of the rollout engine's ports; imported by composition roots only."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rollout.core.errors import InvalidArgument

if TYPE_CHECKING:
    from rollout.ports import Store

_HINT = 'write url = "sqlite:///PATH", "sqlite:////absolute/path" or "redis://HOST:PORT/DB"'


def open_store(url: str, clock: Callable[[], float] = time.time) -> "Store":
    """Make the store a URL names, without connecting; InvalidArgument for a URL that names none.

    `clock`: Unix time. Never falls back from one kind to another: a store that is away is away.
    """
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and separator:
        return _open_sqlite(url, rest, clock)
    if scheme in {"redis", "rediss"} and separator:
        return _open_redis(url, clock)
    raise InvalidArgument(f"there is no store for the URL {_shown(url)!r}", _HINT)


def _open_sqlite(url: str, rest: str, clock: Callable[[], float]) -> "Store":
    from rollout.adapters.sqlite import SqliteStore  # noqa: PLC0415  only the adapter in use is loaded

    path = rest.removeprefix("/")
    if path == rest or not path or path.endswith("/") or "?" in path:
        raise InvalidArgument(f"the store URL {url!r} names no file", _HINT)
    if not _can_name_a_file(path):
        raise InvalidArgument(f"the store URL {url!r} holds characters that no file name can", _HINT)
    return SqliteStore(Path(path), clock)


def _can_name_a_file(path: str) -> bool:
    try:
        return b"\0" not in path.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, or a byte that was no UTF-8
        return False


def _open_redis(url: str, clock: Callable[[], float]) -> "Store":
    from rollout.adapters.redis import RedisStore  # noqa: PLC0415  only the adapter in use is loaded

    try:
        parts = urlsplit(url)
        if not parts.hostname or (parts.path.strip("/") and not parts.path.strip("/").isdigit()):
            raise ValueError("host and database number are needed")  # noqa: TRY301  one place turns it into ours
        _ = parts.port
        return RedisStore(url, clock)
    except ValueError as fault:
        raise InvalidArgument(f"the store URL {_shown(url)!r} is not usable: {fault}", _HINT) from fault


def _shown(url: str) -> str:
    """Leave credentials out of what is shown."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
