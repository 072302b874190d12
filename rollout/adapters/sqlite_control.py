"""Flags, leases, the controller's memory, idempotency keys: steps on a connection, run on the store's thread."""

import sqlite3
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from rollout.adapters.sqlite_schema import bump, read_position, transaction
from rollout.core import lease as rules
from rollout.core.audit import AuditEntry
from rollout.core.codec import decode_flag
from rollout.core.errors import CommandRepeated, RevisionConflict, StaleWriter
from rollout.core.lease import Held, Lease, Verdict
from rollout.core.model import FeatureFlag
from rollout.core.once import KEEP_MAX, KEEP_S, Once
from rollout.core.position import Position, accepted

Now = Callable[[], int]
"""Unix milliseconds, to be asked within a transaction: before it, a wait for the lock would make them old."""


class Write(NamedTuple):
    """A flag as it is to be stored, and under which conditions."""

    flag: FeatureFlag
    document: str
    entry: AuditEntry
    fencing: Lease | None
    once: Once | None


def put(db: sqlite3.Connection, write: Write, now: Now) -> None:
    """See `Store.put_if_revision`; `write.flag` has the new revision."""
    flag = write.flag
    with transaction(db):
        if write.once is not None:
            _refuse_repeated(db, write.once, now())
        _judge(db, flag.feature, flag.revision - 1, write.fencing)
        db.execute("INSERT OR REPLACE INTO flags VALUES (?, ?, ?)", (flag.feature, flag.revision, write.document))
        stored = replace(write.entry, id=bump(db))
        text = msgspec.json.encode(stored).decode()
        db.execute("INSERT INTO audit VALUES (?, ?, ?)", (stored.id, flag.feature, text))


def document(db: sqlite3.Connection, feature: str) -> str | None:
    """The stored text of a flag."""
    row = db.execute("SELECT document FROM flags WHERE feature = ?", (feature,)).fetchone()
    return None if row is None else str(row[0])


def put_memory(db: sqlite3.Connection, feature: str, revision: int, memory: bytes, fencing: Lease | None) -> None:
    """See `Store.put_memory`."""
    with transaction(db):
        _judge(db, feature, revision, fencing)
        db.execute("INSERT OR REPLACE INTO memories VALUES (?, ?, ?)", (feature, revision, memory))


def get_memory(db: sqlite3.Connection, feature: str) -> tuple[int, bytes] | None:
    """See `Store.get_memory`."""
    row = db.execute("SELECT revision, memory FROM memories WHERE feature = ?", (feature,)).fetchone()
    return None if row is None else (row[0], row[1])


def acquire(db: sqlite3.Connection, name: str, holder: str, ttl_ms: int, now: Now) -> int | None:
    """See `Store.acquire_lease`: the token."""
    with transaction(db):
        return _keep(db, name, rules.acquire(_held(db, name), holder, ttl_ms, now()))


def renew(db: sqlite3.Connection, lease: Lease, ttl_ms: int, now: Now) -> int | None:
    """See `Store.renew_lease`: the token."""
    with transaction(db):
        return _keep(db, lease.name, rules.renew(_held(db, lease.name), lease.token, ttl_ms, now()))


def release(db: sqlite3.Connection, lease: Lease) -> bool:
    """See `Store.release_lease`."""
    with transaction(db):
        return _keep(db, lease.name, rules.release(_held(db, lease.name), lease.token)) is not None


def recall(db: sqlite3.Connection, key: str, now_ms: int) -> bytes | None:
    """See `Store.recall`."""
    query = "SELECT outcome FROM commands WHERE key = ? AND at_ms > ?"
    row = db.execute(query, (key, now_ms - round(KEEP_S * 1_000))).fetchone()
    return None if row is None else bytes(row[0])


def remember(db: sqlite3.Connection, once: Once, now: Now) -> bytes | None:
    """See `Store.remember`."""
    with transaction(db):
        return _remember(db, once, now())


def accept_loss(db: sqlite3.Connection, known: Position) -> Position | None:
    """See `Store.accept_loss`."""
    with transaction(db):
        taken = accepted(known, read_position(db))
        if taken is not None:
            names = zip(("generation", "version"), taken, strict=True)
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", names)
        return taken


def _held(db: sqlite3.Connection, name: str) -> Held:
    row = db.execute("SELECT token, holder, since_ms, until_ms FROM leases WHERE name = ?", (name,)).fetchone()
    return Held(*row) if row else Held()


def _keep(db: sqlite3.Connection, name: str, held: Held | None) -> int | None:
    if held is None:
        return None
    db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?)", (name, *held))
    return held.token


def _judge(db: sqlite3.Connection, feature: str, expected: int, fencing: Lease | None) -> None:
    row = db.execute("SELECT revision FROM flags WHERE feature = ?", (feature,)).fetchone()
    held = Held() if fencing is None else _held(db, fencing.name)
    verdict = rules.judge_write(held, None if fencing is None else fencing.token, row[0] if row else 0, expected)
    if verdict is Verdict.STALE and fencing is not None:
        raise StaleWriter(fencing.name, fencing.token, held.token)
    if verdict is Verdict.CONFLICT:
        current = document(db, feature)
        raise RevisionConflict(feature, expected, None if current is None else decode_flag(current))


def _refuse_repeated(db: sqlite3.Connection, once: Once, now_ms: int) -> None:
    """Remember it at once: a refusal later in the same transaction takes that back."""
    outcome = _remember(db, once, now_ms)
    if outcome is not None:
        raise CommandRepeated(once.key, outcome)


def _remember(db: sqlite3.Connection, once: Once, now_ms: int) -> bytes | None:
    known = recall(db, once.key, now_ms)
    if known is not None:
        return known
    db.execute("DELETE FROM commands WHERE at_ms <= ?", (now_ms - round(KEEP_S * 1_000),))
    db.execute("INSERT OR REPLACE INTO commands VALUES (?, ?, ?)", (once.key, now_ms, once.outcome))
    surplus = "SELECT key FROM commands ORDER BY at_ms DESC, rowid DESC LIMIT -1 OFFSET ?"
    db.execute(f"DELETE FROM commands WHERE key IN ({surplus})", (KEEP_MAX,))  # noqa: S608  ours
    return None
