"""Judged pairs on their way into a real store: each unit once, whatever becomes of the line."""

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gateway.core.judging.score import Lost, Result
from gateway.pair_collector import PairCollector
from rollout.adapters.sqlite import SqliteStore
from rollout.core.claims import REMEMBER_FLUSH_S
from rollout.core.errors import InvalidArgument, StoreUnavailable
from rollout.core.evaluate import compile_snapshot
from rollout.core.evidence.pair_verdicts import verdict_of
from rollout.core.evidence.pairs import OVER, VERSIONS_MAX, by_version, plan_of, replies_of
from rollout.core.gates import Result as Said
from tests.gateway.core.test_pair_sums import FLAG, GATE, SCORED
from tests.gateway.store_line import Line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rollout.core.sums import SumKey

LOST = Lost("draft", 7, "v1")


class World:
    def __init__(self, store: SqliteStore) -> None:
        self.store, self.line, self.now_s = store, Line(store), 0.0
        snapshot = compile_snapshot({"draft": FLAG}, 1)
        self.workers = [PairCollector(self.line, lambda: snapshot, lambda: self.now_s) for _ in range(2)]
        self.one = self.workers[0]

    async def flush(self) -> None:
        for worker in self.workers:
            await worker.flush()

    async def counted(self) -> tuple[int, float | None]:
        """(pairs, effect) of the version in force."""
        plan = plan_of(FLAG)
        assert plan is not None
        versions = by_version(FLAG, plan, await self.store.read_sums("draft"))
        if not versions:
            return 0, None
        (part,) = versions[-1].parts
        return part[2].moments.units, part[2].moments.estimate


@pytest.fixture
async def world(tmp_path, stack) -> World:
    store = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(store.close)
    return World(store)


async def test_a_conversation_counts_once_over_turns_and_workers(world: World) -> None:
    for turn in range(6):
        world.workers[turn % 2].take(replace(SCORED, request_id=f"r{turn}", w=float(turn == 0)))
        await world.flush()
    assert await world.counted() == (1, 0.5)
    assert replies_of(FLAG, "v1", await world.store.read_sums("draft")) == (6, 0)


async def test_the_same_conversation_counts_again_for_another_version(world: World) -> None:
    world.one.take(SCORED)
    world.one.take(replace(SCORED, judge_version="v2", w=0.0))
    await world.flush()
    plan = plan_of(FLAG)
    assert plan is not None
    assert len(by_version(FLAG, plan, await world.store.read_sums("draft"))) == 2


async def test_requests_without_a_conversation_count_each(world: World) -> None:
    for number in range(5):
        world.one.take(replace(SCORED, unit="", unit_kind="", request_id=f"r{number}"))
    await world.flush()
    assert await world.counted() == (5, 0.5)


async def test_equal_answers_count_but_nobody_was_asked(world: World) -> None:
    world.one.take(replace(SCORED, w=0.5, result=Result.SAME))
    world.one.lose(LOST)
    await world.flush()
    assert await world.counted() == (1, 0.0)
    assert replies_of(FLAG, "v1", await world.store.read_sums("draft")) == (0, 1)


async def test_scores_without_a_gate_are_nobodys(world: World) -> None:
    world.one.take(replace(SCORED, feature="other"))
    world.one.lose(Lost("other", 7, "v1"))
    await world.flush()
    assert (await world.store.read_sums("other"), world.one.lost) == ({}, 2)


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_lost_answer_counts_nothing_twice(world: World, lost: int) -> None:
    world.line.lost_answers = lost
    world.one.take(SCORED)
    world.one.lose(LOST)
    for _ in range(3):
        await world.flush()
    assert await world.counted() == (1, 0.5)
    assert replies_of(FLAG, "v1", await world.store.read_sums("draft")) == (1, 1)
    assert world.one.lost == 0


async def test_a_store_that_is_away_is_waited_for(world: World, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    world.line.fault = StoreUnavailable("gone")
    world.one.take(SCORED)
    await world.flush()
    assert len(world.one._flushes) == 1
    assert "judged pairs are counted later" in caplog.text
    world.line.fault = None
    await world.flush()
    assert await world.counted() == (1, 0.5)


@pytest.mark.parametrize("fault", [InvalidArgument("no", "never"), RuntimeError("odd")])
async def test_what_a_store_refuses_is_given_up_and_counted(world: World, fault: Exception, caplog) -> None:
    world.line.fault = fault
    world.one.take(SCORED)
    await world.flush()
    assert (world.one.lost, len(world.one._flushes)) == (1, 0)
    assert "1 judged pairs are not counted for ramps" in caplog.text


async def test_a_store_that_stays_away_is_given_up_before_it_forgets(world: World) -> None:
    world.line.fault = StoreUnavailable("gone")
    world.one.take(SCORED)
    await world.flush()
    world.now_s = REMEMBER_FLUSH_S / 2
    world.line.fault = None
    await world.flush()
    assert (world.one.lost, await world.counted()) == (1, (0, None))


async def test_what_waits_is_bounded(world: World, monkeypatch) -> None:
    monkeypatch.setattr("gateway.flushes.WAITING_MAX", 3)
    for _ in range(5):
        world.one.lose(LOST)
    assert (len(world.one._flushes), world.one.lost) == (3, 2)


async def test_closing_counts_what_there_is_and_gives_the_rest_up(world: World, monkeypatch) -> None:
    monkeypatch.setattr("gateway.pair_collector.CLAIMS_PER_FLUSH_MAX", 2)
    for _ in range(5):
        world.one.lose(LOST)
    await world.one.close()
    assert replies_of(FLAG, "v1", await world.store.read_sums("draft")) == (0, 5)
    world.line.fault = StoreUnavailable("gone")
    world.one.lose(LOST)
    await world.one.close()
    assert (world.one.lost, len(world.one._flushes)) == (1, 0)


async def test_it_flushes_by_itself_until_cancelled(world: World, until, monkeypatch) -> None:
    monkeypatch.setattr("gateway.flushes.EVERY_S", 0.001)
    running = asyncio.ensure_future(world.one.run())
    world.one.take(SCORED)
    await until(lambda: not len(world.one._flushes))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await world.counted() == (1, 0.5)


async def test_enough_wins_become_a_proof(world: World) -> None:
    for number in range(200):
        world.workers[number % 2].take(replace(SCORED, unit=f"c{number}", w=1.0))
    await world.flush()
    verdict = verdict_of(GATE, FLAG, await world.store.read_sums("draft"), 2_000.0)
    assert verdict.result is Said.PASS


@pytest.mark.parametrize("lost_answers", [0, 1, 2, 5])
async def test_what_is_more_than_a_store_takes_at_once_goes_in_parts_once_each(
    world: World, monkeypatch: pytest.MonkeyPatch, lost_answers: int
) -> None:
    monkeypatch.setattr("gateway.core.sum_parts.VALUES_PER_FLUSH_MAX", 40)
    monkeypatch.setattr("rollout.core.sums.VALUES_PER_FLUSH_MAX", 80)
    for number in range(8):
        world.one.take(replace(SCORED, judge_version=f"v{number}"))
    world.line.lost_answers = lost_answers
    for _ in range(lost_answers + 1):
        await world.flush()
    sums = await world.store.read_sums("draft")
    assert [replies_of(FLAG, f"v{number}", sums) for number in range(8)] == [(1, 0)] * 8
    assert world.one.lost == len(world.one._flushes) == 0


async def test_shadow_calls_that_fail_keep_a_gate_from_passing(world: World, caplog) -> None:
    world.line.fault = StoreUnavailable("away")
    for number in range(12):
        world.workers[number % 2].take_call("draft", 7, "candidate", answered=number > 0)
        for worker in world.workers:
            await worker._calls.flush()
    world.line.fault = None
    world.one.take_call("other", 7, "candidate", answered=False)
    for worker in world.workers:
        await worker.close()
    found = verdict_of(GATE, FLAG, await world.store.read_sums("draft"), 2_000.0)
    assert found.result is Said.NO_DATA
    assert found.reason.startswith("1 of 12 shadow calls of the candidate failed, 8.3%, at most 5%; no pair")


async def test_versions_of_a_judge_beyond_the_bound_are_told_once(world: World, monkeypatch, caplog) -> None:
    monkeypatch.setattr("gateway.flushes.EVERY_S", 0.001)
    for number in range(VERSIONS_MAX + 2):
        world.one.take(replace(SCORED, unit=f"c{number}", judge_version=f"v{number}"))
    assert world.one.lost == 2
    work = asyncio.ensure_future(world.one.run())
    sums: Mapping[SumKey, Sequence[int]] = {}
    async with asyncio.timeout(60):
        while not replies_of(FLAG, OVER, sums).lost or "more than 8 versions" not in caplog.text:
            await asyncio.sleep(0.005)
            sums = await world.store.read_sums("draft")
    await asyncio.sleep(0.02)
    work.cancel()
    assert replies_of(FLAG, OVER, sums) == (0, 2)
    assert caplog.text.count("more than 8 versions") == 1
    assert "the judge has had more than 8 versions" in verdict_of(GATE, FLAG, sums, 2_000.0).reason
