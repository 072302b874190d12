"""Units that have been counted, in the embedded store: pages of bits, made when they are needed."""

import sqlite3
from collections import Counter
from collections.abc import Sequence

from rollout.adapters.sqlite_control import Now
from rollout.adapters.sqlite_schema import transaction
from rollout.core import claims as rules
from rollout.core.claims import Claim

_NOW, _BEFORE = 0, 1
_Page = tuple[str, str, int, int]
"""Feature, draw, filter, number."""


def claim(db: sqlite3.Connection, claims: Sequence[Claim], flush_id: str, now: Now) -> tuple[bool, ...]:
    """See `Store.claim_units`."""
    with transaction(db):
        now_ms = now()
        db.execute("DELETE FROM claim_flushes WHERE at_ms <= ?", (now_ms - _ms(rules.REMEMBER_FLUSH_S),))
        known = db.execute("SELECT granted FROM claim_flushes WHERE id = ?", (flush_id,)).fetchone()
        if known is not None:
            return tuple(sign == "1" for sign in known[0])
        _forget_old(db, now_ms)
        _turn(db, now_ms)
        granted = _Claiming(db).claim(claims, now_ms)
        text = "".join("1" if new else "0" for new in granted)
        db.execute("INSERT INTO claim_flushes VALUES (?, ?, ?)", (flush_id, now_ms, text))
        return granted


class _Claiming:
    """The pages that a flush needs, read once."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._pages: dict[_Page, bytearray | None] = {}

    def claim(self, claims: Sequence[Claim], now_ms: int) -> tuple[bool, ...]:
        fresh: Counter[tuple[str, str]] = Counter()
        granted = tuple([self._claim(each, fresh) for each in claims])
        pages = ((*key, bytes(bits)) for key, bits in self._pages.items() if bits is not None and key[2] == _NOW)
        self._db.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)", pages)
        self._db.executemany(
            "INSERT INTO draws VALUES (?, ?, ?, ?, ?) ON CONFLICT (feature, draw) "
            "DO UPDATE SET at_ms = excluded.at_ms, units = units + excluded.units",
            ((*draw, now_ms, now_ms, fresh[draw]) for draw in {(each.feature, each.draw) for each in claims}),
        )
        return granted

    def _claim(self, claim: Claim, fresh: Counter[tuple[str, str]]) -> bool:
        page, offsets = rules.bits_of(claim.digest)
        bits = self._page((claim.feature, claim.draw, _NOW, page))
        if bits is None:
            bits = self._pages[claim.feature, claim.draw, _NOW, page] = bytearray(rules.PAGE_BITS // 8)
        if not rules.claimed(bits, offsets):
            return False
        fresh[claim.feature, claim.draw] += 1
        before = self._page((claim.feature, claim.draw, _BEFORE, page))
        return before is None or rules.claimed(bytearray(before), offsets)

    def _page(self, key: _Page) -> bytearray | None:
        if key not in self._pages:
            query = "SELECT bits FROM claims WHERE feature = ? AND draw = ? AND filter = ? AND page = ?"
            row = self._db.execute(query, key).fetchone()
            self._pages[key] = bytearray(row[0]) if row else None
        return self._pages[key]


def _turn(db: sqlite3.Connection, now_ms: int) -> None:
    """Let full filters that are old enough give way to empty ones."""
    full = "SELECT feature, draw FROM draws WHERE units >= ? AND began_ms <= ?"
    for draw in db.execute(full, (rules.FULL_UNITS, now_ms - _ms(rules.TURN_S))).fetchall():
        db.execute("DELETE FROM claims WHERE feature = ? AND draw = ? AND filter = ?", (*draw, _BEFORE))
        db.execute("UPDATE claims SET filter = ? WHERE feature = ? AND draw = ?", (_BEFORE, *draw))
        db.execute("UPDATE draws SET units = 0, began_ms = ? WHERE feature = ? AND draw = ?", (now_ms, *draw))


def _forget_old(db: sqlite3.Connection, now_ms: int) -> None:
    old = (now_ms - _ms(rules.KEEP_S),)
    if db.execute("SELECT 1 FROM draws WHERE at_ms <= ? LIMIT 1", old).fetchone():
        db.execute(
            "DELETE FROM claims WHERE (feature, draw) IN (SELECT feature, draw FROM draws WHERE at_ms <= ?)", old
        )
        db.execute("DELETE FROM draws WHERE at_ms <= ?", old)


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)
