"""Metrics beside errors, as workers of one store count them: ratings, latency, checks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway.core.checks.answer_checks import Checks
from gateway.core.checks.sampling import CheckedAnswer, CheckSample
from gateway.core.held_units import Ratings
from gateway.unit_collector import UnitCollector
from rollout.adapters.sqlite import SqliteStore
from rollout.core.evidence.plans import series_of
from rollout.core.model import BUCKETS, FeatureFlag
from rollout.core.ramp_model import Gate, GateKind
from tests.gateway.test_recorder import RECORD
from tests.gateway.test_unit_collector import FLAG, GATE, World, request

THUMBS = replace(GATE, name="liked", metric="thumbs")
FAST = replace(GATE, name="fast", metric="total_p50", kind=GateKind.HARM)


def asking(*gates: Gate) -> FeatureFlag:
    return replace(FLAG, gates=gates)


@pytest.fixture
async def store(tmp_path, stack) -> SqliteStore:
    made = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(made.close)
    return made


async def test_ratings_of_any_turn_count_at_their_own_age(store: SqliteStore) -> None:
    world = World(store, asking(THUMBS, GATE))
    thumbs = next(each for each in series_of(world.flag) if each.metric == "thumbs")
    later = request(1, 150.0, request_id="later")
    world.one.take([request(1), request(2, assigned="baseline"), later])
    world.one.take_rating(later, "rating", 1.0)
    world.one.take_rating(replace(later, unit_digest=0), "rating", 0.0)
    await world.pass_to(161.0)
    assert ((await world.counted(thumbs)).moments.units, (await world.errors()).candidate_units) == (0, 1)
    world.one.take_rating(later, "score", 0.5)
    world.one.take_rating(later, "rating", 0.0)
    world.one.take_rating(later, "rating", 1.0)
    await world.pass_to(701.0)
    found = (await world.counted(thumbs)).moments
    assert found.units == 2
    assert found.estimate == pytest.approx(2 * 0.25 / 2)
    assert (await world.errors()) == (0, 0, 1, 1)
    await world.pass_to(2_000.0)
    assert (await world.counted(thumbs)).moments.units == 2


async def test_ratings_of_units_that_another_worker_holds_are_let_go_of(store: SqliteStore) -> None:
    """They reach the worker that gave the answer; at ten minutes they count, and a claim may be late by as much."""
    world = World(store, asking(THUMBS))
    world.one.take([request(1)])
    await world.pass_to(162.0)
    for digest in (1, 2):
        world.one.take_rating(request(digest), "score", 1.0)
    held: list[int] = []
    for second in (600.0, 701.0, 1_362.0, 1_363.0):
        await world.pass_to(second)
        held.append(len(world.one._ratings))
    assert (held, world.one.lost) == ([2, 1, 1, 0], 0)
    assert (await world.counted(series_of(world.flag)[0])).moments.units == 1


async def test_ratings_that_there_was_no_room_for_are_told(store: SqliteStore) -> None:
    world = World(store, asking(THUMBS))
    world.one._ratings = Ratings(ratings_most=2)
    for digest in (1, 2, 3):
        world.one.take_rating(request(digest), "score", 1.0)
    assert world.one.lost == 1


async def test_who_holds_the_claim_keeps_the_unit_and_nobody_else(store: SqliteStore) -> None:
    world = World(store, asking(THUMBS))
    world.one.take([request(1)])
    world.workers[1].take([request(1, 101.0)])
    await world.pass_to(162.0)
    successor = UnitCollector(world.line, lambda: world.snapshot, lambda: 0.0, lambda: 701.0)
    for worker in world.workers:
        for held in worker.give_away(500):
            successor.receive(*held)
    await world.pass_to(701.0)
    assert (await world.counted(series_of(world.flag)[0])).moments.units == 0
    successor.take_rating(request(1), "score", 1.0)
    await successor.close()
    assert (await world.counted(series_of(world.flag)[0])).moments.units == 1
    assert successor.lost == 0


@pytest.mark.parametrize("lost", range(4))
async def test_what_is_more_than_a_store_takes_at_once_goes_in_parts_once_each(
    store: SqliteStore, monkeypatch, lost: int
) -> None:
    monkeypatch.setattr("gateway.core.sum_parts.VALUES_PER_FLUSH_MAX", 60)
    world = World(store, asking(GATE, THUMBS))
    world.line.lost_answers = lost
    world.one.take([request(number, 100.0 + 600 * (number // 3)) for number in range(1, 7)])
    for second in (161.0, 800.0, 1_400.0, 2_000.0):
        for again in range(4):
            await world.pass_to(second + again)
    errors, thumbs = series_of(world.flag)
    assert [(await world.counted(each)).moments.units for each in (errors, thumbs)] == [6, 6]
    assert len(set(world.line.adds)) > 4


async def test_a_bound_beyond_the_age_is_told_once(store: SqliteStore, caplog) -> None:
    world = World(store, asking(FAST))
    slow = [request(number, 100.0, 59.0, assigned="baseline") for number in range(1, 61)]
    world.one.take(slow)
    await world.pass_to(170.0)
    for digest in (100, 200):
        world.one.take([request(digest, 3.0 * digest)])
        await world.pass_to(3.0 * digest + 61.0)
    assert world.one.beyond == 2
    assert caplog.text.count("total_p50 of draft can't be judged") == 1


async def test_latencies_are_counted_by_assigned_arm(store: SqliteStore) -> None:
    world = World(store, asking(FAST))
    (series,) = series_of(world.flag)
    world.one.take([request(number, 100.0, 1.0, assigned="baseline") for number in range(1, 61)])
    await world.pass_to(170.0)
    world.one.take([request(100, 200.0, 9.0), request(101, 200.0, 0.5, assigned="baseline")])
    await world.pass_to(300.0)
    found = (await world.counted(series)).moments
    assert (found.units, found.candidates) == (2, 1)
    assert found.estimate == pytest.approx(-1.0)


async def test_checks_are_joined_to_their_units(store: SqliteStore) -> None:
    world = World(store, asking(replace(GATE, metric="form")))
    (series,) = series_of(world.flag)
    worker = UnitCollector(store, lambda: world.snapshot, *[lambda: world.wall_s] * 2, sampled=CheckSample(BUCKETS))
    worker.take([request(1), request(2, assigned="baseline"), request(3, assigned="baseline")])
    for digest, empty in ((1, True), (2, False)):
        checks = Checks(empty=empty)
        worker.take_check(
            CheckedAnswer(RECORD.request_id, 1.0, "draft", 1, "candidate", "conversation", 0, checks, digest, "acme")
        )
    world.wall_s = 161.0
    worker.look(())
    await worker.flush()
    found = (await world.counted(series)).moments
    assert (found.units, found.candidates) == (3, 1)
    assert found.estimate == pytest.approx(-2 / 3, abs=0.01)
