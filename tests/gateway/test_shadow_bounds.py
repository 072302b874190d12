"""What shadow calls may take, on real sockets: limits, memory, other people's turn, faults of their own."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from functools import partial
from time import perf_counter

import pytest

from gateway import shadow
from gateway.core.breaker import BreakerState
from gateway.core.shadowing import CallEnd, Skip
from gateway.pairs import PairQueue
from gateway.shadow import WAIT_MAX_S, WAITING_MAX
from rollout.core.model import BUCKETS, Shadow
from tests.gateway.shadows import CHAT, STREAM, never, said, start_world


@pytest.fixture
def world(relay_gateway):
    return partial(start_world, relay_gateway)


async def test_no_more_calls_than_the_days_budget(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port, Shadow(BUCKETS, "", 3, 8))
    for _ in range(10):
        assert (await here.ask()).status == 200
        await here.settled()
    assert here.ends == {("candidate", CallEnd.OK): 3}
    assert here.skipped == {Skip.BUDGET: 7}
    assert len(both.requests) == 13


async def test_no_more_calls_at_once_than_allowed_and_the_others_wait(upstream, world, wire) -> None:
    busiest = 0

    async def slowly(peer) -> None:
        nonlocal busiest
        await peer.request()
        busiest = max(busiest, candidate.open)
        await asyncio.sleep(0.01)
        peer.send(wire.plain(said("ours"), "200 OK", "connection: close"))
        peer.close()

    candidate, baseline = await upstream(slowly), await upstream(wire.plain(said("theirs")))
    here = await world(candidate.port, baseline.port, Shadow(BUCKETS, "", 1_000, 2))
    for _ in range(8):
        await here.ask()
    await here.until(lambda: len(here.pairs) == 8)
    await here.settled()
    assert busiest <= 2


async def test_while_the_gateway_is_full_a_shadow_waits_and_then_gives_way(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port, shedding={"requests_max": 1})
    await here.ask()
    shedding = here.gateway.relay.door.shedding
    assert shedding.take_place()
    for _ in range(20):
        await here.turn()
    assert (here.shadows.counts[1], len(both.requests)) == (1, 1)
    await here.turn(later_s=WAIT_MAX_S + 1)
    assert here.skipped == {Skip.BUSY: 1}
    shedding.release(0.0)
    await here.settled()


async def test_an_endpoint_in_doubt_is_left_alone(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port)
    (endpoint,) = here.gateway.relay.upstreams["inhouse"].endpoints
    for _ in range(5):
        endpoint.breaker.on_failure(perf_counter(), endpoint.breaker.on_sent(perf_counter()))
    await here.ask()
    await here.turn(later_s=WAIT_MAX_S + 1)
    assert (here.skipped, endpoint.breaker.state) == ({Skip.UNHEALTHY: 1}, BreakerState.EJECTED)
    assert here.told == {("draft", 7, "candidate", False): 1}
    await here.settled()


async def test_a_tenants_data_goes_to_no_region_it_does_not_allow(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port)
    await here.ask()
    # Requests of a tenant that may reach one arm only are not drawn at all; this one was sampled before.
    tenants = here.gateway.relay.door.tenants
    tenants._unlisted = tenants._unlisted._replace(reach=frozenset({"partner"}))
    await here.settled()
    assert (here.skipped, len(both.requests)) == ({Skip.RESIDENCY: 1}, 1)


@pytest.mark.parametrize("when", ["waiting", "under way", "before"])
async def test_draining_begins_nothing_and_ends_what_there_is(upstream, world, wire, when: str) -> None:
    candidate, baseline = await upstream(never), await upstream(wire.plain(said("theirs")))
    here = await world(candidate.port, baseline.port)
    if when != "before":
        await here.ask()
    if when == "under way":
        await here.until(lambda: here.shadows.counts[2])
    here.gateway.relay.end_shadows()
    assert here.shadows.counts == (0, 0, 0, 0)
    assert (await here.ask()).status == 200
    await here.settled()
    expected = {
        "waiting": ({}, {Skip.DRAINING: 1}),
        "under way": ({("candidate", CallEnd.CUT): 1}, {}),
        "before": ({}, {}),
    }
    assert (here.ends, here.skipped) == expected[when]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_long_answer_is_passed_on_and_not_shadowed(upstream, world, wire, stream_of, streamed) -> None:
    long = {False: wire.plain(said("x" * 3_000_000)), True: stream_of(*["y" * 100_000] * 20)}[streamed]
    baseline, candidate = await upstream(long), await upstream(never)
    here = await world(candidate.port, baseline.port)
    answer = await here.ask(STREAM if streamed else CHAT)
    assert (len(answer.body) > 2_000_000, answer.whole) == (True, True)
    await here.settled()
    assert (here.skipped, candidate.connections) == ({Skip.TOO_LARGE: 1}, 0)


async def test_all_samples_together_hold_no_more_than_there_is_room_for(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("x" * 10_000)))
    here = await world(both.port, both.port)
    here.shadows._room.bytes_max = 25_000
    for _ in range(5):
        await here.ask()
    assert here.shadows.counts[1] == 2
    assert 20_000 < here.shadows.counts[3] <= 25_000
    await here.settled()
    assert (here.ends, here.skipped) == ({("candidate", CallEnd.OK): 2}, {Skip.TOO_LARGE: 3})


async def test_an_answer_nobody_can_read_is_not_shadowed(upstream, world, wire) -> None:
    baseline, candidate = await upstream(wire.plain("[1]")), await upstream(never)
    here = await world(candidate.port, baseline.port)
    assert (await here.ask()).body == b"[1]"
    await here.settled()
    assert (here.skipped, candidate.connections) == ({Skip.UNREADABLE: 1}, 0)


async def test_no_more_than_so_many_wait(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port)
    caller = await here.gateway.caller()
    for _ in range(WAITING_MAX + 3):
        caller.post(CHAT)
        assert (await caller.answer()).status == 200
    assert (here.shadows.counts[1], here.skipped) == (WAITING_MAX, {Skip.CROWDED: 3})
    await here.turn(later_s=WAIT_MAX_S + 1)
    await here.settled()


class Careless:
    """A sink that fails."""

    def take(self, pair: object) -> int:
        raise OSError("no")


async def test_a_sink_that_fails_costs_the_pair_only(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port, sink=Careless())
    for _ in range(2):
        assert (await here.ask()).status == 200
        await here.settled()
    assert here.ends == {("candidate", CallEnd.OK): 2}


async def test_pairs_that_are_lost_are_counted(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port, sink=PairQueue(count_max=1))
    for _ in range(3):
        await here.ask()
        await here.settled()
    assert here.metrics.shadows.pairs_lost.series == {(): 2.0}
    assert here.metrics.shadows.pairs.series == {("draft",): 3.0}


async def test_who_is_not_in_the_sample_is_not_copied(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port, Shadow(1, "", 1_000, 8))
    await here.ask()
    assert here.shadows.counts == (0, 0, 0, 0)
    await here.settled()
    assert len(both.requests) == 1


async def test_a_store_without_an_answer_gives_no_shadow(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port)
    await here.ask()
    for late_s in (0.0, 1.0, WAIT_MAX_S + 1):
        here.gateway.relay.sweep(perf_counter() + late_s)
    assert (here.skipped, len(both.requests)) == ({Skip.UNCONFIRMED: 1}, 1)
    await here.settled()


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("_advance", ({("candidate", CallEnd.OK): 1}, {})),
        ("offer", ({}, {Skip.FAILED: 1})),
        ("_why_not", ({}, {Skip.DEFECT: 1})),
    ],
)
async def test_a_fault_of_its_own_costs_no_sweep_and_no_answer(
    upstream, world, wire, monkeypatch, caplog, what: str, expected
) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port)

    def fail(*_: object) -> None:
        raise ValueError("a defect")

    with monkeypatch.context() as patch:
        patch.setattr(here.shadows, what, fail)
        assert (await here.ask()).status == 200
        here.gateway.relay.sweep(perf_counter())
    assert "shadow" in caplog.text
    await here.settled()
    assert (here.ends, here.skipped) == expected


async def test_a_shadow_begins_when_the_answer_has_left(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("x" * 400_000)))
    here = await world(both.port, both.port)
    caller = await here.gateway.caller()
    caller.writer.transport.pause_reading()
    transport = here.gateway.connections[0].transport
    server = transport.get_extra_info("socket")
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    for _ in range(3):
        caller.post(CHAT)
    await here.until(lambda: here.shadows.counts[1] and transport.get_write_buffer_size())
    for _ in range(10):
        await here.turn()
    assert here.shadows.counts[2] == 0
    assert all("shadow" not in request.headers["x-request-id"] for request in both.requests)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1_048_576)
    caller.writer.transport.resume_reading()
    for _ in range(3):
        assert (await caller.answer()).whole
    await here.settled()
    assert (here.ends, here.skipped) == ({("candidate", CallEnd.OK): 3}, {})


async def test_a_call_whose_place_was_not_renewed_is_cut(upstream, world, wire) -> None:
    candidate, baseline = await upstream(never), await upstream(wire.plain(said("theirs")))
    here = await world(candidate.port, baseline.port)
    await here.ask()
    await here.until(lambda: here.shadows.counts[2])
    here.shadows._clock = lambda: time.time() + 20
    here.gateway.relay.sweep(perf_counter())
    assert here.ends == {("candidate", CallEnd.CUT): 1}
    await here.settled()


async def test_changed_limits_hold_for_what_begins_then(upstream, world, wire) -> None:
    both = await upstream(wire.plain(said("same")))
    here = await world(both.port, both.port)
    await here.ask()
    await here.settled()
    here.flag(Shadow(BUCKETS, "", 2, 1))
    for _ in range(4):
        await here.ask()
        await here.settled()
    assert sum(here.ends.values()) <= 2
    assert here.skipped[Skip.BUDGET] >= 2


async def test_no_more_than_so_many_calls_at_once_in_one_worker(upstream, world, wire, monkeypatch) -> None:
    monkeypatch.setattr(shadow, "CALLS_MAX", 1)
    candidate, baseline = await upstream(never), await upstream(wire.plain(said("theirs")))
    here = await world(candidate.port, baseline.port)
    for _ in range(2):
        await here.ask()
    await here.until(lambda: here.shadows.counts[2] and candidate.open)
    await here.turn(later_s=WAIT_MAX_S + 1)
    assert (here.skipped, candidate.connections) == ({Skip.CONCURRENCY: 1}, 1)
    here.gateway.relay.end_shadows()
    await here.settled()


@pytest.mark.parametrize(
    ("more", "path", "why"),
    [
        ({"previous_response_id": "resp_1"}, "/v1/responses", Skip.CONTINUED),
        ({"tools": [{"type": "mcp"}]}, "/v1/responses", Skip.SIDE_EFFECTS),
    ],
)
async def test_what_must_not_be_repeated_is_not(upstream, world, wire, more, path: str, why: Skip) -> None:
    both = await upstream(wire.plain('{"id":"resp_2","output":[]}'))
    here = await world(both.port, both.port)
    assert (await here.ask({"model": "copilot/draft", "user": "u", "input": "hi", **more}, path)).status == 200
    await here.settled()
    assert len(both.requests) == 1
    # What continues a response is not drawn at all.
    assert here.skipped == ({} if why is Skip.CONTINUED else {why: 1})


async def test_a_response_is_not_stored_twice(upstream, world, wire) -> None:
    text = {"type": "message", "content": [{"type": "output_text", "text": "hej"}]}
    both = await upstream(wire.plain(json.dumps({"id": "resp_2", "output": [text]})))
    here = await world(both.port, both.port)
    answer = await here.ask({"model": "copilot/draft", "user": "u", "input": "hi"}, "/v1/responses")
    await here.settled()
    assert "gp.partner" in answer.json["id"]
    assert [request.json.get("store") for request in both.requests] == [None, False]
    assert here.pairs.pop().assigned.text == "hej"


async def test_an_arm_that_has_no_such_operation_costs_no_budget(upstream, world, wire) -> None:
    both = await upstream(wire.plain(json.dumps({"choices": [{"text": "hej"}]})))
    here = await world(both.port, both.port, Shadow(BUCKETS, "", 1, 1))
    here.gateway.relay.upstreams["inhouse"].kind = "anthropic"
    for _ in range(3):
        assert (
            await here.ask({"model": "copilot/draft", "user": "u", "prompt": "hi"}, "/v1/completions")
        ).status == 200
        await here.settled()
    assert (here.skipped, len(both.requests)) == ({Skip.UNSUPPORTED: 3}, 3)
    assert here.told == {("draft", 7, "candidate", False): 3}
