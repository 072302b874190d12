"""What is known of an answer besides that it came, through the whole data plane: checks, ratings, the callers' wait."""

from __future__ import annotations

from itertools import count
from time import perf_counter

import pytest
from msgspec.structs import replace

from gateway.checking import Checking
from gateway.core.checks.sampling import CheckSample, Unchecked
from gateway.feedback import AnswerIndex, Feedback
from gateway.metrics import Metrics
from gateway.unit_collector import UnitCollector
from rollout.adapters.sqlite import SqliteStore
from rollout.core.evidence.plans import series_of
from rollout.core.model import BUCKETS
from tests.gateway.test_unit_collector import AGE_S, FLAG, GATE, World

REFUSAL = b"HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
ANSWER = (
    '{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"finish_reason":"stop",'
    '"message":{"role":"assistant","content":"hello"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}'
)
BODY = {"model": "copilot/draft", "messages": [{"role": "user", "content": "hi"}]}
OPTIONS = {name: getattr(FLAG, name) for name in ("progress", "evidence")}


@pytest.fixture
async def store(tmp_path, stack) -> SqliteStore:
    made = SqliteStore(tmp_path / "store.db")
    stack.push_async_callback(made.close)
    return made


async def answered(gateway, settled, conversations: int):
    caller = await gateway.caller()
    for number in range(conversations):
        caller.post(BODY, f"x-conversation-id: c{number}")
        assert (await caller.answer()).status == 200
    return await settled(gateway, conversations)


def world_of(store, gateway) -> World:
    here = World(store)
    here.snapshot = gateway.relay.snapshot()
    here.flag = here.snapshot.features["draft"].flag
    here.one = UnitCollector(here.line, lambda: here.snapshot, *[lambda: here.wall_s] * 2, sampled=CheckSample(BUCKETS))
    here.workers = [here.one]
    return here


async def test_failures_that_the_baseline_hides_from_callers_are_counted(
    store, upstream, relay_gateway, settled, wire
) -> None:
    """Through the whole data plane: each conversation has two turns, the candidate refuses one in twenty of them."""
    asked = count(1)

    async def flaky(peer) -> None:
        while True:
            await peer.request()
            peer.send(REFUSAL if next(asked) % 20 == 0 else wire.plain(ANSWER))

    broken, fine = await upstream(flaky), await upstream(wire.plain(ANSWER))
    here = World(store)
    options = {**OPTIONS, "gates": FLAG.gates}
    gateway = await relay_gateway(candidate=broken.port, baseline=fine.port, share=50_000, flag=options)
    here.snapshot = gateway.relay.snapshot()
    here.flag = here.snapshot.features["draft"].flag
    caller = await gateway.caller()
    for number in range(200):
        caller.post(
            {"model": "copilot/draft", "messages": [{"role": "user", "content": "hi"}]},
            f"x-conversation-id: c{number % 100}",
        )
        assert (await caller.answer()).status == 200
    records = await settled(gateway, 200)
    here.one.take(records)
    await here.pass_to(records[-1].at_s + AGE_S + 2.0)
    first = {record.unit_digest: record for record in reversed(records)}
    hidden = sum(record.attempts == 2 for record in first.values())
    candidates = sum(record.assigned == "candidate" for record in first.values())
    assert hidden >= 1
    assert {record.outcome for record in records} == {"ok"}
    assert await here.errors() == (hidden, 0, candidates, 100 - candidates)
    found = (await here.counted()).moments
    assert (found.units, found.candidates) == (100, candidates)
    assert found.estimate == pytest.approx(-2 * hidden / 100)


async def test_faults_of_the_answer_count_for_the_assigned_arm(store, upstream, relay_gateway, settled, wire) -> None:
    empty = ANSWER.replace('"hello"', '""')
    broken, fine = await upstream(wire.plain(empty)), await upstream(wire.plain(ANSWER))
    flag = {**OPTIONS, "gates": (replace(GATE, metric="form"),)}
    gateway = await relay_gateway(candidate=broken.port, baseline=fine.port, share=50_000, flag=flag)
    here, skipped = world_of(store, gateway), []
    gateway.relay.checking = Checking(
        CheckSample(BUCKETS),
        snapshot=gateway.relay.snapshot,
        found=here.one.take_check,
        skipped=lambda feature, why: skipped.append((feature, why)),
    )
    gateway.relay.sweep(perf_counter())
    records = await answered(gateway, settled, 20)
    while gateway.relay.checking.counts[1]:
        gateway.relay.sweep(perf_counter())
    here.one.take(records)
    await here.pass_to(records[-1].at_s + AGE_S + 2.0)
    found = (await here.counted(series_of(here.flag)[0])).moments
    candidates = sum(record.assigned == "candidate" for record in records)
    assert (found.units, found.candidates, skipped) == (20, candidates, [])
    assert found.estimate == pytest.approx(-2 * candidates / 20)


async def test_what_was_not_checked_is_left_out(store, upstream, relay_gateway, settled, wire) -> None:
    server = await upstream(wire.plain('{"choices": 7}'))
    flag = {**OPTIONS, "gates": (replace(GATE, metric="form"),)}
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, share=50_000, flag=flag)
    here, skipped = world_of(store, gateway), []
    gateway.relay.checking = Checking(
        CheckSample(BUCKETS),
        snapshot=gateway.relay.snapshot,
        found=here.one.take_check,
        skipped=lambda _, why: skipped.append(why),
    )
    gateway.relay.sweep(perf_counter())
    records = await answered(gateway, settled, 6)
    while gateway.relay.checking.counts[1]:
        gateway.relay.sweep(perf_counter())
    here.one.take(records)
    await here.pass_to(records[-1].at_s + AGE_S + 2.0)
    found = (await here.counted(series_of(here.flag)[0])).moments
    assert (found.units, found.contrast, skipped) == (6, 0, [Unchecked.UNREADABLE] * 6)


async def test_a_rating_of_a_fallbacks_answer_is_the_assigned_arms(
    store, upstream, relay_gateway, settled, wire
) -> None:
    broken, fine = await upstream(REFUSAL), await upstream(wire.plain(ANSWER))
    flag = {**OPTIONS, "gates": (replace(GATE, metric="thumbs"),)}
    gateway = await relay_gateway(candidate=broken.port, baseline=fine.port, share=50_000, flag=flag)
    here = world_of(store, gateway)
    answers = AnswerIndex(Metrics(), rated=here.one.take_rating)
    records = await answered(gateway, settled, 20)
    here.wall_s = records[-1].at_s
    for record in records:
        answers.add(record)
        liked = Feedback(request_id=record.request_id, accepted=record.assigned == "baseline")
        answers.take(liked, record.tenant, record.at_s)
    here.one.take(records)
    await here.pass_to(records[-1].at_s + AGE_S + 2.0)
    await here.pass_to(records[-1].at_s + 602.0)
    found = (await here.counted(series_of(here.flag)[0])).moments
    candidates = sum(record.assigned == "candidate" for record in records)
    assert {record.served for record in records} == {"baseline"}
    assert (found.units, found.candidates) == (20, candidates)
    assert found.estimate == pytest.approx(-1.0, abs=1e-6)
