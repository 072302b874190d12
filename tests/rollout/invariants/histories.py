"""Histories of fleets and replicas on real stores, each lived once in a test run; and what their witnesses say.

The counts are those of a whole run (`make test`); with fewer examples (`--hypothesis-profile=quick`) there is less of
all but the ramp's own history, which costs little.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rollout.adapters import open_store
from rollout.core.ramp_model import Phase
from tests.examples import some
from tests.rollout.invariants import fleet as fleets
from tests.rollout.invariants import places
from tests.rollout.invariants import replicas as followers
from tests.rollout.invariants.fleet import FEATURE, Clock, Fleet
from tests.rollout.invariants.ledger import Ledger
from tests.rollout.invariants.replicas import Committed, Replicas
from tests.rollout.invariants.stage import Fate

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from rollout.core.audit import AuditEntry

    Life = Callable[[str, int, int], Coroutine[Any, Any, "Told"]]
    """Of a store's URL, a seed, a number of steps."""

T = TypeVar("T")

SEEDS = 10
WHOLE = ["create", "create", "start", "advance", "advance", "monitor", "complete"]
"""The commands of a ramp that nothing hinders, from the making of its flag."""


class Told(NamedTuple):
    """What a witness says of a history."""

    broken: list[str]
    tried: Counter[str]
    steps: int

    def kept(self, number: str, *, at_least: int) -> None:
        """The witness tried this one so often, and never saw it broken."""
        assert [each for each in self.broken if each.startswith(number)] == []
        assert self.tried[number] >= at_least, self.tried


def together(told: list[Told]) -> Told:
    broken = [each for one in told for each in one.broken]
    return Told(broken, sum((one.tried for one in told), Counter()), sum(one.steps for one in told))


async def fleet_life(url: str, seed: int, steps: int) -> Told:
    """Controllers and operators, everything at random."""
    clock = Clock()
    store = open_store(url, clock.now_s)
    fleet = Fleet(Ledger(store), clock)
    await fleet.prepare()
    await fleets.live(fleet, Random(seed), steps)
    await fleet.end()
    await store.close()
    return Told(fleet.ledger.broken, fleet.ledger.tried, fleet.steps)


async def lone_fleet_life(url: str, seed: int, steps: int) -> Told:
    """Controllers alone, which crash and lapse; after all that the ramp has been walked, each transition once."""
    clock = Clock()
    store = open_store(url, clock.now_s)
    fleet = Fleet(Ledger(store), clock)
    await fleet.prepare()
    await fleets.live(fleet, Random(seed), steps, operators=())
    await fleet.settle(60)
    await fleet.end()
    await store.close()
    made = [entry.command for entry in fleet.ledger.entries]
    fleet.ledger.holds("10", made == WHOLE, made)
    return Told(fleet.ledger.broken, fleet.ledger.tried, fleet.steps)


async def enduring_life(seed: int, seconds: int, *, crash: bool) -> tuple[list[AuditEntry], Told]:
    """One controller, which is replaced at some call of every turn, or never; and what was committed."""
    with places.folder() as folder:
        clock = Clock()
        store = open_store(f"sqlite:///{folder}/store.db", clock.now_s)
        fleet = Fleet(Ledger(store), clock, controllers=1)
        await fleet.prepare()
        await fleets.endure(fleet, Random(seed), seconds, crash=crash)
        await fleet.end()
        await store.close()
    return fleet.ledger.entries, Told(fleet.ledger.broken, fleet.ledger.tried, fleet.steps)


async def replica_life(seed: int, steps: int) -> Told:
    """Replicas of one store, with kills, faults and restarts; at the end a document that nobody can read."""
    with places.folder() as folder:
        clock = Clock()
        path = Path(folder) / "store.db"
        store = open_store(f"sqlite:///{path}", clock.now_s)
        replicas = Replicas(Committed(store), clock, Path(folder), path)
        await replicas.prepare()
        await followers.live(replicas, Random(seed), steps)
        await followers.refuses_a_damaged_document(replicas)
        await replicas.store.check_log()
        await store.close()
    return Told(replicas.store.broken, replicas.store.tried, replicas.steps)


async def outage_life() -> None:
    """For an hour no call is answered: the ramp holds where it is, then goes on."""
    with places.folder() as folder:
        clock = Clock()
        store = open_store(f"sqlite:///{folder}/store.db", clock.now_s)
        fleet = Fleet(Ledger(store), clock)
        await fleet.prepare()
        before = fleet.ledger.flags[FEATURE]
        for _ in range(360):
            for name in fleet.members:
                await fleet.proceed(name, Fate.REFUSED)
            clock.at_s += 10.0
        assert fleet.ledger.flags[FEATURE] == before == await store.get(FEATURE)
        await fleet.settle(60)
        assert fleet.ledger.flags[FEATURE].progress.phase is Phase.COMPLETED
        await fleet.end()
        await store.close()


def led(life: Coroutine[Any, Any, T]) -> T:
    """Lead a life, quietly; what the product calls a defect of its own is one."""
    defects: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: defects.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("rollout").addHandler(handler)
    logging.disable(logging.WARNING)
    try:
        told = asyncio.run(life)
    finally:
        logging.disable(logging.NOTSET)
        logging.getLogger("rollout").removeHandler(handler)
    assert defects == []
    return told


def on_sqlite(life: Life, seed: int, steps: int) -> Told:
    with places.folder() as folder:
        return led(life(f"sqlite:///{folder}/store.db", seed, steps))


@cache
def fleet_history() -> Told:
    """8 000 steps."""
    return together([on_sqlite(fleet_life, seed, 800) for seed in range(some(SEEDS))])


@cache
def lone_fleet_history() -> Told:
    """3 000 steps, and as many until all is settled."""
    return together([on_sqlite(lone_fleet_life, seed, 300) for seed in range(some(SEEDS))])


@cache
def replica_history() -> Told:
    """4 000 steps."""
    return together([led(replica_life(seed, 400)) for seed in range(some(SEEDS))])


@cache
def restart_history() -> tuple[list[list[AuditEntry]], list[list[AuditEntry]], Told]:
    """What was committed without and with restarts, 120 s each, and what the ledgers say: 5 000 steps."""
    spared, crashed, told = [], [], []
    for seed in range(some(4)):
        for crash, commits in ((False, spared), (True, crashed)):
            entries, one = led(enduring_life(seed, 120, crash=crash))
            commits.append(entries)
            told.append(one)
    return spared, crashed, together(told)
