"""The tables of the embedded store, and what every step on them needs: a transaction and the global version."""

import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rollout.core.position import Position

SCHEMA_VERSION = 1
BUSY_S = 2.0
# New tables may be added without a new schema version: a program from before they were there doesn't look at them.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS flags (feature TEXT PRIMARY KEY, revision INTEGER NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS audit (id INTEGER PRIMARY KEY, feature TEXT NOT NULL, entry TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS audit_by_feature ON audit (feature, id);
CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS key_audit (id INTEGER PRIMARY KEY, entry TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS key_uses (id TEXT PRIMARY KEY, at_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quotas (
  name TEXT NOT NULL, span INTEGER NOT NULL, used INTEGER NOT NULL, expires_at_s REAL NOT NULL,
  PRIMARY KEY (name, span)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS quotas_by_end ON quotas (expires_at_s);
CREATE TABLE IF NOT EXISTS hosts (host TEXT PRIMARY KEY, seen_at_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (
  name TEXT PRIMARY KEY, token INTEGER NOT NULL, holder TEXT NOT NULL, since_ms INTEGER NOT NULL,
  until_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memories (feature TEXT PRIMARY KEY, revision INTEGER NOT NULL, memory BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS commands (key TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, outcome BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS commands_by_time ON commands (at_ms);
CREATE TABLE IF NOT EXISTS flushes (id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS flushes_by_time ON flushes (at_ms);
CREATE TABLE IF NOT EXISTS epochs (
  feature TEXT NOT NULL, epoch INTEGER NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (feature, epoch)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sums (
  feature TEXT NOT NULL, epoch INTEGER NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, vector TEXT NOT NULL,
  PRIMARY KEY (feature, epoch, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS draws (
  feature TEXT NOT NULL, draw TEXT NOT NULL, at_ms INTEGER NOT NULL, began_ms INTEGER NOT NULL,
  units INTEGER NOT NULL, PRIMARY KEY (feature, draw)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
  feature TEXT NOT NULL, draw TEXT NOT NULL, filter INTEGER NOT NULL, page INTEGER NOT NULL, bits BLOB NOT NULL,
  PRIMARY KEY (feature, draw, filter, page)
);
CREATE TABLE IF NOT EXISTS votes (
  feature TEXT NOT NULL, pair TEXT NOT NULL, voter TEXT NOT NULL, at_ms INTEGER NOT NULL, vote TEXT NOT NULL,
  PRIMARY KEY (feature, pair, voter)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claim_flushes (id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, granted TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS claim_flushes_by_time ON claim_flushes (at_ms);
INSERT OR IGNORE INTO meta VALUES ('schema', 1), ('version', 0);
"""
_APPEND_ONLY = (
    "CREATE TRIGGER IF NOT EXISTS {table}_is_not_{verb}d BEFORE {verb} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
)


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables that are missing; sqlite3.DatabaseError for a file of another schema."""
    deadline_s = time.monotonic() + BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as fault:
            # SQLite doesn't apply its busy timeout to this switch, which several new processes may try at once.
            if "locked" not in str(fault) or time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
    with transaction(db):
        for statement in _SCHEMA.split(";"):
            db.execute(statement)
        for table in ("audit", "key_audit"):
            for verb in ("update", "delete"):
                db.execute(_APPEND_ONLY.format(table=table, verb=verb))
        db.execute("INSERT OR IGNORE INTO meta VALUES ('generation', ?)", (1 + secrets.randbelow(2**53 - 1),))
        found = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()[0]
    if found != SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"its schema is version {found}, this program knows {SCHEMA_VERSION}")


@contextmanager
def transaction(db: sqlite3.Connection, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    db.execute(begin)
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def read_version(db: sqlite3.Connection) -> int:
    """The global version."""
    return int(db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0])


def read_position(db: sqlite3.Connection) -> Position:
    """The global version and the identity of the data."""
    found = dict(db.execute("SELECT name, value FROM meta WHERE name IN ('generation', 'version')").fetchall())
    return Position(found.get("generation", 0), found["version"])


def bump(db: sqlite3.Connection) -> int:
    """Count the global version up and return it."""
    db.execute("UPDATE meta SET value = value + 1 WHERE name = 'version'")
    return read_version(db)
