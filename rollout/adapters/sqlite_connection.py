"""One SQLite file and the thread that all calls on it run on, so the event loop never waits for a disk."""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from rollout.adapters.sqlite_host import Presence, refuse_network_file_system
from rollout.adapters.sqlite_schema import BUSY_S, prepare
from rollout.core.errors import StoreUnavailable

_T = TypeVar("_T")
_LIMIT_S = 5.0


class SqliteConnection:
    """The file is made on first use, with its directory."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, host: str | None = None) -> None:
        """`clock`: Unix time. `host`: what tells this host from others, found out if not given."""
        self._path, self._clock = path, clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-store")
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, ...] | None = None
        self._presence = Presence(host, clock)

    def _now_ms(self) -> int:
        return int(self._clock() * 1_000)

    async def close(self) -> None:
        """See `Store.close`."""
        with suppress(RuntimeError, TimeoutError):  # closed already, or the disk hangs
            async with asyncio.timeout(_LIMIT_S):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._leave)
        self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run on the store's thread; every fault and a hanging disk become StoreUnavailable."""
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, self._guarded, work)
            # Not wait_for: before Python 3.12 it swallows a cancellation that comes as the work ends.
            async with asyncio.timeout(_LIMIT_S):
                return await future
        except TimeoutError as fault:
            hint = "check the disk; a change in flight may or may not have been made"
            raise StoreUnavailable(f"the store {self._path} did not answer within {_LIMIT_S:g} s", hint) from fault
        except RuntimeError as fault:
            raise StoreUnavailable(f"the store {self._path} is closed", "the process is ending") from fault

    def _guarded(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return work(self._connected())
        except (sqlite3.Error, OSError, UnicodeError) as fault:
            self._disconnect()
            raise StoreUnavailable(f"the store {self._path} failed: {fault}", _hint(str(fault))) from fault

    def _connected(self) -> sqlite3.Connection:
        """Return the connection, a new one when the file was exchanged: the old would write to a deleted file."""
        if self._identity is not None and self._identity != _identity(self._path):
            self._disconnect()
        if self._connection is None:
            if self._identity is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            refuse_network_file_system(self._path)
            self._connection = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
            prepare(self._connection)
            self._identity = _identity(self._path)
        self._presence.show(self._connection)
        return self._connection

    def _leave(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._presence.withdraw(self._connection)
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _identity(path: Path) -> tuple[int, ...]:
    """Tell one file from another at the same path, and from its overwritten self; OSError when it is gone."""
    stat = os.stat(path)  # noqa: PTH116  follows symbolic links, as SQLite does
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _hint(fault: str) -> str:
    hints = {
        "not a database": "another file is in its place: restore it from a backup, or name a new one in [store] url",
        "malformed": "the file is damaged: restore it from a backup",
        "locked": "another process holds it: look for a stuck one, then try again",
        "another host": "use a redis:// store for gateways on several hosts",
        "network file system": "use a local disk, or a redis:// store for gateways on several hosts",
        "schema": "use the version of this program that wrote it",
        "readonly": "make the file and its directory writable for this user",
        "No such file": "the file was removed while in use: restore it, or restart and `glidepath rollout accept-loss`",
    }
    found = (hint for part, hint in hints.items() if part in fault)
    return next(found, "check that the directory exists, is writable and has space")
