"""Who is left out gets into the store beside the sums, whatever became of it, and into the metrics."""

from collections import Counter

import pytest
from msgspec.structs import replace

from gateway.core.outcome import Outcome
from gateway.core.unit_places import place_of
from rollout.adapters.sqlite import SqliteStore
from rollout.core.errors import StoreUnavailable
from rollout.core.evidence.coverage import REQUESTS, UNITS, Counts, coverage_keys
from rollout.core.evidence.plans import series_of
from rollout.core.sums import REMEMBER_FLUSH_S
from tests.gateway import test_cluster_collector as by_user
from tests.gateway import test_unit_collector as by_unit

LEFT = {"outcome": Outcome.CANCELLED, "cause": "left", "status": 0}
World = by_unit.World | by_user.World
REQUEST = {UNITS: by_unit.request, REQUESTS: by_user.request}


class Told:
    """What the metrics are told, and what the store has, of one world."""

    def __init__(self, world: World, of: str) -> None:
        self.world, self.of = world, of
        self.counts: Counter[tuple[str, ...]] = Counter()
        for worker in world.workers:
            worker.left_out.told = lambda labels, amount: self.counts.update({labels[2:]: amount})

    def request(self, digest: int, **changes: object):
        changes = {"feature": self.world.flag.feature} | changes
        return REQUEST[self.of](digest, **changes)

    async def stored(self) -> Counts:
        for worker in self.world.workers:
            worker.left_out.hand_over()
            await worker._tally.flush()
        flag = self.world.flag
        (key,) = coverage_keys(flag, series_of(flag), self.of).values()
        return Counts(*(await self.world.store.read_sums(flag.feature)).get(key, ()))


@pytest.fixture(params=[UNITS, REQUESTS])
async def told(tmp_path, stack, request) -> Told:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    world = by_unit.World(store) if request.param == UNITS else by_user.World(store)
    return Told(world, request.param)


AGED_S = 201.0


async def test_an_outcome_that_is_not_known_is_counted_beside_the_known(told: Told) -> None:
    told.world.one.take([told.request(1, assigned="candidate", **LEFT), told.request(2, assigned="candidate")])
    told.world.workers[1].take([told.request(3, assigned="baseline", **LEFT)])
    await told.world.pass_to(AGED_S)
    assert await told.stored() == Counts(left_candidates=1, left_baselines=1)
    assert told.counts == {("candidate", "unknown"): 1, ("baseline", "unknown"): 1}


async def test_what_the_store_does_not_take_for_minutes_is_missing_by_arm(told: Told) -> None:
    told.world.line.fault = StoreUnavailable("away")
    told.world.one.take([told.request(1, assigned="candidate"), told.request(2, assigned="baseline")])
    await told.world.pass_to(AGED_S)
    told.world.now_s = REMEMBER_FLUSH_S / 2
    await told.world.pass_to(AGED_S)
    told.world.line.fault = None
    assert await told.stored() == Counts(lost_candidates=1, lost_baselines=1)
    assert told.counts == {("candidate", "store"): 1, ("baseline", "store"): 1}


async def test_more_than_the_store_keeps_up_with_is_missing(told: Told, monkeypatch) -> None:
    monkeypatch.setattr("gateway.flushes.WAITING_MAX", 1)
    told.world.one.take([told.request(number, assigned="candidate") for number in (1, 2, 3)])
    await told.world.pass_to(AGED_S)
    assert (await told.stored(), told.world.one.lost) == (Counts(lost_candidates=2), 2)
    assert told.counts == {("candidate", "overloaded"): 2}


async def test_a_revision_that_nobody_knows_counts_for_the_newest(told: Told) -> None:
    told.world.one.take([told.request(1, assigned="baseline", revision=9)])
    await told.world.pass_to(AGED_S)
    assert (await told.stored(), told.world.one.lost) == (Counts(lost_baselines=1), 1)
    assert told.counts == {("baseline", "unplaced"): 1}


async def test_a_worker_that_ends_says_who_was_too_young_and_who_was_on_the_way(told: Told) -> None:
    told.world.one.take([told.request(1, assigned="candidate")])
    told.world.wall_s = 101.0
    await told.world.one.close()
    assert await told.stored() == Counts(lost_candidates=1)
    other = told.world.workers[1]
    told.world.line.fault = StoreUnavailable("away")
    other.take([told.request(2, assigned="baseline")])
    await told.world.pass_to(AGED_S)
    other.take([told.request(3, assigned="baseline", arrived_s=200.0)])
    await told.world.pass_to(AGED_S)
    await other.close()
    told.world.line.fault = None
    assert other.lost == 2
    assert await told.stored() == Counts(lost_candidates=1, lost_baselines=2)
    assert told.counts == {("candidate", "ended"): 1, ("baseline", "store"): 1, ("baseline", "ended"): 1}


async def test_where_a_ramp_is_over_nobody_is_missing(told: Told) -> None:
    told.world.one.take([told.request(1, assigned="candidate")])
    flag = told.world.flag
    told.world.put(replace(flag, revision=2, progress=replace(flag.progress, phase="COMPLETED")))
    await told.world.pass_to(AGED_S)
    assert (told.world.one.lost, told.counts, await told.stored()) == (0, {}, Counts())


async def test_a_rating_that_came_too_late_for_its_unit_is_missing_too(tmp_path, stack) -> None:
    """Its place among those that wait for ratings was lost: it is counted, but not for its ratings."""
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    flag = replace(by_unit.FLAG, gates=(replace(by_unit.GATE, metric="thumbs"),))
    told = Told(by_unit.World(store, flag), UNITS)
    told.world.one._held._most = 1
    small, large = (told.request(digest, assigned="candidate") for digest in (1, 2**62))
    told.world.one.take([small, large])
    told.world.one.take_rating(small, "thumbs", 1.0)
    await told.world.pass_to(AGED_S)
    await told.world.pass_to(701.0)
    assert await told.stored() == Counts(lost_candidates=1, rated_candidates=1)
    assert told.counts == {("candidate", "thinned"): 1}
    assert place_of(flag).rated_after_s == 600.0
