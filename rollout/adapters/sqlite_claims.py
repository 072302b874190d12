"""Units that have been counted, in the embedded store: pages of bits, made when they are needed."""

import sqlite3
from collections.abc import Sequence

from rollout.adapters.sqlite_control import Now
from rollout.adapters.sqlite_schema import transaction
from rollout.core import claims as rules
from rollout.core.claims import Claim


def claim(db: sqlite3.Connection, claims: Sequence[Claim], flush_id: str, now: Now) -> tuple[bool, ...]:
    """See `Store.claim_units`."""
    with transaction(db):
        now_ms = now()
        db.execute("DELETE FROM claim_flushes WHERE at_ms <= ?", (now_ms - _ms(rules.REMEMBER_FLUSH_S),))
        known = db.execute("SELECT granted FROM claim_flushes WHERE id = ?", (flush_id,)).fetchone()
        if known is not None:
            return tuple(sign == "1" for sign in known[0])
        _forget_old(db, now_ms)
        pages: dict[tuple[str, str, int], bytearray] = {}
        granted = tuple([_claim(db, pages, each) for each in claims])
        db.executemany(
            "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?)", ((*key, bytes(bits)) for key, bits in pages.items())
        )
        draws = {(each.feature, each.draw) for each in claims}
        db.executemany("INSERT OR REPLACE INTO draws VALUES (?, ?, ?)", ((*draw, now_ms) for draw in draws))
        text = "".join("1" if new else "0" for new in granted)
        db.execute("INSERT INTO claim_flushes VALUES (?, ?, ?)", (flush_id, now_ms, text))
        return granted


def _claim(db: sqlite3.Connection, pages: dict[tuple[str, str, int], bytearray], claim: Claim) -> bool:
    page, offsets = rules.bits_of(claim.digest)
    key = (claim.feature, claim.draw, page)
    bits = pages.get(key)
    if bits is None:
        query = "SELECT bits FROM claims WHERE feature = ? AND draw = ? AND page = ?"
        row = db.execute(query, key).fetchone()
        bits = pages[key] = bytearray(row[0]) if row else bytearray(rules.PAGE_BITS // 8)
    return rules.claimed(bits, offsets)


def _forget_old(db: sqlite3.Connection, now_ms: int) -> None:
    old = (now_ms - _ms(rules.KEEP_S),)
    if db.execute("SELECT 1 FROM draws WHERE at_ms <= ? LIMIT 1", old).fetchone():
        db.execute(
            "DELETE FROM claims WHERE (feature, draw) IN (SELECT feature, draw FROM draws WHERE at_ms <= ?)", old
        )
        db.execute("DELETE FROM draws WHERE at_ms <= ?", old)


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
