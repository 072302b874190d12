"""Small counts on their way: none is lost by a store that is away, however long."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import pytest

from gateway import tally as module
from gateway.tally import Tally
from rollout.core.errors import InvalidArgument, StoreUnavailable
from rollout.core.sums import REMEMBER_FLUSH_S, SumKey, merge

ONE, OTHER = SumKey("draft", 1, "covered.x.1"), SumKey("draft", 1, "covered.y.1")


class Store:
    def __init__(self) -> None:
        self.sums: dict[SumKey, list[int]] = {}
        self.ids: list[str] = []
        self.fault: BaseException | None = None

    async def add_sums(self, deltas: Mapping[SumKey, Sequence[int]], flush_id: str) -> bool:
        self.ids.append(flush_id)
        if self.fault is not None:
            raise self.fault
        for key, row in deltas.items():
            self.sums[key] = merge(self.sums.get(key, []), row)
        return True


class World:
    def __init__(self) -> None:
        self.store, self.now_s = Store(), 0.0
        self.tally = Tally(self.store, lambda: self.now_s, "these")


@pytest.fixture
def world() -> World:
    return World()


async def test_rows_of_a_key_are_added_up_and_sent_once(world: World) -> None:
    await world.tally.flush()
    for row in ((1, 0), (0, 2), (1, 1)):
        world.tally.add(ONE, row)
    world.tally.add(OTHER, (5,))
    assert len(world.tally) == 2
    await world.tally.flush()
    await world.tally.flush()
    assert (world.store.sums, len(world.store.ids), len(world.tally)) == ({ONE: [2, 3], OTHER: [5]}, 1, 0)


async def test_what_gets_no_answer_goes_again_under_its_id_and_what_came_since_after_it(world: World) -> None:
    world.store.fault = StoreUnavailable("away")
    world.tally.add(ONE, (1,))
    await world.tally.flush()
    world.tally.add(ONE, (2,))
    await world.tally.flush()
    assert (len({*world.store.ids}), len(world.tally)) == (1, 2)
    world.store.fault = None
    await world.tally.flush()
    await world.tally.flush()
    assert (world.store.sums, len({*world.store.ids}), world.tally.lost) == ({ONE: [3]}, 2, 0)


async def test_a_store_that_is_away_for_long_loses_nothing(world: World) -> None:
    world.store.fault = TimeoutError()
    for _ in range(5):
        world.tally.add(ONE, (1,))
        await world.tally.flush()
        world.now_s += REMEMBER_FLUSH_S / 2
    world.store.fault = None
    await world.tally.flush()
    await world.tally.flush()
    assert (world.store.sums, world.tally.lost, len(world.tally)) == ({ONE: [5]}, 0, 0)


@pytest.mark.parametrize("fault", [InvalidArgument("no", "never"), ZeroDivisionError()])
async def test_what_the_store_refuses_is_said_to_be_lost(world: World, fault: Exception, caplog) -> None:
    world.store.fault = fault
    world.tally.add(ONE, (1,))
    with caplog.at_level(logging.WARNING):
        await world.tally.flush()
    assert (world.tally.lost, len(world.tally)) == (1, 0)
    assert "1 counts of these are lost" in caplog.text
    world.store.fault = None
    await world.tally.flush()
    assert world.store.sums == {}


async def test_it_is_bounded_and_says_what_is_beyond(world: World, monkeypatch) -> None:
    monkeypatch.setattr(module, "KEYS_MAX", 2)
    monkeypatch.setattr(module, "KEYS_PER_FLUSH_MAX", 1)
    for number in range(4):
        world.tally.add(ONE._replace(epoch=number), (1,))
    assert (len(world.tally), world.tally.lost) == (2, 2)
    await world.tally.flush()
    assert len(world.tally) == 1


async def test_who_stops_it_stops_it(world: World) -> None:
    world.store.fault = asyncio.CancelledError()
    world.tally.add(ONE, (1,))
    with pytest.raises(asyncio.CancelledError):
        await world.tally.flush()
    assert len(world.tally) == 1


async def test_at_the_end_all_is_sent_that_the_store_takes(world: World, caplog) -> None:
    world.store.fault = StoreUnavailable("away")
    world.tally.add(ONE, (1,))
    await world.tally.flush()
    world.tally.add(ONE, (2,))
    world.store.fault = None
    await world.tally.close()
    assert (world.store.sums, world.tally.lost, caplog.text) == ({ONE: [3]}, 0, "")
    world.store.fault = StoreUnavailable("away")
    world.tally.add(ONE, (4,))
    await world.tally.close()
    assert world.tally.lost == 1
    assert "the store does not answer" in caplog.text
