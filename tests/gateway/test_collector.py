import asyncio
from collections.abc import Mapping, Sequence

import pytest
from msgspec.structs import replace

from gateway.collector import Collector, PaidPairs
from gateway.core.outcome import Record
from gateway.core.shadowing import Answered, ShadowPair
from gateway.core.sse import Usage
from gateway.pairs import PairQueue
from gateway.unit_collector import UnitCollector
from rollout.adapters.sqlite import SqliteStore
from rollout.core.cost import TokenPrice, add, one
from rollout.core.cost_sums import cost_key, shadow_key, sums_of
from rollout.core.errors import InvalidArgument, StoreUnavailable
from rollout.core.evaluate import compile_snapshot
from rollout.core.evidence.plans import EPOCH_S
from rollout.core.evidence.silence import watched_key
from rollout.core.evidence.verdicts import verdicts_of
from rollout.core.model import Arm, FeatureFlag, Snapshot
from rollout.core.ramp_model import Evidence, Gate, GateKind, Phase, Progress, RampPlan, Role, Step
from rollout.core.request_sums import requests_key
from rollout.core.sums import REMEMBER_FLUSH_S, SumKey
from tests.gateway.test_recorder import RECORD

FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    revision=1,
    ramp=RampPlan(steps=(Step(share=1_000),)),
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=0, step_began_s=10.0),
)
KEY = requests_key("draft", FLAG.progress)
PARTNER = TokenPrice(2_500_000, 10_000_000)
PRICES = {"partner": PARTNER}
OURS, THEIRS = (cost_key("draft", FLAG.progress, 1_000, arm) for arm in (Arm.CANDIDATE, Arm.BASELINE))


class Ledger:
    """A real store behind a line that can be cut, or that loses answers."""

    def __init__(self, store: SqliteStore) -> None:
        self.store, self.fault, self.answer_lost = store, None, False
        self.sent: list[str] = []

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        self.sent.append(flush_id)
        if self.fault is not None:
            raise self.fault
        added = await self.store.add_sums(deltas, flush_id)
        if self.answer_lost:
            raise StoreUnavailable("the line was cut")
        return added


class World:
    def __init__(self, store: SqliteStore) -> None:
        self.ledger, self.now_s = Ledger(store), 100.0
        self.put(FLAG)
        self.spent: list[tuple[tuple[str, str], float]] = []
        self.collector = Collector(
            self.ledger, lambda: self.snapshot, lambda: self.now_s, PRICES, lambda *told: self.spent.append(told)
        )

    def put(self, *flags: FeatureFlag) -> None:
        self.snapshot: Snapshot = compile_snapshot({flag.feature: flag for flag in flags}, 1)

    async def sums(self) -> dict[SumKey, tuple[int, ...]]:
        await self.collector.flush()
        return await self.ledger.store.read_sums("draft")


@pytest.fixture
async def world(tmp_path, stack) -> World:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    return World(store)


def drawn(flag: FeatureFlag = FLAG) -> FeatureFlag:
    """The flag at its first step: its arms are drawn, so their costs are counted."""
    return replace(flag, share_millipct=1_000)


def metered(record: Record, prompt: int | None = 1_000, completion: int | None = 100) -> Record:
    return replace(record, prompt_tokens=prompt, completion_tokens=completion)


def baseline(record: Record = RECORD) -> Record:
    return replace(record, assigned="baseline", served="baseline")


async def test_requests_are_added_up_by_assigned_arm_and_step(world: World) -> None:
    hidden = replace(RECORD, served="baseline", attempts=2)  # a failure that the baseline answered
    world.collector.take([RECORD, hidden, baseline()])
    assert await world.sums() == {KEY: (2, 1)}
    world.collector.take([baseline()])
    assert await world.sums() == {KEY: (2, 2)}
    assert world.collector.lost == 0


@pytest.mark.parametrize(
    "change", [{"attempts": 0}, {"reason": "PINNED"}, {"reason": "HOLDOUT"}, {"feature": "other"}, {"feature": ""}]
)
async def test_what_was_not_drawn_or_not_sent_does_not_count(world: World, change: dict) -> None:
    world.collector.take([replace(RECORD, **change)])
    assert await world.sums() == {}
    assert world.ledger.sent == []
    assert world.collector.lost == 0


async def test_a_request_counts_for_the_step_of_its_revision(world: World) -> None:
    world.collector.take([RECORD])
    later = replace(FLAG, revision=2, progress=replace(FLAG.progress, step_began_s=20.0))
    world.put(later)
    world.collector.take([RECORD, replace(RECORD, revision=2), replace(RECORD, revision=3)])
    assert await world.sums() == {KEY: (2, 0), requests_key("draft", later.progress): (1, 0)}
    assert world.collector.lost == 1


async def test_a_ramp_at_rest_is_not_counted(world: World) -> None:
    world.put(replace(FLAG, progress=replace(FLAG.progress, phase=Phase.COMPLETED)))
    world.collector.take([RECORD])
    assert (await world.sums(), world.collector.lost) == ({}, 0)


async def test_revisions_long_gone_are_forgotten(world: World) -> None:
    for revision in range(2, 100):
        world.put(replace(FLAG, revision=revision))
        world.collector.take([])
    world.collector.take([RECORD, replace(RECORD, revision=99)])
    assert (await world.sums(), world.collector.lost) == ({KEY: (1, 0)}, 1)


async def test_a_lost_answer_counts_nothing_twice(world: World) -> None:
    world.ledger.answer_lost = True
    world.collector.take([RECORD])
    await world.collector.flush()
    world.collector.take([RECORD])
    world.ledger.answer_lost = False
    assert await world.sums() == {KEY: (1, 0)}
    assert await world.sums() == {KEY: (2, 0)}
    first, again, second = world.ledger.sent
    assert first == again != second


async def test_a_store_that_stays_away_costs_the_oldest_flush_and_says_so(world: World, caplog) -> None:
    world.ledger.fault = StoreUnavailable("away")
    world.collector.take([RECORD, RECORD])
    await world.collector.flush()
    world.now_s += REMEMBER_FLUSH_S
    world.collector.take([RECORD])
    await world.collector.flush()
    assert world.collector.lost == 2
    assert "2 requests are not counted" in caplog.text
    world.ledger.fault = None
    assert await world.sums() == {KEY: (1, 0)}


@pytest.mark.parametrize("fault", [InvalidArgument("no room"), ZeroDivisionError()])
async def test_what_the_store_refuses_is_not_sent_for_ever(world: World, fault: Exception) -> None:
    world.ledger.fault = fault
    world.collector.take([RECORD])
    await world.collector.flush()
    world.ledger.fault = None
    assert (await world.sums(), world.collector.lost) == ({}, 1)


async def test_running_it_flushes_by_itself(world: World, monkeypatch) -> None:
    monkeypatch.setattr("gateway.flushes.EVERY_S", 0.001)
    world.collector.take([RECORD])
    running = asyncio.get_running_loop().create_task(world.collector.run())
    async with asyncio.timeout(60):
        while not await world.ledger.store.read_sums("draft"):  # noqa: ASYNC110  a store tells nobody
            await asyncio.sleep(0.001)
    running.cancel()


async def test_costs_are_added_up_by_assigned_arm_and_share(world: World) -> None:
    world.put(drawn())
    paid = one(PARTNER, 1_000, 100, accepted=True)
    hidden = replace(metered(RECORD), served="baseline", upstream="partner", attempts=2)  # a failure, answered there
    failed = replace(RECORD, outcome="unreachable", status=502)
    world.collector.take([
        metered(RECORD), hidden, failed, RECORD, replace(metered(baseline()), upstream="partner"),
    ])  # fmt: skip
    sums = await world.sums()
    free = [one(TokenPrice(), 1_000, 100, accepted=True), one(TokenPrice(), None, None, accepted=True)]
    gone = one(TokenPrice(), None, None, accepted=False, answered=False)
    assert sums_of(sums[OURS]) == add([paid, *free, gone])
    assert sums_of(sums[THEIRS]) == paid
    assert sums[KEY] == (4, 1)
    assert dict(world.spent) == {("draft", "candidate"): 0.0035, ("draft", "baseline"): 0.0035}


async def test_a_completed_ramp_goes_on_being_paid(world: World) -> None:
    done = replace(drawn(), progress=replace(FLAG.progress, phase=Phase.COMPLETED))
    world.put(done)
    world.collector.take([RECORD])
    assert set(await world.sums()) == {OURS}
    world.ledger.fault = InvalidArgument("no room")
    world.collector.take([RECORD, RECORD])
    await world.collector.flush()
    assert world.collector.lost == 2


async def test_a_shadow_call_is_overhead_of_its_ramp(world: World) -> None:
    answered = Answered("baseline", "partner", "text", Usage(1_000, 100), None, 0.5)
    kept = PairQueue()
    pairs = PaidPairs(world.collector, kept)
    pair = ShadowPair(
        "r", 1.0, "draft", 1, "acme", "user", "u", "chat", False, b"{}", answered, answered, True,
    )  # fmt: skip
    assert pairs.take(pair) == 0
    assert len(kept) == 1
    for feature, revision in (("draft", 9), ("other", 1)):
        pairs.take(replace(pair, feature=feature, revision=revision))
    key = shadow_key("draft", FLAG.progress)
    assert {each: sums_of(vector) for each, vector in (await world.sums()).items()} == {
        key: one(PARTNER, 1_000, 100, accepted=True)
    }
    world.put(replace(FLAG, revision=2, progress=Progress(phase=Phase.READY)))
    pairs.take(replace(pair, revision=2))
    assert world.collector.lost == 0
    assert (await world.sums())[key][0] == 1


async def test_what_one_flush_cannot_hold_waits_for_the_next(world: World, monkeypatch) -> None:
    monkeypatch.setattr("gateway.collector._KEYS_MAX", 2)
    world.put(drawn())
    world.collector.take([RECORD, baseline()])
    assert len(await world.sums()) == 2
    assert set(await world.sums()) == {KEY, OURS, THEIRS}
    assert (await world.sums())[KEY] == (1, 1)


async def test_features_that_are_no_more_are_forgotten(world: World) -> None:
    world.collector.take([RECORD])
    world.put(replace(FLAG, feature="ask"))
    world.collector.take([RECORD])
    assert (list(world.collector._places), world.collector.lost) == (["ask"], 0)


GATES = (
    Gate(name="worse", role=Role.HARD, source="evidence", kind=GateKind.HARM, metric="errors", margin=0.05),
    Gate(name="fine", role=Role.HARD, source="evidence", kind=GateKind.NONINFERIORITY, metric="errors", margin=0.05),
)
GATHERS = replace(
    drawn(),
    gates=GATES,
    share_millipct=50_000,
    evidence=Evidence(age="60s"),
    progress=replace(FLAG.progress, ramp_began_s=10.0),
)


def unit(digest: int, arrived_s: float, **changes: object) -> Record:
    return replace(RECORD, unit_digest=digest, at_s=arrived_s + 0.5, duration_s=0.5, **changes)


async def test_requests_that_may_stand_for_a_unit_are_watched_by_when_they_arrived(world: World) -> None:
    world.put(GATHERS)
    others = [unit(0, 20.0), unit(5, 20.0, client_retries=1), unit(5, 20.0, reason="PINNED")]
    world.collector.take([unit(5, 20.0), unit(5, 21.0), unit(6, 10.0 + EPOCH_S), *others])
    sums = await world.sums()
    watched = {key.name: row for key, row in sums.items() if key.name.startswith("watch.")}
    assert watched == {"watch.0": (2, 0), "watch.1": (1, 0)}
    world.put(replace(GATHERS, gates=()))
    world.collector.take([unit(7, 20.0)])
    assert (await world.sums())[watched_key("draft", GATHERS.progress, 20.0)] == (2, 0)


@pytest.mark.parametrize(
    ("digests", "dies", "found"),
    [("new", True, "NO_DATA"), ("new", False, "PASS"), ("known", False, "PASS"), ("none", True, "PASS")],
    ids=["dead", "alive", "ids that come again", "a quiet night"],
)
async def test_gates_do_not_pass_while_units_get_lost(world: World, digests: str, dies: bool, found: str) -> None:  # noqa: FBT001  pytest's
    """A request each 30 s; of the first two the units are counted."""
    world.put(GATHERS)
    now_s = 1_000.0
    units = UnitCollector(world.ledger.store, lambda: world.snapshot, lambda: now_s, lambda: now_s)
    for number in range(60):
        now_s = 1_000.0 + 30.0 * number
        if digests != "none" or number < 2:
            records = [unit(1 + number % (2 if digests == "known" else 1_000), now_s)]
            world.collector.take(records)
            units.take(records)
        await world.collector.flush()
        if not dies or number < 6:
            units.look(())
            await units.flush()
    sums = await world.ledger.store.read_sums("draft")
    verdict = verdicts_of(GATHERS, sums, now_s)["worse"]
    assert str(verdict.result) == found
    assert ("no unit of them has come of age" in verdict.reason) is (found == "NO_DATA")
