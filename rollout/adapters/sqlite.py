"""The embedded store: one SQLite file, shared by the processes of one host."""

import sqlite3
import time
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from rollout.adapters import sqlite_claims, sqlite_votes
from rollout.adapters import sqlite_control as control
from rollout.adapters import sqlite_keys as keys
from rollout.adapters import sqlite_sums as sums
from rollout.adapters.sqlite_connection import SqliteConnection
from rollout.adapters.sqlite_schema import read_position, read_version, transaction
from rollout.core.audit import AuditEntry
from rollout.core.claims import Claim, check_claims
from rollout.core.codec import decode_flag, decode_flags, decode_stored, encode_flag
from rollout.core.keys import KeyChange, KeyEntry, KeyRecord
from rollout.core.lease import Lease, checked_ask, checked_ttl_ms
from rollout.core.memory import checked as checked_memory
from rollout.core.model import FeatureFlag
from rollout.core.once import Once
from rollout.core.once import checked as checked_once
from rollout.core.position import Position
from rollout.core.quota import QuotaAsk, QuotaGrant
from rollout.core.sums import Replacement, SumKey, check_flush, check_replacement
from rollout.core.votes import Vote, in_order
from rollout.core.votes import checked as checked_vote


class SqliteStore(SqliteConnection):
    """A `Store` in one file."""

    async def load(self) -> tuple[int, dict[str, FeatureFlag]]:
        """See `Store.load`."""

        def work(db: sqlite3.Connection) -> tuple[int, list[str]]:
            with transaction(db, "BEGIN"):
                return read_version(db), [row[0] for row in db.execute("SELECT document FROM flags")]

        version, documents = await self._run(work)
        return version, decode_flags(documents)

    async def version(self) -> int:
        """See `Store.version`."""
        return await self._run(read_version)

    async def position(self) -> Position:
        """See `Store.position`."""
        return await self._run(read_position)

    async def accept_loss(self, known: Position) -> Position | None:
        """See `Store.accept_loss`."""
        return await self._run(lambda db: control.accept_loss(db, known))

    async def get(self, feature: str) -> FeatureFlag | None:
        """See `Store.get`."""
        document = await self._run(lambda db: control.document(db, feature))
        return None if document is None else decode_flag(document)

    async def put_if_revision(
        self,
        flag: FeatureFlag,
        expected_revision: int,
        entry: AuditEntry,
        *,
        fencing: Lease | None = None,
        once: Once | None = None,
    ) -> FeatureFlag:
        """See `Store.put_if_revision`."""
        written = replace(flag, revision=expected_revision + 1)
        remembered = None if once is None else checked_once(once)
        write = control.Write(written, encode_flag(written).decode(), entry, fencing, remembered)
        await self._run(lambda db: control.put(db, write, self._now_ms))
        return written

    async def recall(self, key: str) -> bytes | None:
        """See `Store.recall`."""
        return await self._run(lambda db: control.recall(db, key, self._now_ms()))

    async def remember(self, once: Once) -> bytes | None:
        """See `Store.remember`."""
        wanted = checked_once(once)
        return await self._run(lambda db: control.remember(db, wanted, self._now_ms))

    async def history(self, feature: str, limit: int = 50, before_id: int | None = None) -> list[AuditEntry]:
        """See `Store.history`."""
        query = "SELECT entry FROM audit WHERE feature = ? AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?"
        values = (feature, before_id, before_id, limit)
        rows = await self._run(lambda db: db.execute(query, values).fetchall())
        return [decode_stored(row[0], AuditEntry) for row in rows]

    async def audit(self, since_id: int = 0, limit: int = 500) -> list[AuditEntry]:
        """See `Store.audit`."""
        query = "SELECT entry FROM audit WHERE id > ? ORDER BY id LIMIT ?"
        rows = await self._run(lambda db: db.execute(query, (since_id, limit)).fetchall())
        return [decode_stored(row[0], AuditEntry) for row in rows]

    async def put_memory(self, feature: str, revision: int, memory: bytes, *, fencing: Lease | None = None) -> None:
        """See `Store.put_memory`."""
        kept = checked_memory(memory)
        await self._run(lambda db: control.put_memory(db, feature, revision, kept, fencing))

    async def get_memory(self, feature: str) -> tuple[int, bytes] | None:
        """See `Store.get_memory`."""
        return await self._run(lambda db: control.get_memory(db, feature))

    async def acquire_lease(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """See `Store.acquire_lease`. By the clock of this host, as all who share the file do, read in the transaction.

        SQLite has no clock of its own, and one that is read before the wait for the lock could be older than the lease
        it is compared with.
        """
        ttl_ms, asked_at_s = checked_ask(name, holder, ttl_s), self._clock()
        token = await self._run(lambda db: control.acquire(db, name, holder, ttl_ms, self._now_ms))
        return None if token is None else Lease(name, holder, token, asked_at_s + ttl_s)

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease | None:
        """See `Store.renew_lease`."""
        ttl_ms, asked_at_s = checked_ttl_ms(ttl_s), self._clock()
        token = await self._run(lambda db: control.renew(db, lease, ttl_ms, self._now_ms))
        return None if token is None else lease._replace(until_s=asked_at_s + ttl_s)

    async def release_lease(self, lease: Lease) -> bool:
        """See `Store.release_lease`."""
        return await self._run(lambda db: control.release(db, lease))

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        """See `Store.add_sums`."""
        check_flush(deltas, flush_id)
        return await self._run(lambda db: sums.add(db, deltas, flush_id, self._now_ms))

    async def read_sums(self, feature: str) -> dict[SumKey, tuple[int, ...]]:
        """See `Store.read_sums`."""
        return await self._run(lambda db: sums.read(db, feature, self._now_ms()))

    async def replace_sums(self, asked: Replacement) -> bool:
        """See `Store.replace_sums`."""
        check_replacement(asked)
        return await self._run(lambda db: sums.put_instead(db, asked))

    async def claim_units(self, claims: Sequence[Claim], flush_id: str) -> tuple[bool, ...]:
        """See `Store.claim_units`."""
        check_claims(claims, flush_id)
        return await self._run(lambda db: sqlite_claims.claim(db, claims, flush_id, self._now_ms))

    async def put_vote(self, vote: Vote) -> None:
        """See `Store.put_vote`."""
        raw = checked_vote(vote)
        await self._run(lambda db: sqlite_votes.put(db, vote, raw, self._now_ms))

    async def votes(self, feature: str) -> list[Vote]:
        """See `Store.votes`."""
        stored = await self._run(lambda db: sqlite_votes.read(db, feature, self._now_ms()))
        return in_order(decode_stored(raw, Vote) for raw in stored)

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
