import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.cluster_collector import ClusterCollector
from gateway.core.checks.answer_checks import Checks
from gateway.core.checks.sampling import CheckedAnswer, CheckSample
from gateway.core.outcome import UNDER_WAY, Record
from gateway.steady_clock import STEP_S
from gateway.unit_collector import Requests
from rollout.adapters.sqlite import SqliteStore
from rollout.core.errors import StoreUnavailable
from rollout.core.evaluate import compile_snapshot
from rollout.core.evidence import clusters
from rollout.core.evidence.cluster_parts import part_of, stored
from rollout.core.evidence.clusters import GROUPS, ClusterSums
from rollout.core.evidence.plans import series_of
from rollout.core.evidence.verdicts import verdict_of
from rollout.core.gates import Result
from rollout.core.model import FeatureFlag, UnitKind
from rollout.core.sums import REMEMBER_FLUSH_S
from tests.gateway.core.test_cluster_requests import FLAG as BY_USER
from tests.gateway.core.test_cluster_requests import GATE, request
from tests.gateway.store_line import Line
from tests.gateway.test_unit_collector import FEATURES

FLAG = replace(
    BY_USER,
    share_millipct=50_000,
    gates=(GATE,),
    progress=replace(BY_USER.progress, attempt=1, ramp_began_s=0.0, step_began_s=0.0),
)


class World:
    """Workers of one gateway, each with requests of its own."""

    def __init__(self, store: SqliteStore, flag: FeatureFlag = FLAG) -> None:
        self.flag, self.store, self.line = replace(flag, feature=f"f{next(FEATURES)}"), store, Line(store)
        self.now_s, self.wall_s = 0.0, 0.0
        self.put(self.flag)
        self.workers = [
            ClusterCollector(
                self.line,
                lambda: self.snapshot,
                lambda: self.now_s + self.wall_s,
                lambda: self.wall_s,
                sampled=CheckSample(100_000),
            )
            for _ in range(2)
        ]
        self.one = self.workers[0]

    def put(self, *flags: FeatureFlag) -> None:
        self.snapshot = compile_snapshot({flag.feature: flag for flag in flags}, 1)

    def request(self, number: int, arrived_s: float = 100.0, took_s: float = 0.5, **changes: object) -> Record:
        arm = ("baseline", "candidate")[number % 2]
        return request(number, arrived_s, took_s, **({"feature": self.flag.feature, "assigned": arm} | changes))

    async def pass_to(self, wall_s: float, under_way: Sequence[Record] = ()) -> None:
        self.wall_s = wall_s
        for worker in self.workers:
            worker.look(lambda _, mine=worker is self.one: under_way if mine else ())
            await worker.flush()

    async def counted(self, metric: str = "errors") -> ClusterSums:
        series = next(each for each in series_of(self.flag) if each.metric == metric)
        sums = await self.store.read_sums(self.flag.feature)
        cells = stored(part_of(self.flag, series), series, self.flag.feature, self.flag.progress, sums)
        return clusters.total(cells.values())


@pytest.fixture
async def store(tmp_path, stack) -> SqliteStore:
    made = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(made.close)
    return made


@pytest.fixture
def world(store: SqliteStore) -> World:
    return World(store)


async def test_every_request_of_a_user_counts_over_workers_and_is_never_claimed(world: World) -> None:
    for turn in range(6):
        world.workers[turn % 2].take([world.request(7, 100.0 + turn, request_id=f"t{turn}")])
    await world.pass_to(130.9)
    assert (await world.counted()).units == 0
    for second in range(131, 140):
        await world.pass_to(second)
    found = await world.counted()
    assert (found.units, found.candidates[7], sum(found.candidates)) == (6, 6, 6)
    assert world.line.claims == []
    assert [worker.lost for worker in world.workers] == [0, 0]


async def test_a_slow_arm_is_not_missing_and_the_assigned_arm_counts(world: World) -> None:
    slow = world.request(1, 100.0, 31.0, outcome=UNDER_WAY, status=0)
    world.one.take([world.request(2), world.request(3, served="baseline", attempts=2)])
    await world.pass_to(131.0, [slow])
    world.one.take([world.request(1, 100.0, 100.0)])
    await world.pass_to(300.0)
    found = await world.counted()
    assert (found.units, found.bad_candidates, found.bad_baselines) == (3, 2, 0)


async def test_what_is_no_draw_or_of_another_flag_costs_the_store_nothing(world: World) -> None:
    world.one.take([world.request(0), world.request(4, attempts=0), request(5)])
    await world.pass_to(500.0, [request(6)])
    assert (world.line.adds, world.one.lost) == ([], 0)


async def test_a_gateway_without_such_flags_does_nothing(world: World) -> None:
    world.put(replace(world.flag, bucket_by=UnitKind.CONVERSATION))
    world.one.take([world.request(1)])
    await world.pass_to(500.0, [world.request(2)])
    assert (world.line.adds, world.one.lost) == ([], 0)


@pytest.mark.parametrize("lost", range(4))
async def test_lost_answers_lose_and_double_no_request(world: World, lost: int) -> None:
    world.line.lost_answers = lost
    world.one.take([world.request(1), world.request(2)])
    world.workers[1].take([world.request(2, request_id="again")])
    for second in range(131, 145):
        await world.pass_to(second)
    assert (await world.counted()).units == 3


async def test_a_store_that_stays_away_costs_both_arms_alike_and_says_so(world: World) -> None:
    world.line.fault = StoreUnavailable("away")
    world.one.take([world.request(1), world.request(2)])
    await world.pass_to(131.0)
    world.now_s = REMEMBER_FLUSH_S
    await world.pass_to(132.0)
    assert world.one.lost == 2


async def test_what_is_due_is_bounded(world: World, monkeypatch, caplog) -> None:
    monkeypatch.setattr("gateway.flushes.WAITING_MAX", 3)
    world.one.take([world.request(number, 100.0 + number) for number in range(1, 7)])
    await world.pass_to(200.0)
    assert ((await world.counted()).units, world.one.lost) == (3, 3)
    assert "3 requests of users are not counted" in caplog.text


async def test_a_flush_takes_no_more_than_its_share(world: World, monkeypatch) -> None:
    monkeypatch.setattr("gateway.cluster_collector.FLUSH_MAX", 4)
    world.one.take([world.request(number) for number in range(1, 7)])
    await world.pass_to(131.0)
    assert (await world.counted()).units == 4
    await world.pass_to(132.0)
    assert (await world.counted()).units == 6


async def test_requests_of_a_revision_that_nobody_saw_are_lost_not_misplaced(world: World) -> None:
    world.one.take([world.request(1, revision=9)])
    await world.pass_to(131.0)
    assert ((await world.counted()).units, world.one.lost) == (0, 1)


async def test_revisions_that_are_forgotten_while_requests_wait_are_lost(world: World) -> None:
    world.one.take([world.request(1)])
    for revision in range(2, 100):
        world.put(replace(world.flag, revision=revision, evidence=replace(world.flag.evidence, age="40s")))
        world.one.look(lambda _: ())
    await world.pass_to(141.0)
    assert ((await world.counted()).units, world.one.lost) == (0, 1)


async def test_ratings_have_an_age_of_their_own_and_checks_are_joined(store: SqliteStore) -> None:
    gates = (GATE, *(replace(GATE, name=metric, metric=metric) for metric in ("thumbs", "form")))
    world = World(store, replace(FLAG, gates=gates))
    first, second = world.request(1), world.request(2)
    world.one.take([first, second])
    feature = world.flag.feature
    world.one.take_check(CheckedAnswer("r1", 1.0, feature, 1, "candidate", "user", 5, Checks(empty=True), 1, "acme"))
    world.one.take_check(CheckedAnswer("x", 1.0, "other", 1, "candidate", "user", 5, Checks(empty=True), 1, "acme"))
    await world.pass_to(131.0)
    world.one.take_rating(second, "thumbs", 0.0)
    world.one.take_rating(replace(second, unit_digest=0), "thumbs", 1.0)
    counted = {metric: await world.counted(metric) for metric in ("errors", "form", "thumbs")}
    assert [each.units for each in counted.values()] == [2, 2, 0]
    assert (counted["form"].bad_candidates, counted["form"].bad_baselines) == (1, 0)
    await world.pass_to(3_702.0)
    thumbs = await world.counted("thumbs")
    assert (thumbs.units, thumbs.bad_candidates, thumbs.bad_baselines) == (2, 0, 1)


async def test_ratings_that_nobody_asks_for_any_more_are_let_go_of(store: SqliteStore, monkeypatch) -> None:
    monkeypatch.setattr("gateway.flushes.EVERY_S", 0.001)
    world = World(store, replace(FLAG, gates=(GATE, replace(GATE, name="liked", metric="thumbs"))))
    world.one.take([world.request(2)])
    await world.pass_to(131.0)
    world.one.take_rating(world.request(1, request_id="elsewhere"), "thumbs", 0.0)
    kept = []
    for wall_s in (4_331.0, 4_332.0):  # the age of ratings, and as long as a claim may be late
        await world.pass_to(wall_s)
        kept.append(len(world.one._outcomes._ratings))
    assert (kept, world.one.lost) == ([1, 0], 0)
    world.one.take_rating(world.request(1), "thumbs", 0.0)
    world.put()

    async def settled() -> None:
        """All have."""

    running = asyncio.ensure_future(world.one.run(Requests(settled, lambda _: [])))
    async with asyncio.timeout(60):
        while len(world.one._outcomes._ratings):  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.001)
    running.cancel()
    assert world.one.lost == 0


async def test_a_worker_that_ends_counts_what_is_due_and_says_what_is_not(world: World) -> None:
    world.one.take([world.request(1), world.request(2, 150.0)])
    world.wall_s = 131.0
    await world.one.close()
    assert ((await world.counted()).units, world.one.lost) == (1, 1)
    world.line.fault = StoreUnavailable("away")
    world.workers[1].take([world.request(4, 100.0)])
    await world.workers[1].close()
    assert world.workers[1].lost == 1


async def test_a_worker_that_is_replaced_hands_over_what_waits(store: SqliteStore) -> None:
    """At both ages, also of a revision that its successor never saw, with ratings and checks: each counts once."""
    gates = (GATE, *(replace(GATE, name=metric, metric=metric) for metric in ("thumbs", "form")))
    world = World(store, replace(FLAG, gates=gates))
    old, successor = world.workers
    first = [world.request(number, 100.0 + number) for number in range(1, 7)]
    old.take(first)
    world.put(replace(world.flag, revision=2))
    later = [world.request(number, 120.0, revision=2) for number in range(7, 10)]
    old.take(later)
    for each in (*first, *later):
        checks = Checks(empty=each is later[0])
        owner = each.unit_digest, each.tenant
        old.take_check(CheckedAnswer(each.request_id, 1.0, each.feature, 1, "x", "user", 5, checks, *owner))
    await world.pass_to(134.0)  # three have come of age
    await old.close(handing_over=True)
    for handed in old.give_away(2):
        assert len(handed.records) <= 2
        successor.receive(handed)
    successor.take_rating(first[0], "thumbs", 0.0)  # as the index of answers tells it
    await world.pass_to(200.0)
    await world.pass_to(3_800.0)
    counted = {metric: await world.counted(metric) for metric in ("errors", "form", "thumbs")}
    assert [each.units for each in counted.values()] == [9, 9, 9]
    assert (counted["form"].bad_candidates, counted["form"].bad_baselines) == (1, 0)
    assert counted["thumbs"].bad_candidates == 1
    assert (old.lost, successor.lost) == (0, 0)


@pytest.mark.parametrize("set_s", [-3_600.0, -30.0, -1.0, 5.0, 30.0])
async def test_a_clock_that_is_set_makes_no_request_count_twice_nor_early(world: World, set_s: float) -> None:
    """Clocks of the worker: `passed_s` since its start, and the wall, which is set once."""
    passed_s, wall_s = 100.0, 100.0
    worker = ClusterCollector(world.line, lambda: world.snapshot, lambda: passed_s, lambda: wall_s)
    slow_began_s = 100.0

    def slow(outcome: str = UNDER_WAY) -> Record:
        return world.request(3, wall_s - (passed_s - slow_began_s), passed_s - slow_began_s, outcome=outcome)

    def under_way(age_s: float) -> list[Record]:
        return [slow()] if 0.0 < slow_began_s <= passed_s - age_s else []

    counted = []
    for second in range(101, 180):
        passed_s, wall_s = float(second), wall_s + 1.0
        if second == 110:
            worker.take([world.request(1, wall_s - 0.5, 0.5)])
        if second == 115:
            wall_s += set_s
        if second == 120:
            worker.take([world.request(2, wall_s - 0.5, 0.5)])
        if second == 160:
            worker.take([slow("ok")])
            slow_began_s = 0.0
        worker.look(under_way)
        await worker.flush()
        counted.append((await world.counted()).units)
    assert counted[-1] <= 3
    if abs(set_s) <= STEP_S:
        came = [101 + counted.index(number) for number in (1, 2, 3)]
        assert all(abs(second - due) <= 5 for second, due in zip(came, (131, 141, 151), strict=True)), came


async def test_two_tenants_with_one_id_are_two_requests(world: World) -> None:
    for tenant, outcome in (("acme", "ok"), ("zoo", "timeout")):
        world.one.take([world.request(1, request_id="same", tenant=tenant, outcome=outcome)])
    await world.pass_to(131.0)
    found = await world.counted()
    assert (found.units, found.bad_candidates) == (2, 1)


async def test_it_works_each_second_and_a_look_that_fails_costs_that_look(world: World, monkeypatch, caplog) -> None:
    monkeypatch.setattr("gateway.flushes.EVERY_S", 0.001)
    world.wall_s = 131.0
    world.one.take([world.request(1)])
    faults = [ZeroDivisionError()]

    async def settled() -> None:
        if faults:
            raise faults.pop()

    running = asyncio.get_running_loop().create_task(world.one.run(Requests(settled, lambda _: [])))
    async with asyncio.timeout(60):
        while (await world.counted()).units < 1:  # noqa: ASYNC110  a store tells nobody
            await asyncio.sleep(0.001)
    running.cancel()
    assert "requests of users could not be looked at" in caplog.text


async def test_a_candidate_that_fails_its_users_is_shown_to(world: World) -> None:
    for turn in range(20):
        world.workers[turn % 2].take(
            [
                world.request(
                    user,
                    100.0 + turn,
                    request_id=f"r{turn}.{user}",
                    outcome="timeout" if (user + turn) % 3 == 0 and user % 2 else "ok",
                )
                for user in range(1, 2 * GROUPS)
            ]
        )
    for second in range(131, 160):
        await world.pass_to(second)
    found = verdict_of(GATE, world.flag, await world.store.read_sums(world.flag.feature), 200.0)
    assert (found.result, found.samples) == (Result.FAIL, 20 * (2 * GROUPS - 1))
    assert "asymptotic" in found.reason


TURNS = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 50), st.integers(0, 1)), max_size=25)


@given(TURNS, st.integers(0, 6), st.randoms(use_true_random=False))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
async def test_however_requests_are_spread_each_counts_once(store, turns, lost, random) -> None:
    world = World(store)
    world.line.lost_answers = lost
    settled = [
        (worker, world.request(digest, 100.0 + arrived, request_id=f"r{number}"))
        for number, (digest, arrived, worker) in enumerate(turns)
    ]
    random.shuffle(settled)
    for worker, record in settled:
        world.workers[worker].take([record])
    for second in range(131, 200, 5):
        await world.pass_to(second)
    for _ in range(8):
        await world.pass_to(200.0)
    found = await world.counted()
    assert found.units == len(turns)
    assert sum(found.candidates) == sum(digest % 2 for digest, _, _ in turns)
