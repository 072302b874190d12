"""The protocols between the rollout engine and the world."""

from typing import Protocol

import msgspec

from rollout.core.audit import AuditEntry
from rollout.core.model import FeatureFlag

__all__ = ["AuditEntry", "Clock", "KeyRecord", "Store"]


class Clock(Protocol):
    """Wall-clock time as an argument."""

    def now_s(self) -> float:
        """Return Unix time in seconds."""
        ...


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An API key as stored: its digest (SHA-256 hex), never the key. Times are Unix seconds.

    `features` lists feature names or is ("*",); `roles` is a subset of viewer, operator, approver, admin.
    """

    id: str
    digest: str
    name: str
    tenant: str
    features: tuple[str, ...] = ("*",)
    roles: tuple[str, ...] = ()
    model_bypass: bool = False
    created_at_s: float
    expires_at_s: float | None = None
    revoked_at_s: float | None = None


class Store(Protocol):
    """Flags, audit and keys. Every method raises StoreUnavailable within a bounded time when it cannot answer."""

    async def load(self) -> tuple[int, dict[str, FeatureFlag]]:
        """Return the global version and all flags of that same version; InvalidDocument for a damaged flag."""
        ...

    async def version(self) -> int:
        """Return the global version: 0 for an empty store, greater after every flag or key change."""
        ...

    async def get(self, feature: str) -> FeatureFlag | None:
        """Return one flag, or None."""
        ...

    async def put_if_revision(self, flag: FeatureFlag, expected_revision: int, entry: AuditEntry) -> FeatureFlag:
        """Write the flag as expected_revision + 1 with its audit entry, atomically, and return it.

        expected_revision 0 creates. RevisionConflict when the stored revision is another one.
        """
        ...

    async def history(self, feature: str, limit: int = 50, before_id: int | None = None) -> list[AuditEntry]:
        """Return audit entries of a feature, newest first, with ids below before_id."""
        ...

    async def list_keys(self) -> list[KeyRecord]:
        """Return all key records, oldest first."""
        ...

    async def put_key(self, record: KeyRecord) -> None:
        """Insert or replace the record with that id; bumps the global version, so that followers notice."""
        ...

    async def create_key_if_empty(self, record: KeyRecord) -> bool:
        """Insert the record when there is no key at all; say whether it was inserted."""
        ...

    async def close(self) -> None:
        """Release connections and threads; calling it twice is harmless."""
        ...
