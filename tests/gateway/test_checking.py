"""Answers on real sockets, looked at after they left: what is found, for whom, and that nothing else notices."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest

from gateway import checking as module
from gateway.checking import Checking
from gateway.core.checks.sampling import CheckedAnswer, CheckSample, Unchecked, in_check_sample
from gateway.core.shadowing import PROMPT_MAX_BYTES
from rollout.core.model import BUCKETS
from tests.gateway.shadows import CHAT, STREAM, said, start_world

REFUSAL = "I'm sorry, but I can't help with that."


class Looked:
    """What a gateway's checking has found; `turn` is one sweep."""

    def __init__(self, gateway, millipct: int = BUCKETS, *, every_feature: bool = True) -> None:
        self.found: list[CheckedAnswer] = []
        self.skipped: list[tuple[str, str]] = []
        self.gateway = gateway
        self.sampled = CheckSample(millipct)
        self.now_s = 7.0
        self.checking = Checking(
            self.sampled,
            snapshot=gateway.relay.snapshot,
            found=self.found.append,
            skipped=lambda feature, why: self.skipped.append((feature, why)),
            clock=lambda: self.now_s,
            every_feature=every_feature,
        )
        gateway.relay.checking = self.checking
        self.turn()

    def turn(self) -> None:
        self.gateway.relay.sweep(perf_counter())

    async def ask(self, body: object = CHAT, *headers: str):
        caller = await self.gateway.caller()
        caller.post(body, *headers)
        return await caller.answer()

    async def waiting(self, count: int) -> None:
        """Answers may have left before their requests are settled."""
        async with asyncio.timeout(60):
            while self.checking.counts[1] < count:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.002)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.found) + len(self.skipped) < count:
                self.turn()
                await asyncio.sleep(0.002)
        assert self.checking.counts == (0, 0, 0)


@pytest.mark.parametrize("share", [0, BUCKETS])
async def test_an_answer_is_checked_for_its_arm(upstream, relay_gateway, wire, share: int) -> None:
    server = await upstream(wire.plain(said(REFUSAL)))
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port, share=share))
    answer = await looked.ask(CHAT, "x-request-id: r-1")
    assert answer.json["choices"][0]["message"]["content"] == REFUSAL
    await looked.until(1)
    (one,) = looked.found
    assert (one.request_id, one.at_s, one.feature, one.revision) == ("r-1", 7.0, "draft", 7)
    assert one.assigned == ("candidate" if share else "baseline")
    assert one.checks.faults == ("refusal",)
    assert not looked.skipped


async def test_a_stream_is_checked_as_its_reader_saw_it(upstream, relay_gateway, stream_of) -> None:
    server = await upstream(stream_of("I can't ", "help with", " that."))
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port))
    assert (await looked.ask(STREAM)).body.count(b"content") == 3
    await looked.until(1)
    assert looked.found[0].checks.refusal


async def test_whoever_answers_it_counts_for_the_assigned_arm(upstream, relay_gateway, wire) -> None:
    broken, server = await upstream(wire.plain("{}", status="500 x")), await upstream(wire.plain(said("")))
    looked = Looked(await relay_gateway(candidate=broken.port, baseline=server.port))
    answer = await looked.ask()
    assert answer.headers["x-glidepath-arm"] == "baseline"
    await looked.until(1)
    assert (looked.found[0].assigned, looked.found[0].checks.empty) == ("candidate", True)


async def test_a_feature_that_asks_for_nothing_passes_as_without_checks(upstream, relay_gateway, wire) -> None:
    server = await upstream(wire.plain(said("fine")))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    looked = Looked(gateway, every_feature=False)
    assert not gateway.relay.sampled
    await looked.ask()
    looked.turn()
    assert (looked.found, looked.skipped, looked.checking.counts) == ([], [], (0, 0, 0))


async def test_outside_the_sample_nothing_is_kept(upstream, relay_gateway, wire) -> None:
    server = await upstream(wire.plain(said("fine")))
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port), millipct=0)
    await looked.ask()
    looked.turn()
    assert (looked.found, looked.skipped, looked.checking.counts) == ([], [], (0, 0, 0))


async def test_a_shadow_sample_beside_it_sees_the_same_answer(upstream, relay_gateway, wire) -> None:
    candidate, baseline = await upstream(wire.plain(said("ours"))), await upstream(wire.plain(said("theirs")))
    world = await start_world(relay_gateway, candidate.port, baseline.port)
    looked = Looked(world.gateway)
    await world.ask(CHAT, "/v1/chat/completions", "x-request-id: r-1")
    await world.until(lambda: len(world.pairs) and looked.found)
    await world.settled()
    pair = world.pairs.pop()
    assert (pair.request_id, pair.assigned.text, pair.other.text) == ("r-1", "theirs", "ours")
    assert [each.request_id for each in looked.found] == ["r-1"]
    assert looked.checking.counts == (0, 0, 0)


@pytest.mark.parametrize(
    ("body", "reply", "why"),
    [
        (CHAT, '{"choices": 7}', Unchecked.UNREADABLE),
        ({**CHAT, "x": "y" * PROMPT_MAX_BYTES}, said("fine"), Unchecked.TOO_LARGE),
        (CHAT, said("x" * 600_000), Unchecked.TOO_LARGE),
    ],
    ids=["unreadable", "prompt", "answer"],
)
async def test_what_is_not_checked_is_counted(upstream, relay_gateway, wire, body, reply, why) -> None:
    server = await upstream(wire.plain(reply))
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port))
    assert (await looked.ask(body)).body == reply.encode()
    await looked.until(1)
    assert looked.skipped == [("draft", why)]


async def test_a_defect_costs_one_answer(upstream, relay_gateway, wire, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await upstream(wire.plain(said("fine")))
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port))
    with monkeypatch.context() as broken:
        broken.setattr(module, "check", lambda *_: 1 / 0)
        await looked.ask()
        await looked.until(1)
    await looked.ask()
    await looked.until(2)
    assert (looked.skipped, len(looked.found)) == ([("draft", Unchecked.DEFECT)], 1)


async def test_where_too_many_wait_the_sample_is_thinned(
    upstream, relay_gateway, wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 4)
    server = await upstream(wire.plain(said("fine")))
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port))
    for number in range(12):
        await looked.ask(CHAT, f"x-request-id: early-{number}")
    assert looked.sampled.millipct == BUCKETS // 2
    assert looked.skipped == [("draft", Unchecked.CROWDED)] * 8
    await looked.until(12)
    looked.now_s += 2.0
    named = [f"req-{number}" for number in range(40)]
    for each in named:
        await looked.ask(CHAT, f"x-request-id: {each}")
        looked.turn()
    await looked.until(8 + looked.checking.counts[1])
    stays = {each for each in named if in_check_sample(each, BUCKETS // 2)}
    assert {each.request_id for each in looked.found if each.request_id in named} == stays


async def test_a_sample_grows_back_when_few_come_and_not_before(
    upstream, relay_gateway, wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 4)
    server = await upstream(wire.plain(said("fine")))
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port))
    for _ in range(5):
        await looked.ask()
    await looked.until(5)
    grown_s = []
    for tenths in range(3_000):
        before, looked.now_s = looked.sampled.millipct, 8.0 + tenths / 10
        looked.turn()
        grown_s += [looked.now_s] if looked.sampled.millipct > before else []
    assert looked.sampled.millipct == BUCKETS
    assert [190.0 < each < 230.0 for each in grown_s] == [True]


async def test_a_sample_that_only_just_fits_stays_as_it_is(
    upstream, relay_gateway, wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 4)
    monkeypatch.setattr(module, "ANSWERS_AT_ONCE", 1)
    server = await upstream(wire.plain(said("fine")))
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port))
    for _ in range(5):
        await looked.ask()
    await looked.until(5)
    monkeypatch.setattr(looked.checking, "_look_at_some", lambda: 0.5)
    for tenths in range(6_000):
        looked.now_s = 8.0 + tenths / 10
        looked.turn()
    assert looked.sampled.millipct == BUCKETS // 2


async def test_a_sweep_looks_at_a_few(upstream, relay_gateway, wire, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await upstream(wire.plain(said("fine")))
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port))
    for _ in range(module.ANSWERS_AT_ONCE + 2):
        await looked.ask()
    await looked.waiting(module.ANSWERS_AT_ONCE + 2)
    looked.turn()
    assert (len(looked.found), looked.checking.counts[1]) == (module.ANSWERS_AT_ONCE, 2)
    monkeypatch.setattr(module, "BYTES_AT_ONCE", 1)
    looked.turn()
    assert looked.checking.counts[1] == 1
    await looked.until(module.ANSWERS_AT_ONCE + 2)


async def test_a_gateway_that_ends_looks_at_nothing_more(upstream, relay_gateway, wire) -> None:
    server = await upstream(wire.plain(said("fine")))
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port))
    await looked.ask()
    await looked.waiting(1)
    looked.gateway.relay.end_shadows()
    assert (looked.skipped, looked.checking.counts) == ([("draft", Unchecked.DRAINING)], (0, 0, 0))
    looked.turn()
    await looked.ask()
    assert (looked.found, len(looked.skipped), looked.gateway.relay.sampled) == ([], 1, {})


async def test_who_leaves_leaves_nothing_behind(stalling, relay_gateway, until) -> None:
    server = await stalling("body")
    looked = Looked(await relay_gateway(candidate=server.port, baseline=server.port))
    caller = await looked.gateway.caller()
    caller.post(STREAM)
    await until(lambda: looked.checking.counts[0])
    caller.reset()
    await looked.until(1)
    assert looked.skipped == [("draft", Unchecked.FAILED)]
