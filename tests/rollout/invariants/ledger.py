"""What may be committed: a ledger stands before a real store and holds each write against those before it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rollout.core.audit import AuditEntry
from rollout.core.audit import replay as replayed
from rollout.core.errors import RevisionConflict, StaleWriter
from rollout.core.gates import Result
from rollout.core.ramp_model import Phase

if TYPE_CHECKING:
    from rollout.core.lease import Lease
    from rollout.core.model import FeatureFlag

CONTROLLER = "controller"
TICKS = {"advance", "monitor", "complete", "pause", "roll_back", "lower", "kill"}


class Ledger:
    """Forwards to `store`. `broken`, `tried`: by the number of the invariant, as of a witness."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.newest = 0
        self.flags: dict[str, FeatureFlag] = {}
        self.entries: list[AuditEntry] = []
        self.broken: list[str] = []
        self.tried: Counter[str] = Counter()
        self._made: set[tuple[object, ...]] = set()
        self._stopped: set[str] = set()
        """Features that a person has stopped, so that only a person may raise their share."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def holds(self, number: str, condition: object, told: object) -> None:
        self.tried[number] += 1
        if not condition:
            self.broken.append(f"{number}: {told}")

    async def acquire_lease(self, name: str, holder: str, ttl_s: float) -> Lease | None:
        lease: Lease | None = await self._store.acquire_lease(name, holder, ttl_s)
        if lease is not None:
            self.holds("10", lease.token > self.newest, f"token {lease.token} after {self.newest}")
            self.newest = lease.token
            self.tried["leases"] += 1
        return lease

    async def put_memory(self, feature: str, revision: int, memory: bytes, *, fencing: Lease | None = None) -> None:
        try:
            await self._store.put_memory(feature, revision, memory, fencing=fencing)
        except (StaleWriter, RevisionConflict) as refused:
            self.tried[type(refused).__name__] += 1
            raise
        self._fenced(fencing, "a memory")

    async def put_if_revision(
        self, flag: FeatureFlag, expected: int, entry: AuditEntry, *, fencing: Lease | None = None, **more: Any
    ) -> FeatureFlag:
        try:
            written: FeatureFlag = await self._store.put_if_revision(flag, expected, entry, fencing=fencing, **more)
        except (StaleWriter, RevisionConflict) as refused:
            self.tried[type(refused).__name__] += 1
            raise
        self._fenced(fencing, entry)
        self._see(self.flags.get(flag.feature), written, entry)
        self.flags[flag.feature] = written
        self.entries.append(entry)
        return written

    def _fenced(self, fencing: Lease | None, what: object) -> None:
        self.holds("10", fencing is None or fencing.token == self.newest, f"a stale writer has written {what}")

    def _see(self, before: FeatureFlag | None, after: FeatureFlag, entry: AuditEntry) -> None:
        revision = 0 if before is None else before.revision
        told = f"{entry.command} by {entry.actor} on {revision}: {entry}"
        for number in ("10", "12"):
            self.holds(number, entry.revision_before == revision and after.revision == revision + 1, told)
        if before is None:
            return
        if entry.actor == CONTROLLER:
            self._ticked(before, after, entry)
        else:
            self._commanded(before, after, entry)

    def _ticked(self, before: FeatureFlag, after: FeatureFlag, entry: AuditEntry) -> None:
        was, is_ = before.progress, after.progress
        rises = after.share_millipct > before.share_millipct
        self.holds("10", (is_.step - was.step) == (entry.command == "advance"), entry)
        made = (after.feature, is_.attempt, entry.command, is_.step, was.phase)
        if entry.command in {"advance", "monitor", "complete"}:
            self.holds("10", made not in self._made, f"twice: {made}")
            self._made.add(made)
        own = replace(after, share_millipct=before.share_millipct, progress=was, revision=before.revision)
        self.holds("12", own == before, f"a tick changed what is a person's: {entry}")
        self.holds("12", not (rises and before.feature in self._stopped), f"raised what a person stopped: {entry}")
        self.holds("06", not rises or entry.command == "advance", entry)
        self.holds("16", after.share_millipct >= before.share_millipct or is_.phase is Phase.ROLLED_BACK, entry)
        self._evidence(after, entry)

    def _evidence(self, after: FeatureFlag, entry: AuditEntry) -> None:
        """A decision says by which measurements it was made."""
        self.holds("13", entry.command in TICKS and entry.reason and entry.actor, entry)
        if entry.command not in {"advance", "monitor", "complete"} and "gate" not in entry.reason:
            return
        self.tried["decisions"] += 1
        names = [verdict.gate for verdict in entry.verdicts]
        self.holds("13", names == [gate.name for gate in after.gates] != [], entry)
        for verdict in entry.verdicts:
            blind = verdict.result in {Result.NO_DATA, Result.ERROR}
            complete = verdict.metric and verdict.limit is not None and verdict.reason
            self.holds("13", complete and (blind or None not in {verdict.value, verdict.samples}), verdict)

    def _commanded(self, before: FeatureFlag, after: FeatureFlag, entry: AuditEntry) -> None:
        feature = after.feature
        if entry.command in {"start", "resume", "restart", "unkill"}:
            self._stopped.discard(feature)
        if entry.command in {"pause", "set_share", "set-share", "jump", "kill"} and after.progress.phase in {
            Phase.PAUSED,
            Phase.RUNNING,
            Phase.MONITORING,
        }:
            self._stopped.add(feature)
        if (after.progress.phase, after.progress.step) != (before.progress.phase, before.progress.step):
            self._made = {made for made in self._made if made[0] != feature}  # a person has set its course anew

    async def check_log(self) -> None:
        """The log is every commit in its order, each once, and replaying it gives what is stored."""
        stored = await self._store.audit(0, 10_000)
        self.holds("13", [replace(entry, id=0) for entry in stored] == self.entries, "the log isn't the commits")
        self.holds("13", [entry.id for entry in stored] == sorted({entry.id for entry in stored}), "ids don't grow")
        _, flags = await self._store.load()
        self.holds("13", replayed(stored) == flags == self.flags, "replay isn't the state")
