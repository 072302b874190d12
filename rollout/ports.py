"""The protocols between the rollout engine and the world."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from rollout.core.audit import AuditEntry
from rollout.core.claims import Claim
from rollout.core.keys import KeyChange, KeyEntry, KeyRecord
from rollout.core.lease import Lease
from rollout.core.model import FeatureFlag
from rollout.core.once import Once
from rollout.core.position import Position
from rollout.core.promql import MetricQuery
from rollout.core.quota import QuotaAsk, QuotaGrant
from rollout.core.readings import Reading
from rollout.core.sums import Replacement, SumKey
from rollout.core.votes import Vote

__all__ = [
    "AuditEntry", "Claim", "Clock", "EvidenceSums", "FlagStore", "GateMemory", "KeyChange", "KeyEntry", "KeyRecord",
    "KeyStore", "Lease", "LeaseStore", "MetricQuery", "MetricSource", "Once", "Position", "QuotaAsk", "QuotaGrant",
    "Reading", "Replacement", "Store", "SumKey", "UnitClaims", "Vote", "Votes",
]  # fmt: skip


class Clock(Protocol):
    """Wall-clock time as an argument."""

    def now_s(self) -> float:
        """Return Unix time in seconds."""
        ...


class FlagStore(Protocol):
    """Flags and their audit log."""

    async def load(self) -> tuple[int, dict[str, FeatureFlag]]:
        """Return the global version and all flags of that same version; DamagedFlags when some can't be read."""
        ...

    async def version(self) -> int:
        """Return the global version: 0 for an empty store, greater after every flag or key change."""
        ...

    async def position(self) -> Position:
        """Return the global version with the identity of the data it counts: see `core.position.compare`."""
        ...

    async def accept_loss(self, known: Position) -> Position | None:
        """Go on as the store that stood at `known`, by an operator's decision; None when nothing is lost against it.

        Followers that hold on to what they knew then take this store's documents.
        """
        ...

    async def get(self, feature: str) -> FeatureFlag | None:
        """Return one flag, or None."""
        ...

    async def put_if_revision(
        self,
        flag: FeatureFlag,
        expected_revision: int,
        entry: AuditEntry,
        *,
        fencing: Lease | None = None,
        once: Once | None = None,
    ) -> FeatureFlag:
        """Write the flag as expected_revision + 1 with its audit entry, atomically, and return it.

        expected_revision 0 creates. In this order: CommandRepeated when a command with the key of `once` was done,
        else it is remembered with this write; StaleWriter when the lease `fencing` was handed out anew (operators
        write without one); RevisionConflict when the stored revision is another one.
        """
        ...

    async def recall(self, key: str) -> bytes | None:
        """Return the outcome of the command with this idempotency key, None when it isn't known (any more)."""
        ...

    async def remember(self, once: Once) -> bytes | None:
        """Remember a command that wrote nothing; the outcome known already if there is one, which then stays."""
        ...

    async def history(self, feature: str, limit: int = 50, before_id: int | None = None) -> list[AuditEntry]:
        """Return audit entries of a feature, newest first, with ids below before_id."""
        ...

    async def audit(self, since_id: int = 0, limit: int = 500) -> list[AuditEntry]:
        """Return audit entries of all features, oldest first, with ids above since_id; none below them comes later."""
        ...


class GateMemory(Protocol):
    """What a controller keeps beside a flag. It changes no revision and no version, so followers don't notice."""

    async def put_memory(self, feature: str, revision: int, memory: bytes, *, fencing: Lease | None = None) -> None:
        """Keep the memory for this revision; StaleWriter as above, RevisionConflict when the flag is at another."""
        ...

    async def get_memory(self, feature: str) -> tuple[int, bytes] | None:
        """Return what was kept last, and for which revision of the flag, which may be an older one; None: nothing."""
        ...


class LeaseStore(Protocol):
    """Leases by `core.lease`. A holder's name must be its own, also among the restarts of one host."""

    async def acquire_lease(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        """Get the lease with a new token, greater than all before it; None while somebody else holds it."""
        ...

    async def renew_lease(self, lease: Lease, ttl_s: float) -> Lease | None:
        """Prolong the lease; None when it lapsed or is somebody else's: acquire it anew."""
        ...

    async def release_lease(self, lease: Lease) -> bool:
        """Give the lease back; False when it was somebody else's already."""
        ...


class EvidenceSums(Protocol):
    """Sums of evidence by `core.sums`: added by every worker, read by the controller."""

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        """Add all vectors, atomically; False, and nothing, when this flush was counted already.

        InvalidArgument, and nothing, when a bound of `core.sums` would be passed. After StoreUnavailable send the same
        flush with the same id again, until `core.sums.REMEMBER_FLUSH_S` have passed.
        """
        ...

    async def read_sums(self, feature: str) -> dict[SumKey, tuple[int, ...]]:
        """Return the sums of a feature, of all its epochs."""
        ...

    async def replace_sums(self, asked: Replacement) -> bool:
        """Forget the vectors that were found and put others in their place, atomically; or nothing, and False.

        False when one of those found is not in the store exactly so (any more). InvalidArgument as `check_replacement`.
        """
        ...


class UnitClaims(Protocol):
    """Which units have been counted, by `core.claims`: asked by every worker."""

    async def claim_units(self, claims: Sequence[Claim], flush_id: str) -> tuple[bool, ...]:
        """Say of each unit, in order, whether it is new; it is known from then on, also within `claims`. Atomic.

        A flush that is sent again gets the answer it got first, until `core.claims.REMEMBER_FLUSH_S` have passed.
        InvalidArgument, and nothing claimed, as `core.claims.check_claims` says.
        """
        ...


class Votes(Protocol):
    """People's votes on pairs of answers, by `core.votes`."""

    async def put_vote(self, vote: Vote) -> None:
        """Keep a vote instead of the voter's last one on the same pair of the feature.

        InvalidArgument, and nothing kept, for one that could not be read back, or when there are too many.
        """
        ...

    async def votes(self, feature: str) -> list[Vote]:
        """Return all votes of a feature, `core.votes.in_order`; InvalidDocument for a damaged one."""
        ...


class KeyStore(Protocol):
    """API keys, their audit log, and quotas."""

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


class Store(FlagStore, GateMemory, LeaseStore, EvidenceSums, UnitClaims, Votes, KeyStore, Protocol):
    """All of it. Every method raises StoreUnavailable in bounded time when it cannot answer."""

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
