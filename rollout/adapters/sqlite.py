"""The embedded store: one SQLite file, shared by the processes of one host.

All calls run on one thread of their own, so the event loop never waits for a disk.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from rollout.adapters import sqlite_keys as keys
from rollout.adapters.sqlite_schema import BUSY_S, bump, prepare, read_version, transaction
from rollout.core.audit import AuditEntry
from rollout.core.codec import decode_flag, decode_stored, encode_flag
from rollout.core.errors import RevisionConflict, StoreUnavailable
from rollout.core.keys import KeyChange, KeyEntry, KeyRecord
from rollout.core.model import FeatureFlag
from rollout.core.quota import QuotaAsk, QuotaGrant

_T = TypeVar("_T")
_LIMIT_S = 5.0


class SqliteStore:
    """A `Store` in one file; made on first use, with its directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-store")
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, ...] | None = None

    async def load(self) -> tuple[int, dict[str, FeatureFlag]]:
        """See `Store.load`."""

        def work(db: sqlite3.Connection) -> tuple[int, list[str]]:
            with transaction(db, "BEGIN"):
                return read_version(db), [row[0] for row in db.execute("SELECT document FROM flags")]

        version, documents = await self._run(work)
        flags = [decode_flag(document) for document in documents]
        return version, {flag.feature: flag for flag in flags}

    async def version(self) -> int:
        """See `Store.version`."""
        return await self._run(read_version)

    async def get(self, feature: str) -> FeatureFlag | None:
        """See `Store.get`."""
        document = await self._run(lambda db: _document(db, feature))
        return None if document is None else decode_flag(document)

    async def put_if_revision(self, flag: FeatureFlag, expected_revision: int, entry: AuditEntry) -> FeatureFlag:
        """See `Store.put_if_revision`."""
        written = replace(flag, revision=expected_revision + 1)
        document = encode_flag(written).decode()

        def work(db: sqlite3.Connection) -> tuple[bool, str | None]:
            with transaction(db):
                row = db.execute("SELECT revision FROM flags WHERE feature = ?", (flag.feature,)).fetchone()
                if (row[0] if row else 0) != expected_revision:
                    return False, _document(db, flag.feature)
                row_values = (flag.feature, written.revision, document)
                db.execute("INSERT OR REPLACE INTO flags VALUES (?, ?, ?)", row_values)
                stored = replace(entry, id=bump(db))
                db.execute("INSERT INTO audit VALUES (?, ?, ?)", (stored.id, flag.feature, _text(stored)))
                return True, None

        done, current = await self._run(work)
        if not done:
            raise RevisionConflict(flag.feature, expected_revision, None if current is None else decode_flag(current))
        return written

    async def history(self, feature: str, limit: int = 50, before_id: int | None = None) -> list[AuditEntry]:
        """See `Store.history`."""
        query = "SELECT entry FROM audit WHERE feature = ? AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?"
        values = (feature, before_id, before_id, limit)
        rows = await self._run(lambda db: db.execute(query, values).fetchall())
        return [decode_stored(row[0], AuditEntry) for row in rows]

    async def load_keys(self) -> tuple[int, list[KeyRecord]]:
        """See `Store.load_keys`."""
        version, rows = await self._run(keys.load)
        records = [replace(decode_stored(text, KeyRecord), last_used_at_s=at_s) for text, at_s in rows]
        return version, sorted(records, key=lambda record: (record.created_at_s, record.id))

    async def list_keys(self) -> list[KeyRecord]:
        """See `Store.list_keys`."""
        return (await self.load_keys())[1]

    async def change_keys(self, change: KeyChange, expected_version: int) -> bool:
        """See `Store.change_keys`."""
        return await self._run(lambda db: keys.change(db, change, expected_version))

    async def create_key_if_empty(self, record: KeyRecord) -> bool:
        """See `Store.create_key_if_empty`."""
        return await self._run(lambda db: keys.create_if_empty(db, record))

    async def key_history(self, limit: int = 50, before_id: int | None = None) -> list[KeyEntry]:
        """See `Store.key_history`."""
        entries = await self._run(lambda db: keys.history(db, limit, before_id))
        return [decode_stored(entry, KeyEntry) for entry in entries]

    async def touch_keys(self, uses: Mapping[str, float]) -> None:
        """See `Store.touch_keys`."""
        if uses:
            await self._run(lambda db: keys.touch(db, uses))

    async def lease_quota(self, asks: Sequence[QuotaAsk]) -> list[QuotaGrant]:
        """See `Store.lease_quota`."""
        return await self._run(lambda db: keys.lease(db, asks, time.time())) if asks else []

    async def close(self) -> None:
        """See `Store.close`."""
        with suppress(RuntimeError, TimeoutError):  # closed already, or the disk hangs
            async with asyncio.timeout(_LIMIT_S):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
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
            self._connection = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
            prepare(self._connection)
            self._identity = _identity(self._path)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()


def _identity(path: Path) -> tuple[int, ...]:
    """Tell one file from another at the same path, and from its overwritten self; OSError when it is gone."""
    stat = os.stat(path)  # noqa: PTH116  follows symbolic links, as SQLite does
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def _document(db: sqlite3.Connection, feature: str) -> str | None:
    row = db.execute("SELECT document FROM flags WHERE feature = ?", (feature,)).fetchone()
    return None if row is None else str(row[0])


def _text(value: AuditEntry) -> str:
    return msgspec.json.encode(value).decode()


def _hint(fault: str) -> str:
    hints = {
        "not a database": "another file is in its place: restore it from a backup, or name a new one in [store] url",
        "malformed": "the file is damaged: restore it from a backup",
        "locked": "another process holds it: look for a stuck one, then try again",
        "schema": "use the version of this program that wrote it",
        "readonly": "make the file and its directory writable for this user",
        "No such file": "the file was removed while in use: restore it, or restart to begin anew",
    }
    found = (hint for part, hint in hints.items() if part in fault)
    return next(found, "check that the directory exists, is writable and has space")
