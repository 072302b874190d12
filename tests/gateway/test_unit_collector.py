import asyncio
import math
from collections.abc import Sequence
from itertools import count, product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.core.outcome import UNDER_WAY, Record
from gateway.unit_collector import JUDGED_AT_ONCE, SENT_AT_ONCE, Requests, UnitCollector
from rollout.adapters.sqlite import SqliteStore
from rollout.core.claims import REMEMBER_FLUSH_S, Claim
from rollout.core.errors import InvalidArgument, StoreUnavailable
from rollout.core.evaluate import compile_snapshot
from rollout.core.evidence.ledger import MetricSums, noninferiority_log_value, total
from rollout.core.evidence.plans import ErrorCounts, Series, error_counts, series_of, stored
from rollout.core.model import FeatureFlag, Snapshot
from rollout.core.ramp_model import Evidence, Gate, GateKind, Phase, Progress, RampPlan, Role, Step
from tests.gateway.store_line import Line
from tests.gateway.test_recorder import RECORD

AGE_S = 60.0
MARGIN = 0.25
GATE = Gate(
    name="fine", role=Role.HARD, source="evidence", kind=GateKind.NONINFERIORITY, metric="errors", margin=MARGIN
)
FLAG = FeatureFlag(
    feature="draft",
    candidate="inhouse",
    baseline="partner",
    revision=1,
    share_millipct=50_000,
    ramp=RampPlan(steps=(Step(share=50_000),)),
    gates=(GATE,),
    evidence=Evidence(age="60s", feedback_age="10m"),
    progress=Progress(phase=Phase.RUNNING, attempt=1, step=0, ramp_began_s=0.0, step_began_s=0.0),
)
(SERIES,) = series_of(FLAG)
PLAN = SERIES.plan
FEATURES = count()


def request(digest: int, arrived_s: float = 100.0, took_s: float = 0.5, **changes: object) -> Record:
    times = {"at_s": arrived_s + took_s, "duration_s": took_s}
    return replace(RECORD, unit_digest=digest, **(times | changes))


class World:
    """Workers of one gateway: their clocks, lines and flags are the same, their requests are not."""

    def __init__(self, store: SqliteStore, flag: FeatureFlag = FLAG, workers: int = 2) -> None:
        self.flag, self.store = flag, store
        self.line, self.now_s, self.wall_s = Line(store), 0.0, 0.0
        self.put(flag)
        self.workers = [
            UnitCollector(self.line, lambda: self.snapshot, lambda: self.now_s + self.wall_s, lambda: self.wall_s)
            for _ in range(workers)
        ]
        self.one = self.workers[0]

    def put(self, *flags: FeatureFlag) -> None:
        self.snapshot: Snapshot = compile_snapshot({flag.feature: flag for flag in flags}, 1)

    async def pass_to(self, wall_s: float, under_way: Sequence[Record] = ()) -> None:
        self.wall_s = wall_s
        for worker in self.workers:
            worker.look(under_way if worker is self.one else ())
            await worker.flush()

    async def counted(self, series: Series = SERIES) -> MetricSums:
        sums = await self.store.read_sums(self.flag.feature)
        found = stored(self.flag.feature, self.flag.progress, series, sums)
        return total(series.plan, (each for _, _, each in found))

    async def errors(self) -> ErrorCounts:
        found = [each for *_, each in error_counts(self.flag, await self.store.read_sums(self.flag.feature))]
        return ErrorCounts(*(sum(column) for column in zip(*found, strict=True)))


@pytest.fixture
async def store(tmp_path, stack) -> SqliteStore:
    made = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(made.close)
    return made


@pytest.fixture
def world(store: SqliteStore) -> World:
    return World(store)


def other(store: SqliteStore) -> World:
    flag = replace(FLAG, feature=f"f{next(FEATURES)}")
    return World(store, flag)


async def test_a_unit_counts_once_over_turns_and_workers(world: World) -> None:
    for turn in range(6):
        world.workers[turn % 2].take([request(7, 100.0 + turn, outcome="ok" if turn else "timeout")])
    for second in range(160, 180):
        await world.pass_to(second)
    found = (await world.counted()).moments
    assert (found.units, found.candidates) == (1, 1)
    assert found.contrast < 0  # its first request failed


async def test_units_are_counted_at_their_age_by_assigned_arm(world: World) -> None:
    world.one.take([request(1), request(2, assigned="baseline"), request(3, served="baseline", attempts=2)])
    await world.pass_to(160.0)
    assert (await world.counted()).moments.units == 0
    await world.pass_to(161.0)
    found = (await world.counted()).moments
    assert (found.units, found.candidates) == (3, 2)
    assert world.one.lost == 0


async def test_a_slow_arm_is_not_missing(world: World) -> None:
    slow = request(1, 100.0, 61.0, outcome=UNDER_WAY, status=0)
    world.one.take([request(2, assigned="baseline")])
    await world.pass_to(161.0, [slow])
    world.one.take([request(1, 100.0, 100.0)])
    await world.pass_to(300.0)
    found = (await world.counted()).moments
    assert (found.units, found.candidates) == (2, 1)
    assert found.contrast < 0


async def test_what_is_no_unit_costs_the_store_nothing(world: World) -> None:
    world.one.take([request(0), request(4, attempts=0)])
    await world.pass_to(500.0)
    assert (world.line.claims, world.line.adds) == ([], [])


@pytest.mark.parametrize("lost", range(5))
async def test_lost_answers_lose_and_double_no_unit(world: World, lost: int) -> None:
    world.line.lost_answers = lost
    world.one.take([request(1), request(2)])
    world.workers[1].take([request(2, 100.1), request(3)])
    for second in range(161, 175):
        world.one.take([request(1, float(second))])
        await world.pass_to(second)
    for second in range(230, 250):
        await world.pass_to(second)
    assert (await world.counted()).moments.units == 3
    assert [worker.lost for worker in world.workers] == [0, 0]


async def test_the_same_id_is_sent_until_it_is_answered(world: World) -> None:
    world.line.lost_answers = 2
    world.one.take([request(1)])
    await world.pass_to(161.0)
    await world.pass_to(162.0)
    await world.pass_to(163.0)
    assert world.line.claims == [world.line.claims[0]] * 3
    assert world.line.adds == [f"{world.line.claims[0]}.0"]


async def test_a_store_that_stays_away_costs_both_arms_alike_and_says_so(world: World, caplog) -> None:
    world.line.fault = StoreUnavailable("away")
    world.one.take([request(1), request(2, assigned="baseline")])
    await world.pass_to(161.0)
    world.now_s += REMEMBER_FLUSH_S
    await world.pass_to(162.0)
    assert world.one.lost == 2
    assert "2 units are not counted" in caplog.text
    world.line.fault = None
    world.one.take([request(3, 200.0)])
    await world.pass_to(300.0)
    assert (await world.counted()).moments.units == 1


async def test_what_is_due_is_bounded_and_the_oldest_stay(world: World, monkeypatch, caplog) -> None:
    monkeypatch.setattr("gateway.flushes.WAITING_MAX", 3)
    world.line.fault = StoreUnavailable("away")
    world.one.take([request(number, 100.0 + number) for number in range(1, 7)])
    world.wall_s = 500.0
    world.one.look(())
    assert world.one.lost == 3
    await world.one.flush()
    assert "3 units are not counted" in caplog.text
    world.line.fault = None
    await world.one.flush()
    assert await world.store.claim_units([Claim("draft", "x", 1)], "other") == (True,)
    assert (await world.counted()).moments.units == 3


async def test_more_than_a_flush_holds_goes_with_the_next(world: World) -> None:
    spread = 0x9E3779B97F4A7C15
    world.one.take([request(number * spread % (2**63 - 1) + 1) for number in range(SENT_AT_ONCE + 10)])
    await world.pass_to(161.0)
    assert (await world.counted()).moments.units == SENT_AT_ONCE
    await world.pass_to(162.0)
    assert (await world.counted()).moments.units == SENT_AT_ONCE + 10


async def test_a_look_lets_requests_through_and_one_that_is_cut_short_loses_nobody(world: World) -> None:
    requests_max = 4 * JUDGED_AT_ONCE
    world.one.take([request(number + 1) for number in range(requests_max)])
    world.wall_s = 161.0

    async def settled() -> None:
        pass

    running = asyncio.get_running_loop().create_task(world.one.run(Requests(settled, lambda _: [])))
    async with asyncio.timeout(60):
        while not 0 < len(world.one._flushes) < requests_max:  # noqa: ASYNC110  seen between two steps
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    await world.one.close()
    assert (await world.counted()).moments.units == requests_max
    assert world.one.lost == 0


@pytest.mark.parametrize("fault", [InvalidArgument("no room"), ZeroDivisionError()])
async def test_what_the_store_refuses_is_not_sent_for_ever(world: World, fault: Exception) -> None:
    world.line.fault = fault
    world.one.take([request(1)])
    await world.pass_to(161.0)
    world.line.fault = None
    world.one.take([request(2, 150.0)])
    await world.pass_to(300.0)
    assert ((await world.counted()).moments.units, world.one.lost) == (1, 1)


async def test_units_of_a_revision_that_nobody_saw_are_lost_not_misplaced(world: World) -> None:
    world.one.take([request(1, revision=9)])
    await world.pass_to(161.0)
    assert ((await world.counted()).moments.units, world.one.lost) == (0, 1)


async def test_a_unit_of_an_earlier_attempt_is_not_fresh_in_the_next(world: World) -> None:
    world.one.take([request(1)])
    await world.pass_to(161.0)
    world.flag = replace(FLAG, revision=2, progress=replace(FLAG.progress, attempt=2))
    world.put(world.flag)
    world.one.take([request(1, 200.0, revision=2), request(2, 200.0, revision=2)])
    await world.pass_to(300.0)
    assert (await world.counted()).moments.units == 1


async def test_running_it_asks_for_what_has_settled_and_what_has_not(world: World, monkeypatch) -> None:
    monkeypatch.setattr("gateway.flushes.EVERY_S", 0.001)
    world.wall_s = 161.0
    pending = [request(1)]

    async def settled() -> None:
        world.one.take(pending)
        pending.clear()

    def under_way(age_s: float) -> list[Record]:
        assert age_s <= AGE_S
        return [request(2, 100.0, 61.0, outcome=UNDER_WAY, status=0)]

    running = asyncio.get_running_loop().create_task(world.one.run(Requests(settled, under_way)))
    async with asyncio.timeout(60):
        while (await world.counted()).moments.units < 2:  # noqa: ASYNC110  a store tells nobody
            await asyncio.sleep(0.001)
    running.cancel()


async def test_a_look_that_fails_costs_that_look(world: World, monkeypatch, caplog) -> None:
    monkeypatch.setattr("gateway.flushes.EVERY_S", 0.001)
    world.wall_s = 161.0
    world.one.take([request(1)])
    faults = [ZeroDivisionError()]

    async def settled() -> None:
        if faults:
            raise faults.pop()

    running = asyncio.get_running_loop().create_task(world.one.run(Requests(settled, lambda _: [])))
    async with asyncio.timeout(60):
        while (await world.counted()).moments.units < 1:  # noqa: ASYNC110  a store tells nobody
            await asyncio.sleep(0.001)
    running.cancel()
    assert "units could not be looked at" in caplog.text


async def test_a_worker_that_ends_counts_what_is_due_and_says_what_is_not(world: World) -> None:
    world.one.take([request(1, 100.0), request(2, 150.0), request(3, 150.0, assigned="baseline")])
    world.wall_s = 161.0
    await world.one.close()
    assert ((await world.counted()).moments.units, world.one.lost) == (1, 2)
    world.line.fault = StoreUnavailable("away")
    world.workers[1].take([request(4, 100.0)])
    await world.workers[1].close()
    assert world.workers[1].lost == 1


@pytest.mark.parametrize("set_s", [-3_600.0, -30.0, 30.0])
async def test_a_clock_that_is_set_makes_no_unit_count_twice_nor_early(store: SqliteStore, set_s: float) -> None:
    """Neither at its age nor when its ratings count, with the wall clock set once, at the tenth second."""
    world = World(store, replace(FLAG, gates=(GATE, replace(GATE, name="liked", metric="thumbs"))))
    errors, thumbs = (
        next(each for each in series_of(world.flag) if each.metric == name) for name in ("errors", "thumbs")
    )
    passed_s, wall_s = 100.0, 100.0
    worker = UnitCollector(world.line, lambda: world.snapshot, lambda: passed_s, lambda: wall_s)
    worker.take([request(1, 99.5)])
    counted = []
    for second in range(101, 800):
        passed_s, wall_s = float(second), wall_s + 1.0
        if second == 110:
            wall_s += set_s
        worker.look(())
        await worker.flush()
        if second in (130, 170, 660, 740, 799):
            counted.append([(await world.counted(each)).moments.units for each in (errors, thumbs)])
    if set_s < -60.0:  # taken over at once: what came by the old clock waits until the new one is there
        assert counted == [[0, 0]] * 5
    else:
        assert counted == [[0, 0], [1, 0], [1, 0], [1, 1], [1, 1]]


TURNS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 50), st.integers(0, 1)), max_size=25)


@given(TURNS, st.integers(0, 6), st.randoms(use_true_random=False))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
async def test_however_requests_are_spread_each_unit_is_counted_once(store, turns, lost, random) -> None:
    """Two workers that race, in any order of settling, with answers lost on the way."""
    here = other(store)
    here.line.lost_answers = lost
    settled = [
        (
            worker,
            request(digest, 100.0 + arrived, feature=here.flag.feature, assigned=("candidate", "baseline")[digest % 2]),
        )
        for digest, arrived, worker in turns
    ]
    random.shuffle(settled)
    for worker, record in settled:
        here.workers[worker].take([record])
    for second in range(160, 240, 5):
        await here.pass_to(second)
    for _ in range(8):
        await here.pass_to(240.0)
    digests = {digest for digest, _, _ in turns}
    found = (await here.counted()).moments
    assert found.units == len(digests)
    assert found.candidates == sum(digest % 2 == 0 for digest in digests)
    assert found.overlap == len(digests) * 2**30


async def expected_value(store: SqliteStore, digest_of) -> float:
    """E[E] over all paths of two units of three turns at the margin: one coin and one outcome each.

    `digest_of`: by unit and turn, what the worker takes for a unit.
    """
    good = {True: 0.75 - MARGIN, False: 0.75}
    expectation = 0.0
    for coins in product((True, False), repeat=2):
        for outcomes in product((True, False), repeat=2):
            here = other(store)
            for unit, (candidate, fine) in enumerate(zip(coins, outcomes, strict=True)):
                for turn in range(3):
                    record = request(digest_of(unit, turn), 100.0 + 30 * unit + 3 * turn, feature=here.flag.feature)
                    arm, outcome = "candidate" if candidate else "baseline", "ok" if fine else "timeout"
                    here.workers[turn % 2].take([replace(record, assigned=arm, outcome=outcome)])
            for second in range(160, 210, 4):
                await here.pass_to(second)
            likely = math.prod(
                0.5 * (good[candidate] if fine else 1 - good[candidate])
                for candidate, fine in zip(coins, outcomes, strict=True)
            )
            expectation += likely * math.exp(noninferiority_log_value(PLAN, MARGIN, [await here.counted()]))
    return expectation


async def test_with_claims_the_e_value_of_repeated_units_is_one_on_average(store: SqliteStore) -> None:
    value = await expected_value(store, lambda unit, _: unit + 1)
    assert 1 - 1e-6 < value <= 1


async def test_without_them_each_turn_would_be_taken_for_a_coin(store: SqliteStore) -> None:
    value = await expected_value(store, lambda unit, turn: 10 * unit + turn + 1)
    assert value > 1.01
