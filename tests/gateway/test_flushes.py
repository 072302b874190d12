"""The loop of all collectors: again until answered, never twice, bounded, a last time at the end, and what is lost."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from gateway import flushes as module
from gateway.flushes import Flushes
from rollout.core.errors import InvalidArgument, StoreUnavailable
from rollout.core.sums import REMEMBER_FLUSH_S


class Sent:
    """A batch that goes through once its world's faults are used up."""

    def __init__(self, world: "World", items: Sequence[str]) -> None:
        self._world, self._items, self.observations = world, items, len(items)

    async def send(self) -> None:
        self._world.tries += 1
        await self._world.line()
        self._world.arrived += self._items


class World:
    def __init__(self, at_once: int = 2) -> None:
        self.now_s, self.tries, self.at_once = 0.0, 0, at_once
        self.faults: list[Exception] = []
        self.arrived: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.flushes: Flushes[str] = Flushes(self.begin, lambda: self.now_s, "things")

    def begin(self, waiting: Sequence[str]) -> tuple[int, Sent] | None:
        batch = waiting[: self.at_once]
        return (len(batch), Sent(self, batch)) if batch else None

    async def line(self) -> None:
        await self.open.wait()
        if self.faults:
            raise self.faults.pop(0)


@pytest.fixture
def world() -> World:
    return World()


async def test_nothing_is_sent_where_nothing_waits(world: World) -> None:
    assert not await world.flushes.flush()
    await world.flushes.close()
    assert (world.tries, world.flushes.lost) == (0, 0)


async def test_a_batch_goes_again_until_it_is_answered_and_then_the_next(world: World) -> None:
    world.faults = [StoreUnavailable("away"), TimeoutError()]
    world.flushes.put("abc")
    assert [await world.flushes.flush() for _ in range(5)] == [False, False, True, True, False]
    assert (world.arrived, world.tries, world.flushes.lost) == (["a", "b", "c"], 4, 0)


async def test_a_store_that_is_slow_is_asked_again(world: World, monkeypatch) -> None:
    monkeypatch.setattr(module, "ANSWER_MAX_S", 0.01)
    world.open.clear()
    world.flushes.put("a")
    assert not await world.flushes.flush()
    world.open.set()
    monkeypatch.setattr(module, "ANSWER_MAX_S", 60.0)
    assert await world.flushes.flush()
    assert world.arrived == ["a"]


@pytest.mark.parametrize("fault", [InvalidArgument("no room"), ZeroDivisionError()])
async def test_what_the_store_refuses_is_not_sent_for_ever(world: World, fault: Exception, caplog) -> None:
    world.faults = [fault]
    world.flushes.put("abc")
    assert await world.flushes.flush()
    assert await world.flushes.flush()
    assert (world.arrived, world.flushes.lost) == (["c"], 2)
    assert "2 things are not counted for ramps" in caplog.text


async def test_what_the_store_may_have_forgotten_is_not_sent_again(world: World, caplog) -> None:
    world.faults = [StoreUnavailable("away")]
    world.flushes.put("abc")
    with caplog.at_level(logging.WARNING):
        await world.flushes.flush()
        assert (world.flushes.lost, caplog.text) == (0, "")
        world.now_s = REMEMBER_FLUSH_S / 2
        await world.flushes.flush()
    assert (world.tries, world.flushes.lost, len(world.flushes)) == (1, 2, 1)
    assert "the store did not answer in time" in caplog.text


async def test_what_waits_is_bounded_and_the_first_ones_stay(world: World, monkeypatch, caplog) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 3)
    world.flushes.put("ab")
    world.flushes.put("cdef")
    assert (len(world.flushes), world.flushes.lost) == (3, 3)
    await world.flushes.close()
    assert (world.arrived, world.flushes.lost) == (["a", "b", "c"], 3)
    assert caplog.text.count("the store does not keep up") == 1


async def test_the_last_flush_sends_all_there_is(world: World) -> None:
    world.flushes.put("abcde")
    await world.flushes.close()
    assert (world.arrived, world.flushes.lost, len(world.flushes)) == ([*"abcde"], 0, 0)


async def test_at_the_end_the_rest_is_lost_once(world: World) -> None:
    world.faults = [StoreUnavailable("away")] * 9
    world.flushes.put("abcde")
    await world.flushes.close()
    assert (world.tries, world.flushes.lost, len(world.flushes)) == (1, 5, 0)
    await world.flushes.close()
    assert world.flushes.lost == 5


async def test_one_batch_is_on_its_way_whoever_asks(world: World) -> None:
    """The loop goes on while the last flush is sent."""
    world.open.clear()
    world.flushes.put("abcde")
    both = [asyncio.ensure_future(each) for each in (world.flushes.flush(), world.flushes.close())]
    while not world.tries:  # noqa: ASYNC110  nobody tells
        await asyncio.sleep(0)
    assert world.tries == 1
    world.open.set()
    await asyncio.gather(*both)
    assert (world.arrived, world.tries, world.flushes.lost) == ([*"abcde"], 3, 0)


async def test_it_looks_and_flushes_until_closed(world: World, monkeypatch, until, caplog) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    looks = iter("abcdefgh")
    looked = 0

    async def look() -> None:
        nonlocal looked
        looked += 1
        if looked == 2:
            raise ZeroDivisionError
        world.flushes.put(next(looks, ""))

    running = asyncio.ensure_future(world.flushes.run(look))
    await until(lambda: len(world.arrived) == 8)
    assert "things could not be looked at" in caplog.text
    await world.flushes.close()
    before, turns = looked, 0

    class Told:
        def __bool__(self) -> bool:
            nonlocal turns
            turns += 1
            return True

    world.flushes._closed = Told()
    await until(lambda: turns > 3)
    assert looked == before
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
