"""Replicas that follow one real store, with faults: what each serves is held against what was committed and killed."""

from __future__ import annotations

import inspect
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rollout import kill_file
from rollout.core.bucketing import bucket
from rollout.core.errors import InvalidDocument, RolloutError, StoreUnavailable
from rollout.core.evaluate import decide
from rollout.core.model import NOT_LOADED, Arm, FeatureFlag, Reason, Subject
from rollout.follower import Follower
from rollout.operations import Operations
from rollout.seed import ensure_features
from tests.rollout.invariants.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from random import Random

    from tests.rollout.invariants.fleet import Clock

FEATURE = "summarize"
STATED_S = 1.0
"""Within this a kill is in force at every replica that reaches the store."""
UNITS = {name: bucket(3, FEATURE, name) for name in (f"conversation-{number}" for number in range(6))}
SHARES = (0, 1_000, 30_000, 60_000, 100_000)


class Committed(Ledger):
    """Knows by the version of the store what was committed then."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        self.at: dict[int, FeatureFlag] = {}
        self.version = 0

    async def put_if_revision(self, *given: Any, **named: Any) -> FeatureFlag:
        written = await super().put_if_revision(*given, **named)
        self.note(await self._store.version())
        return written

    def note(self, version: int) -> None:
        self.version = version
        self.at[version] = self.flags[FEATURE]


class Link:
    """One replica's way to the store."""

    def __init__(self, store: Any) -> None:
        self._store, self.cut = store, False

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def call(*given: Any, **named: Any) -> Any:
            if self.cut:
                raise StoreUnavailable("the store is not reached", "a fault of the test")
            return await getattr(self._store, name)(*given, **named)

        return call


class Replica:
    """`killed`: a kill was commanded here that the store has not taken; `listed`: by hand, in the kill file."""

    def __init__(self, store: Committed, clock: Clock, folder: Path) -> None:
        self.store, self.clock = store, clock
        self.link = Link(store)
        self.last_good, self.kill_file = folder / "last-good.json", folder / "killed"
        self.killed = self.listed = False
        self.start()

    def start(self) -> None:
        """As after a restart: of what was, only the files are left."""
        files = {"last_good": self.last_good, "kill_file": self.kill_file}
        self.follower = Follower(self.link, self.clock, **files)  # type: ignore[arg-type]
        self.operations = Operations(self.link, self.follower, self.clock)  # type: ignore[arg-type]
        self.version = self.follower.version

    async def poll(self) -> None:
        """What a running follower does every quarter of a second, here when the test says so."""
        await self.follower._follow()
        await self.follower.read_kill_file()

    def check(self) -> None:
        """Hold what is served now against what this replica must know."""
        store, version = self.store, self.follower.version
        store.holds("14", version >= self.version, f"went back from {self.version} to {version}")
        self.version = version
        known = store.at.get(version)
        store.holds("14", (known is None) == (version == NOT_LOADED), f"version {version} was never committed")
        served = {unit: decide(self.follower.snapshot, FEATURE, Subject(unit)) for unit in UNITS}
        treated = {unit for unit, told in served.items() if told.arm is Arm.CANDIDATE}
        if known is None:
            cold = {told.reason for told in served.values()} <= {Reason.NO_SNAPSHOT}
            store.holds("14", cold and not treated, "a candidate without a snapshot")
            return
        told = f"{sorted(treated)} at {known.share_millipct}, revision {known.revision}"
        if self.killed or self.listed or known.kill.on:
            store.holds("05", not treated, told)
        wanted = {unit for unit, drawn in UNITS.items() if drawn < known.share_millipct}
        store.holds("14", treated <= wanted, told)
        if not (known.kill.on or self.follower.is_killed_locally(FEATURE)):
            store.holds("14", treated == wanted, told)
            store.tried["served"] += len(treated)


class Replicas:
    """Three of them, one store with its file at `path`."""

    def __init__(self, store: Committed, clock: Clock, folder: Path, path: Path) -> None:
        self.store, self.clock, self._path = store, clock, path
        self._whole = ""
        self.steps = 0
        self.each: list[Replica] = []
        for number in range(3):
            place = folder / f"replica-{number}"
            place.mkdir()
            self.each.append(Replica(store, clock, place))

    async def prepare(self) -> None:
        for replica in self.each:
            replica.check()  # started cold
        await ensure_features(self.store, {FEATURE: ("inhouse", "partner")}, self.clock)
        await self.poll()

    def reaches(self, replica: Replica) -> bool:
        return not replica.link.cut and not self._whole

    async def poll(self) -> None:
        """A quarter of a second passes; every replica that reaches the store then knows all."""
        self.clock.at_s += self.each[0].follower._poll_s
        for replica in self.each:
            await replica.poll()
            replica.check()
            if self.reaches(replica):
                told = f"{replica.follower.version} of {self.store.version}: {replica.follower.last_error}"
                self.store.holds("05", replica.follower.version == self.store.version, told)
                replica.killed = False  # the store has it

    async def kill(self, replica: Replica) -> None:
        outcome = await replica.operations.kill(FEATURE, actor="ann", reason="errors")
        replica.killed = outcome.store != "ok"
        self.store.tried["local kills"] += replica.killed
        self.store.holds("05", replica.killed or self.store.flags[FEATURE].kill.on, "a kill is nowhere")

    async def unkill(self, replica: Replica) -> None:
        with suppress(RolloutError):
            await replica.operations.unkill(FEATURE, actor="ann", reason="mended")
            replica.killed = replica.listed = False

    async def set_share(self, replica: Replica, share: int) -> None:
        revision = self.store.flags[FEATURE].revision
        with suppress(RolloutError):
            await replica.operations.set_share(FEATURE, share, expected_revision=revision, actor="ann", reason="try")

    async def by_hand(self, replica: Replica, *, kill: bool) -> None:
        """Somebody edits the kill file; the next poll obeys."""
        if kill:
            kill_file.add(replica.kill_file, FEATURE, "by hand")
        else:
            kill_file.remove(replica.kill_file, FEATURE)
            replica.killed = False
        await replica.poll()
        replica.listed = kill

    def restart(self, replica: Replica, *, cold: bool) -> None:
        before = replica.version
        if cold:
            replica.last_good.unlink(missing_ok=True)
        replica.start()
        self.store.holds("14", cold or replica.version == before, f"started at {replica.version}, was at {before}")

    def damage(self) -> None:
        """The stored document becomes one that nobody can read; what else writes is told by `mend`."""
        if not self._whole:
            with sqlite3.connect(self._path) as db:
                self._whole = db.execute("SELECT document FROM flags").fetchone()[0]
                db.execute("""UPDATE flags SET document = '{"feature": 7}'""")
                db.execute("UPDATE meta SET value = value + 1 WHERE name = 'version'")
            db.close()

    def mend(self) -> None:
        if self._whole:
            with sqlite3.connect(self._path) as db:
                db.execute("UPDATE flags SET document = ?", (self._whole,))
                db.execute("UPDATE meta SET value = value + 1 WHERE name = 'version'")
                version = db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()[0]
            db.close()
            self._whole = ""
            self.store.note(version)


def _acts(replicas: Replicas, replica: Replica, rng: Random) -> dict[str, Callable[[], object]]:
    return {
        "poll": replicas.poll,
        "set share": lambda: replicas.set_share(replica, rng.choice(SHARES)),
        "kill": lambda: replicas.kill(replica),
        "unkill": lambda: replicas.unkill(replica),
        "list": lambda: replicas.by_hand(replica, kill=True),
        "unlist": lambda: replicas.by_hand(replica, kill=False),
        "cut": lambda: setattr(replica.link, "cut", True),
        "join": lambda: setattr(replica.link, "cut", False),
        "restart": lambda: replicas.restart(replica, cold=rng.random() < 0.3),
        "damage": replicas.damage,
        "mend": replicas.mend,
    }


WEIGHTS = (40, 18, 6, 8, 2, 4, 5, 8, 5, 2, 4)


async def live(replicas: Replicas, rng: Random, steps: int) -> None:
    """Random commands and faults, and polls in between."""
    for _ in range(steps):
        replicas.steps += 1
        acts = _acts(replicas, rng.choice(replicas.each), rng)
        done = rng.choices(list(acts.values()), WEIGHTS)[0]()
        if inspect.isawaitable(done):
            await done
        for each in replicas.each:
            each.check()


async def refuses_a_damaged_document(replicas: Replicas) -> None:
    """All replicas keep what they had, count what they refused once, and follow again after."""
    for replica in replicas.each:
        replica.link.cut = False
    replicas.mend()
    await replicas.poll()
    before = [(each.follower.snapshot, each.follower.refused_documents) for each in replicas.each]
    replicas.damage()
    for _ in range(3):
        await replicas.poll()
    for replica, (snapshot, refused) in zip(replicas.each, before, strict=True):
        follower = replica.follower
        kept = follower.snapshot is snapshot and follower.refused_documents == refused + 1
        told = f"{follower.refused_documents} refused, {refused} before: {follower.last_error!r}"
        replicas.store.holds("14", kept and isinstance(follower.last_error, InvalidDocument), told)
    replicas.mend()
    await replicas.poll()
    for replica in replicas.each:
        replicas.store.holds("14", replica.follower.last_error is None, repr(replica.follower.last_error))
