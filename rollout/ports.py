"""The protocols between the rollout engine and the world."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from rollout.core.audit import AuditEntry
from rollout.core.keys import KeyChange, KeyEntry, KeyRecord
from rollout.core.model import FeatureFlag
from rollout.core.promql import MetricQuery
from rollout.core.quota import QuotaAsk, QuotaGrant
from rollout.core.readings import Reading

__all__ = [
    "AuditEntry",
    "Clock",
    "KeyChange",
    "KeyEntry",
    "KeyRecord",
    "MetricQuery",
    "MetricSource",
    "QuotaAsk",
    "QuotaGrant",
    "Reading",
    "Store",
]


class Clock(Protocol):
    """Wall-clock time as an argument."""

    def now_s(self) -> float:
        """Return Unix time in seconds."""
        ...


class Store(Protocol):
    """Flags, audit, keys, quotas. Every method raises StoreUnavailable in bounded time when it cannot answer."""

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

    async def load_keys(self) -> tuple[int, list[KeyRecord]]:
        """Return the global version and all key records of that same version, oldest first, with their last use.

        InvalidDocument for a damaged record.
        """
        ...

    async def list_keys(self) -> list[KeyRecord]:
        """Return the records of `load_keys` alone."""
        ...

    async def change_keys(self, change: KeyChange, expected_version: int) -> bool:
        """Make the change with its entry, atomically; False, and nothing, when the global version is another one.

        Bumps the global version, so that followers notice.
        """
        ...

    async def create_key_if_empty(self, record: KeyRecord) -> bool:
        """Insert the record, with an entry, when there is no key at all; say whether it was inserted."""
        ...

    async def key_history(self, limit: int = 50, before_id: int | None = None) -> list[KeyEntry]:
        """Return the audit entries of keys, newest first, with ids below before_id."""
        ...

    async def touch_keys(self, uses: Mapping[str, float]) -> None:
        """Note when keys (by id) were last used, Unix seconds. Never goes back, leaves the global version alone."""
        ...

    async def lease_quota(self, asks: Sequence[QuotaAsk]) -> list[QuotaGrant]:
        """Grant each ask what its window still gives (`core.quota.grant`), atomically; leaves the global version alone.

        Windows that have expired are forgotten.
        """
        ...

    async def close(self) -> None:
        """Release connections and threads; calling it twice is harmless."""
        ...


class MetricSource(Protocol):
    """Metrics from elsewhere that gates judge by."""

    async def read(self, query: MetricQuery) -> Reading:
        """Read one metric in bounded time; never raises: what goes wrong is a Reading that says so."""
        ...

    async def close(self) -> None:
        """Release connections; calling it twice is harmless."""
        ...
