"""Shadow calls on real sockets: what is asked, what is handed over, and that nothing else notices.

Invariant 15 of the rollout: shadow calls never change an answer and are absent from what gates see.
"""

from __future__ import annotations

import json
from functools import partial

import pytest

from gateway.core.breaker import BreakerState
from gateway.core.shadowing import CallEnd, Skip
from rollout.core.model import BUCKETS, Kill, Shadow
from tests.gateway.shadows import ALL, CHAT, STREAM, never, said, start_world


@pytest.fixture
def world(relay_gateway):
    return partial(start_world, relay_gateway)


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
    assert here.told == {("draft", 7, other, True): 1}
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
    here = await world(both.port, both.port, kind="anthropic")
    assert (await here.ask()).status == 200
    await here.until(lambda: len(here.pairs))
    pair = here.pairs.pop()
    assert (pair.assigned.text, pair.other.text) == ("ours", "ours")
    assert "max_tokens" in both.requests[1].json


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
    assert here.told == {("draft", 7, "candidate", False): 7}
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
    await here.until(lambda: here.shadows.counts[2] and candidate.open)
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
    await here.until(lambda: here.shadows.counts[2] and candidate.open)
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


@pytest.mark.parametrize("body", ["<html>", '{"content":1}'])
async def test_what_cannot_be_translated_is_unreadable(upstream, world, wire, body: str) -> None:
    good = {"id": "m", "type": "message", "role": "assistant", "content": [], "model": "x", "stop_reason": "end_turn"}
    message = wire.plain(json.dumps({**good, "usage": {"input_tokens": 3, "output_tokens": 1}}))
    baseline, candidate = await upstream(message), await upstream(wire.plain(body))
    here = await world(candidate.port, baseline.port, kind="anthropic")
    assert (await here.ask()).status == 200
    await here.settled()
    assert here.ends == {("candidate", CallEnd.UNREADABLE): 1}
