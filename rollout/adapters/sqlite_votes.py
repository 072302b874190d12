"""People's votes in the embedded store: steps on a connection, run on the store's thread."""

import sqlite3

from rollout.adapters.sqlite_control import Now
from rollout.adapters.sqlite_schema import transaction
from rollout.core import votes as rules
from rollout.core.votes import Vote


def put(db: sqlite3.Connection, vote: Vote, raw: bytes, now: Now) -> None:
    """See `Store.put_vote`."""
    with transaction(db):
        now_ms = now()
        query = "DELETE FROM votes WHERE feature IN (SELECT feature FROM votes GROUP BY feature HAVING max(at_ms) <= ?)"
        db.execute(query, (now_ms - round(rules.KEEP_S * 1_000),))
        values = (vote.feature, vote.pair, vote.voter, now_ms, raw.decode())
        db.execute("INSERT OR REPLACE INTO votes VALUES (?, ?, ?, ?, ?)", values)
        count = db.execute("SELECT count(*) FROM votes WHERE feature = ?", (vote.feature,)).fetchone()[0]
        if count > rules.VOTES_MAX:
            raise rules.too_many()


def read(db: sqlite3.Connection, feature: str, now_ms: int) -> list[str]:
    """See `Store.votes`."""
    rows = db.execute("SELECT at_ms, vote FROM votes WHERE feature = ?", (feature,)).fetchall()
    old_ms = now_ms - round(rules.KEEP_S * 1_000)
    return [row[1] for row in rows] if any(row[0] > old_ms for row in rows) else []
