"""The embedded store: one SQLite file, shared by the processes of one host.

All calls run on one thread of their own, so the event loop never waits for a disk.
"""

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from rollout.core.audit import AuditEntry
from rollout.core.codec import decode_flag, decode_stored, encode_flag
from rollout.core.errors import RevisionConflict, StoreUnavailable
from rollout.core.model import FeatureFlag
from rollout.ports import KeyRecord

_T = TypeVar("_T")
_SCHEMA_VERSION = 1
_BUSY_S = 2.0
_LIMIT_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS flags (feature TEXT PRIMARY KEY, revision INTEGER NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY, feature TEXT NOT NULL, entry TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_by_feature ON audit (feature, id);
CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, record TEXT NOT NULL);
INSERT OR IGNORE INTO meta VALUES ('schema', 1), ('version', 0);
"""


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
            with _transaction(db, "BEGIN"):
                return _version(db), [row[0] for row in db.execute("SELECT document FROM flags")]

        version, documents = await self._run(work)
        flags = [decode_flag(document) for document in documents]
        return version, {flag.feature: flag for flag in flags}

    async def version(self) -> int:
        """See `Store.version`."""
        return await self._run(_version)

    async def get(self, feature: str) -> FeatureFlag | None:
        """See `Store.get`."""
        document = await self._run(lambda db: _document(db, feature))
        return None if document is None else decode_flag(document)

    async def put_if_revision(self, flag: FeatureFlag, expected_revision: int, entry: AuditEntry) -> FeatureFlag:
        """See `Store.put_if_revision`."""
        written = replace(flag, revision=expected_revision + 1)
        document = encode_flag(written).decode()

        def work(db: sqlite3.Connection) -> tuple[bool, str | None]:
            with _transaction(db):
                row = db.execute("SELECT revision FROM flags WHERE feature = ?", (flag.feature,)).fetchone()
                if (row[0] if row else 0) != expected_revision:
                    return False, _document(db, flag.feature)
                row_values = (flag.feature, written.revision, document)
                db.execute("INSERT OR REPLACE INTO flags VALUES (?, ?, ?)", row_values)
                stored = replace(entry, id=_bump(db))
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

    async def list_keys(self) -> list[KeyRecord]:
        """See `Store.list_keys`."""
        rows = await self._run(lambda db: db.execute("SELECT record FROM keys").fetchall())
        records = [decode_stored(row[0], KeyRecord) for row in rows]
        return sorted(records, key=lambda record: (record.created_at_s, record.id))

    async def put_key(self, record: KeyRecord) -> None:
        """See `Store.put_key`."""

        def work(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.execute("INSERT OR REPLACE INTO keys VALUES (?, ?)", (record.id, _text(record)))
                _bump(db)

        await self._run(work)

    async def create_key_if_empty(self, record: KeyRecord) -> bool:
        """See `Store.create_key_if_empty`."""

        def work(db: sqlite3.Connection) -> bool:
            with _transaction(db):
                if db.execute("SELECT 1 FROM keys LIMIT 1").fetchone():
                    return False
                db.execute("INSERT INTO keys VALUES (?, ?)", (record.id, _text(record)))
                _bump(db)
                return True

        return await self._run(work)

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
            self._connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            _prepare(self._connection)
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


def _prepare(db: sqlite3.Connection) -> None:
    deadline_s = time.monotonic() + _BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as fault:
            # SQLite doesn't apply its busy timeout to this switch, which several new processes may try at once.
            if "locked" not in str(fault) or time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
    with _transaction(db):
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        found = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()[0]
    if found != _SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"its schema is version {found}, this program knows {_SCHEMA_VERSION}")


@contextmanager
def _transaction(db: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    db.execute(begin)
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0])


def _bump(db: sqlite3.Connection) -> int:
    db.execute("UPDATE meta SET value = value + 1 WHERE name = 'version'")
    return _version(db)


def _document(db: sqlite3.Connection, feature: str) -> str | None:
    row = db.execute("SELECT document FROM flags WHERE feature = ?", (feature,)).fetchone()
    return None if row is None else str(row[0])


def _text(value: AuditEntry | KeyRecord) -> str:
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
