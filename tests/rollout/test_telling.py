import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from rollout.adapters.clock import WallClock
from rollout.core.audit import record_change
from rollout.core.errors import StoreUnavailable
from rollout.core.webhooks import Event
from rollout.telling import LOOK_BACK_S, Teller


class Leadership:
    def __init__(self) -> None:
        self.held = True

    def __call__(self) -> bool:
        return self.held


@pytest.fixture
def leading() -> Leadership:
    return Leadership()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def teller(seeded, clock, leading, events) -> Teller:
    return Teller(seeded, clock, leading, events.append)


async def change(store: Any, clock: Any, feature: str = "draft", times: int = 1) -> None:
    for _ in range(times):
        before = await store.get(feature)
        after = replace(before, share_millipct=before.share_millipct + 1)
        entry = record_change(before, after, actor="ann", command="set-share", reason="r", at_s=clock.now_s())
        await store.put_if_revision(after, before.revision, entry)


def told(events: list[Event]) -> list[tuple[str, str, int]]:
    return [(event.kind, event.data["feature"], event.data["revision"]) for event in events]


async def test_every_change_is_told_once_in_order(teller, seeded, clock, events) -> None:
    await teller.turn()
    events.clear()
    await change(seeded, clock)
    await change(seeded, clock, "summarize")
    await teller.turn()
    await teller.turn()
    assert told(events) == [("rollout.set_share", "draft", 2), ("rollout.set_share", "summarize", 2)]


async def test_more_changes_than_a_page_are_all_told(teller, seeded, clock, events, monkeypatch) -> None:
    monkeypatch.setattr("rollout.telling._PAGE", 3)
    await teller.turn()
    events.clear()
    await change(seeded, clock, times=7)
    await teller.turn()
    assert [revision for _, _, revision in told(events)] == list(range(2, 9))


async def test_who_does_not_lead_tells_nobody_and_who_takes_over_begins_some_way_back(
    teller, seeded, clock, leading, events
) -> None:
    leading.held = False
    await change(seeded, clock)
    clock.at_s += LOOK_BACK_S + 1
    await change(seeded, clock)
    await teller.turn()
    assert events == []
    leading.held = True
    await teller.turn()
    assert told(events) == [("rollout.set_share", "draft", 3)]


async def test_two_tellers_tell_the_same_change_under_the_same_id(seeded, clock, leading, events) -> None:
    for _ in range(2):
        await Teller(seeded, clock, leading, events.append).turn()
    half = len(events) // 2
    assert events[:half] == events[half:] != []


async def test_what_is_written_while_it_reads_is_told_once(teller, seeded, clock, events) -> None:
    class Busy:
        """A store that somebody writes to between two of its reads."""

        async def version(self) -> int:
            known = await seeded.version()
            await change(seeded, clock)
            return known

        async def audit(self, since_id: int, limit: int) -> Any:
            return await seeded.audit(since_id, limit)

    await teller.turn()
    events.clear()
    teller._store = Busy()
    for _ in range(4):
        await teller.turn()
    assert [revision for _, _, revision in told(events)] == [2, 3, 4, 5]


async def test_a_store_that_was_exchanged_is_begun_anew(teller, seeded, clock, events) -> None:
    await teller.turn()
    teller._told_id = 10_000  # as of a store that counted further
    events.clear()
    await change(seeded, clock)
    await teller.turn()
    assert ("rollout.set_share", "draft", 2) in told(events)


async def test_a_store_that_is_away_ends_nothing(seeded, leading, events, clock) -> None:
    class Away:
        def __init__(self) -> None:
            self.faults: list[Exception] = [StoreUnavailable("away"), ZeroDivisionError()]

        async def version(self) -> int:
            if self.faults:
                raise self.faults.pop()
            return await seeded.version()

        async def audit(self, since_id: int, limit: int) -> Any:
            return await seeded.audit(since_id, limit)

    running = asyncio.get_running_loop().create_task(Teller(Away(), clock, leading, events.append).run(0.001))
    limit_s = WallClock().now_s() + 20
    while not events:
        assert WallClock().now_s() < limit_s
        await asyncio.sleep(0.001)
    running.cancel()
    assert told(events)[0][0] == "rollout.create"
