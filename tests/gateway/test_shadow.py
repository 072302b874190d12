"""Shadow calls on real sockets: what is asked, what is handed over, and that nothing else notices.

Invariant 15 of the rollout: shadow calls never change an answer and are absent from what gates see.
"""

from __future__ import annotations

import asyncio
import json
from time import perf_counter

import pytest

from gateway.core.breaker import BreakerState
from gateway.core.shadowing import CallEnd, Skip
from gateway.metrics import Metrics
from gateway.pairs import PairQueue
from gateway.quotas import Quotas
from gateway.shadow import WAIT_MAX_S, WAITING_MAX, Shadows
from rollout.core.evaluate import compile_snapshot
from rollout.core.model import BUCKETS, FeatureFlag, Kill, Shadow, UnitKind
from rollout.core.quota import QuotaGrant, grant

CHAT = {"model": "copilot/draft", "user": "u", "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**CHAT, "stream": True}
ALL = Shadow(BUCKETS, "", 1_000, 8)
USAGE = {"prompt_tokens": 5, "completion_tokens": 2}


def said(text: str) -> str:
    return json.dumps({"choices": [{"index": 0, "message": {"content": text}}], "usage": USAGE})


class Windows:
    """A store of quotas in memory."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, int], int] = {}

    async def lease_quota(self, asks) -> list[QuotaGrant]:
        grants = []
        for ask in asks:
            grants.append(grant(self.used.get((ask.name, ask.window), 0), ask))
            self.used[ask.name, ask.window] = grants[-1].used
        return grants


class World:
    """A gateway whose feature has a shadow sample, and what has come of it."""

    def __init__(self, gateway, quotas: Quotas, sink) -> None:
        self.gateway, self.quotas, self.metrics = gateway, quotas, Metrics()
        relay = gateway.relay
        self.pairs = PairQueue()
        self.shadows = Shadows(
            snapshot=lambda: self.snapshot,
            upstreams=relay.upstreams,
            door=relay.door,
            metrics=self.metrics,
            sink=self.pairs if sink is None else sink,
        )
        relay.snapshot = lambda: self.snapshot
        relay.shadows = self.shadows

    def flag(self, shadow: Shadow = ALL, share: int = 0, **more: object) -> None:
        flag = FeatureFlag(
            feature="draft",
            candidate="inhouse",
            baseline="partner",
            revision=7,
            share_millipct=share,
            bucket_by=UnitKind.USER,
            shadow=shadow,
            **more,
        )
        self.snapshot = compile_snapshot({"draft": flag}, 1)
        self.gateway.relay.sweep(perf_counter())

    async def ask(self, body: object = CHAT, path: str = "/v1/chat/completions", *headers: str):
        caller = await self.gateway.caller()
        caller.post(body, *headers, path=path)
        return await caller.answer()

    async def turn(self, later_s: float = 0.0) -> None:
        """One turn of what goes on in the background."""
        await self.quotas.round()
        self.gateway.relay.sweep(perf_counter() + later_s)
        await asyncio.sleep(0.002)

    async def until(self, condition) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await self.turn()

    async def settled(self) -> None:
        await self.until(lambda: self.shadows.counts == (0, 0, 0, 0) and self.gateway.held == (0, 0, 0, 0))

    @property
    def ends(self) -> dict[tuple[str, str], int]:
        """Calls by arm and end."""
        return {(arm, end): int(n) for (_, arm, end), n in self.metrics.shadows.calls.series.items()}

    @property
    def skipped(self) -> dict[str, int]:
        return {reason: int(n) for (_, reason), n in self.metrics.shadows.skipped.series.items()}


@pytest.fixture
def world(relay_gateway):
    async def start(candidate: int, baseline: int, shadow: Shadow = ALL, share: int = 0, sink=None, **more) -> World:
        quotas = Quotas(Windows())
        # No time is up but that a test makes pass, however slow the machine.
        patient = {f"{which}_timeout_s": 600 for which in ("connect", "first_byte", "idle", "total", "queue")}
        gateway = await relay_gateway(candidate=candidate, baseline=baseline, quotas=quotas, **{**patient, **more})
        made = World(gateway, quotas, sink)
        made.flag(shadow, share)
        return made

    return start


@pytest.mark.parametrize("share", [0, BUCKETS])
async def test_the_other_arm_is_asked_the_same_and_the_pair_is_handed_over(upstream, world, wire, share: int) -> None:
    servers = {
        "candidate": await upstream(wire.plain(said("ours"))),
        "baseline": await upstream(wire.plain(said("theirs"))),
    }
    here = await world(servers["candidate"].port, servers["baseline"].port, share=share)
    assigned, other = ("candidate", "baseline") if share else ("baseline", "candidate")
    answer = await here.ask(CHAT, "/v1/chat/completions", "x-request-id: r-1")
    assert answer.json["choices"][0]["message"]["content"] == {"candidate": "ours", "baseline": "theirs"}[assigned]
    assert not servers[other].requests
    await here.until(lambda: len(here.pairs))
    await here.settled()
    pair = here.pairs.pop()
    assert (pair.request_id, pair.feature, pair.revision, pair.unit_kind, pair.unit) == ("r-1", "draft", 7, "user", "u")
    assert (pair.assigned.arm, pair.other.arm) == (assigned, other)
    assert {pair.assigned.arm: pair.assigned.text, pair.other.arm: pair.other.text} == {
        "candidate": "ours",
        "baseline": "theirs",
    }
    assert (pair.assigned.usage, pair.other.usage) == (pair.other.usage, pair.assigned.usage)
    assert (pair.assigned.usage.prompt_tokens, pair.operation, pair.stream) == (5, "chat", False)
    assert json.loads(pair.prompt) == CHAT
    assert min(pair.assigned.duration_s, pair.other.duration_s) > 0
    (copy,) = servers[other].requests
    assert copy.json == {**CHAT, "model": "moe-1" if other == "candidate" else "gpt-1"}
    assert copy.headers["x-request-id"] == "r-1-shadow"
    assert (here.ends, here.skipped) == ({(other, CallEnd.OK): 1}, {})
    assert [record.served for record in here.gateway.records] == [assigned]


async def test_a_stream_is_shadowed_by_a_stream(upstream, world, wire, stream_of) -> None:
    candidate, baseline = await upstream(stream_of("ou", "rs")), await upstream(stream_of("the", "irs"))
    here = await world(candidate.port, baseline.port)
    answer = await here.ask(STREAM)
    assert answer.body.count(b"content") == 2
    await here.until(lambda: len(here.pairs))
    pair = here.pairs.pop()
    assert (pair.stream, pair.assigned.text, pair.other.text) == (True, "theirs", "ours")
    assert pair.other.usage.completion_tokens == 2
    assert 0 < pair.other.ttft_s <= pair.other.duration_s
    assert candidate.requests[0].json["stream"] is True


async def test_arms_that_speak_different_languages_are_compared_in_the_callers(upstream, world, wire) -> None:
    message = {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "ours"}]}
    message |= {"model": "x", "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 1}}
    both = await upstream(wire.plain(json.dumps(message)))
    here = await world(both.port, both.port, kind="anthropic", base_urls=[f"http://127.0.0.1:{both.port}/v1"])
    assert (await here.ask()).status == 200
    await here.until(lambda: len(here.pairs))
    pair = here.pairs.pop()
    assert (pair.assigned.text, pair.other.text) == ("ours", "ours")
    assert "max_tokens" in both.requests[1].json


async def never(peer) -> None:
    await peer.request()
    await peer.request()


async def reset(peer) -> None:
    await peer.request()
    peer.reset()


def cut(wire):
    async def script(peer) -> None:
        await peer.request()
        peer.send(wire.stream_head + wire.chunk(wire.delta("begun")))
        peer.close()

    return script


def in_band(wire) -> bytes:
    return wire.stream_head + wire.chunk(wire.event({"error": {"message": "no"}})) + wire.stream_end


def endless(wire) -> bytes:
    return wire.stream_head + wire.chunk(b"data: " + b"x" * 5_000_000)


TROUBLES = {
    "answers with an error": (lambda wire: wire.plain("{}", "500 Internal Server Error"), CallEnd.STATUS),
    "wants less": (lambda wire: wire.plain("{}", "429 Too Many Requests"), CallEnd.STATUS),
    "redirects": (lambda wire: wire.plain("{}", "302 Found"), CallEnd.STATUS),
    "is a web page": (lambda wire: wire.plain("<html>"), CallEnd.UNREADABLE),
    "says nothing": (lambda wire: wire.plain(""), CallEnd.UNREADABLE),
    "is packed": (lambda wire: wire.plain("x", "200 OK", "content-encoding: br"), CallEnd.BROKEN),
    "is no HTTP": (lambda _: b"nonsense\r\n\r\n", CallEnd.BROKEN),
    "resets": (lambda _: reset, CallEnd.BROKEN),
    "breaks off": (cut, CallEnd.BROKEN),
    "fails in band": (in_band, CallEnd.BROKEN),
    "never ends an event": (endless, CallEnd.UNREADABLE),
    "is too long": (lambda wire: wire.plain(said("x" * 2_000_000)), CallEnd.TOO_LARGE),
}


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("streamed", [False, True])
async def test_whatever_the_other_arm_does_the_answer_is_the_same(
    upstream,
    world,
    wire,
    stream_of,
    trouble: str,
    streamed: bool,  # noqa: FBT001
) -> None:
    script, end = TROUBLES[trouble]
    baseline = await upstream(stream_of("the", "irs") if streamed else wire.plain(said("theirs")))
    candidate = await upstream(script(wire))
    here = await world(candidate.port, baseline.port, Shadow())
    body = STREAM if streamed else CHAT
    without = await here.ask(body, "/v1/chat/completions", "x-request-id: r-1")
    here.flag(ALL)
    for number in range(2, 9):
        answer = await here.ask(body, "/v1/chat/completions", f"x-request-id: r-{number}")
        assert (answer.body, answer.status, answer.whole) == (without.body, without.status, without.whole)
        assert {**answer.headers, "date": "", "x-request-id": ""} == {**without.headers, "date": "", "x-request-id": ""}
    await here.until(lambda: sum(here.ends.values()) == 7)
    await here.settled()
    assert here.ends == {("candidate", end): 7}
    assert len(here.pairs) == 0
    # Seven failures in a row would eject an endpoint: nothing of them is counted against it, or anywhere.
    (endpoint,) = here.gateway.relay.upstreams["inhouse"].endpoints
    assert endpoint.breaker.state is BreakerState.HEALTHY
    assert (endpoint.outstanding, endpoint.pool.counts) == (0, (0, 0, 0))
    assert [(record.served, record.outcome) for record in here.gateway.records] == [("baseline", "ok")] * 8


async def test_one_that_cannot_be_reached_costs_nothing_else(upstream, world, wire, unused_port: int) -> None:
    baseline = await upstream(wire.plain(said("theirs")))
    here = await world(unused_port, baseline.port)
    assert (await here.ask()).status == 200
    await here.until(lambda: here.ends)
    await here.settled()
    assert here.ends == {("candidate", CallEnd.UNREACHABLE): 1}


async def test_one_that_never_answers_is_given_up_in_time(upstream, world, wire) -> None:
    candidate, baseline = await upstream(never), await upstream(wire.plain(said("theirs")))
    here = await world(candidate.port, baseline.port, first_byte_timeout_s=30)
    await here.ask()
    await here.until(lambda: here.shadows.counts[2])
    await here.turn(later_s=29)
    assert here.shadows.counts[2] == 1
    await here.turn(later_s=31)
    assert here.ends == {("candidate", CallEnd.TIMEOUT): 1}
    await here.until(lambda: candidate.left)
    await here.settled()


async def test_a_kill_ends_what_waits_and_what_is_under_way(upstream, world, wire) -> None:
    candidate, baseline = await upstream(never), await upstream(wire.plain(said("theirs")))
    here = await world(candidate.port, baseline.port, Shadow(BUCKETS, "", 1_000, 1))
    await here.ask()
    await here.until(lambda: here.shadows.counts[2])
    await here.ask()
    here.flag(kill=Kill(on=True))
    assert (here.ends, here.skipped) == ({("candidate", CallEnd.CUT): 1}, {Skip.WITHDRAWN: 1})
    assert (await here.ask()).status == 200
    await here.settled()
    await here.until(lambda: candidate.left)
    assert (candidate.connections, len(baseline.requests)) == (1, 3)


async def test_a_caller_that_leaves_has_no_shadow(upstream, world, wire) -> None:
    async def begin(peer) -> None:
        await peer.request()
        peer.send(wire.stream_head + wire.chunk(wire.delta("begun")))
        await peer.gone()

    baseline, candidate = await upstream(begin), await upstream(never)
    here = await world(candidate.port, baseline.port)
    caller = await here.gateway.caller()
    caller.post(STREAM)
    await caller.head()
    assert here.shadows.counts[0] == 1
    await caller.close()
    await here.settled()
    assert (here.skipped, candidate.connections) == ({Skip.FAILED: 1}, 0)


async def test_what_the_other_arm_answered_in_place_of_the_candidate_is_no_pair(upstream, world, wire) -> None:
    candidate = await upstream(wire.plain("{}", "500 Internal Server Error"))
    baseline = await upstream(wire.plain(said("theirs")))
    here = await world(candidate.port, baseline.port, share=BUCKETS)
    assert (await here.ask()).headers["x-glidepath-arm"] == "baseline"
    await here.settled()
    assert (here.ends, len(candidate.requests)) == ({}, 1)


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
