"""Short histories that Hypothesis looks for: of controllers and operators on a store, of replicas that follow it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rollout.adapters import open_store
from tests.rollout.invariants import places
from tests.rollout.invariants.fleet import GATES, HELPFUL, ORDERS, Clock, Fleet
from tests.rollout.invariants.ledger import Ledger
from tests.rollout.invariants.replicas import SHARES, Committed, Replicas
from tests.rollout.invariants.stage import Fate

if TYPE_CHECKING:
    from collections.abc import Coroutine

NUMBERS = st.integers(0, 99)
CONTROLLERS = st.sampled_from(["controller-0", "controller-0", "controller-1", "controller-2"])
OPERATORS = st.sampled_from(["ann", "bob"])
COMMANDS = sorted({*ORDERS, "unkill", *(each for helpful in HELPFUL.values() for each in helpful)})
FATES = st.sampled_from([Fate.DONE] * 6 + list(Fate))


class OnStore(RuleBasedStateMachine):
    """A store and an event loop for one example."""

    def __init__(self) -> None:
        super().__init__()
        self.folder, self.runner, self.clock = places.folder(), asyncio.Runner(), Clock()
        self.path = Path(self.folder.name) / "store.db"
        self.store = open_store(f"sqlite:///{self.path}", self.clock.now_s)

    def run(self, work: Coroutine[object, object, object]) -> None:
        self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()


class AnyInterleaving(OnStore):
    """Three controllers and two operators, in any order of their calls."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet(Ledger(self.store), self.clock)
        self.run(self.fleet.prepare())

    @rule(name=CONTROLLERS, fate=FATES, calls=st.integers(1, 8))
    def act(self, name: str, fate: Fate, calls: int) -> None:
        for _ in range(calls):
            self.run(self.fleet.proceed(name))
        self.run(self.fleet.proceed(name, fate))

    @rule(name=OPERATORS, what=st.sampled_from(COMMANDS), number=NUMBERS, calls=st.integers(0, 2))
    def order(self, name: str, what: str, number: int, calls: int) -> None:
        self.run(self.fleet.order(name, what, number))
        for _ in range(calls):
            self.run(self.fleet.proceed(name))

    @rule(name=st.one_of(CONTROLLERS, OPERATORS), sent=st.booleans())
    def crash(self, name: str, sent: bool) -> None:  # noqa: FBT001
        self.run(self.fleet.crash(name, sent=sent))

    @rule()
    def arrive(self) -> None:
        self.run(self.fleet.arrive())

    @rule(seconds=st.sampled_from([1.0, 5.0, 11.0, 40.0]), lapse=st.booleans())
    def wait(self, seconds: float, lapse: bool) -> None:  # noqa: FBT001
        self.clock.at_s += seconds
        if lapse:
            self.run(self.fleet.lapse())

    @rule(gate=st.sampled_from(GATES), mood=st.sampled_from(["good", "bad", "absent"]))
    def feel(self, gate: object, mood: str) -> None:
        self.fleet.moods[gate.query] = mood  # type: ignore[attr-defined]

    @invariant()
    def nothing_is_broken(self) -> None:
        assert self.fleet.ledger.broken == []

    def teardown(self) -> None:
        try:
            self.run(self.fleet.end())
            assert self.fleet.ledger.broken == []
        finally:
            super().teardown()


class AnyFaults(OnStore):
    """Three replicas, with kills and faults in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.replicas = Replicas(Committed(self.store), self.clock, Path(self.folder.name), self.path)
        self.run(self.replicas.prepare())

    @rule(number=st.integers(0, 2), kill=st.booleans())
    def order(self, number: int, kill: bool) -> None:  # noqa: FBT001
        replica = self.replicas.each[number]
        self.run(self.replicas.kill(replica) if kill else self.replicas.unkill(replica))

    @rule(number=st.integers(0, 2), share=st.sampled_from(SHARES))
    def set_share(self, number: int, share: int) -> None:
        self.run(self.replicas.set_share(self.replicas.each[number], share))

    @rule(number=st.integers(0, 2), kill=st.booleans())
    def by_hand(self, number: int, kill: bool) -> None:  # noqa: FBT001
        self.run(self.replicas.by_hand(self.replicas.each[number], kill=kill))

    @rule(number=st.integers(0, 2), cut=st.booleans())
    def cut(self, number: int, cut: bool) -> None:  # noqa: FBT001
        self.replicas.each[number].link.cut = cut

    @rule(number=st.integers(0, 2), cold=st.booleans())
    def restart(self, number: int, cold: bool) -> None:  # noqa: FBT001
        self.replicas.restart(self.replicas.each[number], cold=cold)

    @rule(damage=st.booleans())
    def change_file(self, damage: bool) -> None:  # noqa: FBT001
        if damage:
            self.replicas.damage()
        else:
            self.replicas.mend()

    @rule(times=st.integers(1, 4))
    def poll(self, times: int) -> None:
        for _ in range(times):
            self.run(self.replicas.poll())

    @invariant()
    def nothing_is_broken(self) -> None:
        for replica in self.replicas.each:
            replica.check()
        assert self.replicas.store.broken == []
