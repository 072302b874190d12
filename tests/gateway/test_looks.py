"""Looks in steps: what requests may wait for is bounded in units, and a look that is cut short is ended by `close`."""

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from gateway.core.checks.sampling import CheckSample
from gateway.core.outcome import UNDER_WAY, Record
from gateway.core.request_outcomes import RequestOutcomes
from gateway.looks import JUDGED_AT_ONCE, SENT_AT_ONCE, WATCHED_AT_ONCE, Looks
from gateway.unit_collector import Requests
from rollout.adapters.sqlite import SqliteStore
from tests.gateway.core.test_cluster_requests import GATE
from tests.gateway.test_cluster_collector import FLAG, World

MANY = 5 * JUDGED_AT_ONCE + 3
AT_TWO_AGES = replace(
    FLAG, gates=(GATE, *(replace(GATE, name=metric, metric=metric) for metric in ("thumbs", "total_p50")))
)


class Watched(RequestOutcomes):
    """Counts what it is asked since it was asked last."""

    def __init__(self) -> None:
        super().__init__(CheckSample())
        self.judged = self.seen = 0

    def of(self, record, part):
        self.judged += 1
        return super().of(record, part)

    def see(self, due, current):
        self.seen += len(due)
        super().see(due, current)

    def counts(self) -> tuple[int, int]:
        found, self.judged, self.seen = (self.judged, self.seen), 0, 0
        return found


@pytest.fixture
async def world(tmp_path, stack) -> World:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    return World(store, AT_TWO_AGES)


async def settled() -> None:
    pass


async def begun(world: World, requests: int, under_way: Sequence[Record] = ()) -> asyncio.Task[None]:
    """A look of the first worker that is between two steps."""
    running = asyncio.get_running_loop().create_task(world.one.run(Requests(settled, lambda _: list(under_way))))
    async with asyncio.timeout(60):
        while not 0 < len(world.one._flushes) < requests:  # noqa: ASYNC110  seen between two steps
            await asyncio.sleep(0)
    return running


async def cut_short(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.wait([running])


async def test_others_run_between_two_steps_and_what_is_left_is_taken_at_the_end() -> None:
    looks, taken, meanwhile = Looks(), [], []
    looks.finish()
    taking = asyncio.get_running_loop().create_task(looks.take(taken.append(step) for step in range(9)))
    while len(taken) < 4:
        await asyncio.sleep(0)
        meanwhile.append(len(taken))
    assert meanwhile == [1, 2, 3, 4]
    await cut_short(taking)
    looks.finish()
    looks.finish()
    assert taken == list(range(9))


async def test_no_step_of_a_look_is_longer_however_many_come_of_age(world: World) -> None:
    """At two ages at once, settled and under way, after a minute in which nobody looked."""
    watched = world.one._outcomes = Watched()
    world.one.take([world.request(number, 100.0 + number / 9) for number in range(1, 3 * MANY)])
    open_yet = [world.request(number, 100.0, 60.0, outcome=UNDER_WAY, status=0) for number in range(3 * MANY, 5 * MANY)]
    world.wall_s = 4_000.0
    steps = [watched.counts() for _ in world.one._look(lambda _: open_yet)]
    steps.append(watched.counts())
    judged, seen = ([step[each] for step in steps] for each in (0, 1))
    assert sum(judged) == 2 * (5 * MANY - 1)
    assert sum(seen) == sum(judged)
    assert max(judged) <= JUDGED_AT_ONCE
    assert max(seen) <= WATCHED_AT_ONCE
    assert not any(one and other for one, other in steps)


async def test_no_batch_is_larger_however_many_wait(world: World) -> None:
    sent: list[Sequence[object]] = []
    books = world.one._books
    summed = books.summed
    books.summed = lambda entries: sent.append(entries) or summed(entries)
    world.one.take([world.request(number) for number in range(1, 2 * SENT_AT_ONCE)])
    for second in range(131, 135):
        await world.pass_to(second)
    assert [len(each) for each in sent] == [SENT_AT_ONCE, SENT_AT_ONCE - 1]
    assert (await world.counted()).units == 2 * SENT_AT_ONCE - 1


async def test_what_settles_between_two_steps_is_counted_once(world: World) -> None:
    open_yet = [world.request(number, 100.0, 31.0, outcome=UNDER_WAY, status=0) for number in range(MANY, 2 * MANY)]
    world.one.take([world.request(number) for number in range(1, MANY)])
    world.wall_s = 131.0
    running = await begun(world, 2 * MANY - 1, open_yet)
    world.one.take([world.request(number, 100.0, 31.5) for number in range(MANY, 2 * MANY)])
    await cut_short(running)
    await world.one.close()
    assert (await world.counted()).units == 2 * MANY - 1
    assert world.one.lost == 2 * MANY - 1  # their ratings, an hour later


async def test_a_look_that_is_cut_short_at_a_hand_over_loses_and_doubles_nobody(world: World) -> None:
    old, successor = world.workers
    old.take([world.request(number) for number in range(1, MANY)])
    old.take([world.request(number, 125.0) for number in range(MANY, 2 * MANY)])
    world.wall_s = 131.0
    await cut_short(await begun(world, MANY - 1))
    await old.close(handing_over=True)
    assert (await world.counted()).units == MANY - 1
    for handed in old.give_away(20):
        successor.receive(handed)
    for second in (160.0, 161.0, *(4_000.0 + each for each in range(4))):
        await world.pass_to(second)
    assert [(await world.counted(metric)).units for metric in ("errors", "thumbs")] == [2 * MANY - 1] * 2
    assert (old.lost, successor.lost) == (0, 0)


async def test_a_revision_that_is_forgotten_between_two_steps_is_lost_not_misplaced(world: World) -> None:
    world.one.take([world.request(number) for number in range(1, MANY)])
    world.wall_s = 131.0
    steps = world.one._look(lambda _: ())
    next(steps)
    for revision in range(2, 100):
        world.put(replace(world.flag, revision=revision))
        world.one.take(())
    for _ in steps:
        pass
    assert (len(world.one._flushes), world.one.lost) == (JUDGED_AT_ONCE, MANY - 1 - JUDGED_AT_ONCE)
