"""Sums of evidence of the embedded store: steps on a connection, run on the store's thread."""

import sqlite3
from collections.abc import Mapping, Sequence

import msgspec

from rollout.adapters.sqlite_control import Now
from rollout.adapters.sqlite_schema import transaction
from rollout.core import sums as rules
from rollout.core.sums import Replacement, SumKey


def add(db: sqlite3.Connection, deltas: Mapping[SumKey, Sequence[int]], flush_id: str, now: Now) -> bool:
    """See `Store.add_sums`."""
    with transaction(db):
        now_ms = now()
        db.execute("DELETE FROM flushes WHERE at_ms <= ?", (now_ms - round(rules.REMEMBER_FLUSH_S * 1_000),))
        if db.execute("INSERT OR IGNORE INTO flushes VALUES (?, ?)", (flush_id, now_ms)).rowcount == 0:
            return False
        _forget_old(db, now_ms)
        for key, delta in deltas.items():
            _add(db, key, delta)
        for feature, epoch in {(key.feature, key.epoch) for key in deltas}:
            db.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?)", (feature, epoch, now_ms))
            _refuse_too_many(db, feature, epoch)
        return True


def read(db: sqlite3.Connection, feature: str, now_ms: int) -> dict[SumKey, tuple[int, ...]]:
    """See `Store.read_sums`."""
    query = "SELECT epoch, name, vector FROM sums JOIN epochs USING (feature, epoch) WHERE feature = ? AND at_ms > ?"
    rows = db.execute(query, (feature, now_ms - round(rules.KEEP_S * 1_000)))
    return {SumKey(feature, epoch, name): _vector(stored) for epoch, name, stored in rows}


def put_instead(db: sqlite3.Connection, asked: Replacement) -> bool:
    """See `Store.replace_sums`."""
    where = "feature = ? AND epoch = ? AND name = ?"
    with transaction(db):
        for name, vector in asked.found.items():
            row = db.execute(f"SELECT vector FROM sums WHERE {where}", (asked.feature, asked.epoch, name)).fetchone()  # noqa: S608  ours
            if (_vector(row[0]) if row else ()) != tuple(vector):
                return False
        for name in asked.found:
            db.execute(f"DELETE FROM sums WHERE {where}", (asked.feature, asked.epoch, name))  # noqa: S608  ours
        for name, vector in asked.instead.items():
            stored = msgspec.json.encode(vector).decode()
            row = (asked.feature, asked.epoch, name, len(vector), stored)
            db.execute("INSERT OR REPLACE INTO sums VALUES (?, ?, ?, ?, ?)", row)
        return True


def _add(db: sqlite3.Connection, key: SumKey, delta: Sequence[int]) -> None:
    query = "SELECT vector, size FROM sums WHERE feature = ? AND epoch = ? AND name = ?"
    row = db.execute(query, key).fetchone()
    merged = rules.merge(_vector(row[0]) if row else (), delta)
    stored = msgspec.json.encode(merged).decode()
    db.execute("INSERT OR REPLACE INTO sums VALUES (?, ?, ?, ?, ?)", (*key, len(merged), stored))


def _refuse_too_many(db: sqlite3.Connection, feature: str, epoch: int) -> None:
    values = db.execute("SELECT sum(size) FROM sums WHERE feature = ? AND epoch = ?", (feature, epoch)).fetchone()[0]
    epochs = db.execute("SELECT count(*) FROM epochs WHERE feature = ?", (feature,)).fetchone()[0]
    if (values or 0) > rules.VALUES_PER_EPOCH_MAX or epochs > rules.EPOCHS_MAX:
        raise rules.too_many()


def _forget_old(db: sqlite3.Connection, now_ms: int) -> None:
    old = (now_ms - round(rules.KEEP_S * 1_000),)
    if db.execute("SELECT 1 FROM epochs WHERE at_ms <= ? LIMIT 1", old).fetchone():
        db.execute(
            "DELETE FROM sums WHERE (feature, epoch) IN (SELECT feature, epoch FROM epochs WHERE at_ms <= ?)", old
        )
        db.execute("DELETE FROM epochs WHERE at_ms <= ?", old)


def _vector(stored: str) -> tuple[int, ...]:
    return msgspec.json.decode(stored, type=tuple[int, ...])
