"""Keys and quotas of the embedded store: steps on a connection, run on the store's thread."""

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import replace

from rollout.adapters.sqlite_schema import bump, read_version, transaction
from rollout.core.keys import KeyChange, KeyEntry, KeyRecord, first_entry
from rollout.core.quota import KEEP_MIN_S, QuotaAsk, QuotaGrant, grant

_READ = "SELECT keys.record, key_uses.at_s FROM keys LEFT JOIN key_uses USING (id)"
_TOUCH = """
INSERT INTO key_uses SELECT id, ? FROM keys WHERE id = ?
ON CONFLICT (id) DO UPDATE SET at_s = max(at_s, excluded.at_s)
"""


def load(db: sqlite3.Connection) -> tuple[int, list[tuple[str, float | None]]]:
    """The global version, and each record as stored with its last use."""
    with transaction(db, "BEGIN"):
        return read_version(db), db.execute(_READ).fetchall()


def change(db: sqlite3.Connection, wanted: KeyChange, expected_version: int) -> bool:
    """See `Store.change_keys`."""
    with transaction(db):
        if read_version(db) != expected_version:
            return False
        _write(db, wanted)
        return True


def create_if_empty(db: sqlite3.Connection, record: KeyRecord) -> bool:
    """See `Store.create_key_if_empty`."""
    with transaction(db):
        if db.execute("SELECT 1 FROM keys LIMIT 1").fetchone():
            return False
        _write(db, KeyChange((record,), (), first_entry(record)))
        return True


def history(db: sqlite3.Connection, limit: int, before_id: int | None) -> list[str]:
    """Entries as stored, newest first."""
    query = "SELECT entry FROM key_audit WHERE (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?"
    return [row[0] for row in db.execute(query, (before_id, before_id, limit))]


def touch(db: sqlite3.Connection, uses: Mapping[str, float]) -> None:
    """See `Store.touch_keys`."""
    with transaction(db):
        db.executemany(_TOUCH, [(at_s, key) for key, at_s in uses.items()])


def lease(db: sqlite3.Connection, asks: Sequence[QuotaAsk], now_s: float) -> list[QuotaGrant]:
    """See `Store.lease_quota`."""
    with transaction(db):
        db.execute("DELETE FROM quotas WHERE expires_at_s <= ?", (now_s,))
        return [_lease(db, ask, now_s) for ask in asks]


def _lease(db: sqlite3.Connection, ask: QuotaAsk, now_s: float) -> QuotaGrant:
    row = db.execute("SELECT used FROM quotas WHERE name = ? AND span = ?", (ask.name, ask.window)).fetchone()
    granted = grant(row[0] if row else 0, ask)
    if row or granted.used:
        values = (ask.name, ask.window, granted.used, max(ask.expires_at_s, now_s + KEEP_MIN_S))
        db.execute("INSERT OR REPLACE INTO quotas VALUES (?, ?, ?, ?)", values)
    return granted


def _write(db: sqlite3.Connection, wanted: KeyChange) -> None:
    rows = [(record.id, _text(replace(record, last_used_at_s=None))) for record in wanted.written]
    db.executemany("INSERT OR REPLACE INTO keys VALUES (?, ?)", rows)
    for table in ("keys", "key_uses"):
        db.executemany(f"DELETE FROM {table} WHERE id = ?", [(key,) for key in wanted.dropped])  # noqa: S608  ours
    entry = replace(wanted.entry, id=bump(db))
    db.execute("INSERT INTO key_audit VALUES (?, ?)", (entry.id, _text(entry)))


def _text(value: KeyEntry | KeyRecord) -> str:
    return msgspec.json.encode(value).decode()
