"""Limits, places and residency on real sockets: who is let in, what is charged, what callers are told."""

import asyncio

import pytest

from gateway.core.admission.gate import Holder
from gateway.core.admission.limits import Limits
from gateway.quotas import Quotas
from rollout.core.quota import QuotaGrant, grant

CALL = {"model": "copilot/draft", "user": "u", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}
STREAMED = {**CALL, "stream": True}
OK_BODY = '{"id":"x","choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}'


class Store:
    """Quotas in memory, granted by the rule that all stores share."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, int], int] = {}

    async def lease_quota(self, asks) -> list[QuotaGrant]:
        grants = []
        for ask in asks:
            granted = grant(self.used.get((ask.name, ask.window), 0), ask)
            self.used[ask.name, ask.window] = granted.used
            grants.append(granted)
        return grants


@pytest.fixture
def limited(relay_gateway, wire):
    """Start a gateway whose only key has these limits, all of them leased already."""

    async def start(limits: Limits, **options: object):
        quotas = Quotas(Store())
        gateway = await relay_gateway(quotas=quotas, **options)
        key = gateway.relay.keyring.find({b"authorization": f"Bearer {wire.key}".encode()}, 0.0)
        quotas.admission.replace([Holder(key.key_id, key.tenant, limits)], lambda _: Limits())
        await quotas.prime()
        return gateway, quotas

    return start


async def test_a_rate_is_told_on_every_answer_and_refused_beyond(limited, upstream, wire, settled) -> None:
    server = await upstream(wire.plain(OK_BODY))
    gateway, quotas = await limited(Limits(requests_per_minute=3), candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    left, refused = [], None
    for _ in range(12):
        caller.post(CALL)
        answer = await caller.answer()
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert answer.headers["x-ratelimit-reset-requests"].endswith("s")
        left.append(int(answer.headers["x-ratelimit-remaining-requests"]))
        if answer.status == 429:
            refused = answer
        await quotas.round()
    assert refused is not None
    assert refused.error["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert left == sorted(left, reverse=True)
    assert left[-1] == 0
    assert len(server.requests) <= 3 + 1
    records = await settled(gateway, 12)
    assert {record.cause for record in records if record.attempts == 0} == {"rate_limit_exceeded"}


async def test_what_was_reserved_is_settled_with_what_was_used(limited, upstream, wire, settled) -> None:
    server = await upstream(wire.plain(OK_BODY))
    gateway, quotas = await limited(Limits(tokens_per_minute=100_000), candidate=server.port, baseline=server.port)
    await quotas.round()
    caller = await gateway.caller()
    caller.post(CALL)
    await caller.answer()
    await settled(gateway)
    (meter,) = next(iter(quotas.admission.subjects.values())).tokens
    assert meter.granted - meter.free == 7


async def test_a_slot_is_given_back_however_a_request_ends(limited, upstream, wire, settled, stalling) -> None:
    server = await stalling("body")
    gateway, _ = await limited(Limits(concurrent_max=1), candidate=server.port, baseline=server.port)
    for _ in range(5):
        caller = await gateway.caller()
        caller.post(STREAMED)
        assert (await caller.head())[0] == 200
        other = await gateway.caller()
        other.post(CALL)
        answer = await other.answer()
        assert (answer.status, answer.error["code"]) == (429, "too_many_concurrent_requests")
        await caller.close()
        async with asyncio.timeout(60):
            while gateway.held != (0, 0, 0, 0):  # noqa: ASYNC110  no event says so
                await asyncio.sleep(0.002)
    await settled(gateway, 10)


async def test_a_request_that_can_never_fit_is_told_so(limited, upstream, wire) -> None:
    server = await upstream(wire.plain(OK_BODY))
    gateway, _ = await limited(Limits(tokens_per_minute=50), candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post({**CALL, "max_tokens": 1_000})
    answer = await caller.answer()
    assert (answer.status, answer.headers["x-should-retry"]) == (429, "false")
    assert not server.requests


@pytest.fixture
def busy(relay_gateway, upstream, wire):
    """Start a gateway with one place, which a request holds until `free` is set."""

    async def start(free: asyncio.Event, **shedding: object):
        async def hold(peer) -> None:
            while True:
                server.requests.append(await peer.request())
                await free.wait()
                peer.send(wire.plain(OK_BODY))

        server = await upstream(hold)
        places = {"requests_max": 1, "queue_max": 2, "queue_wait_s": 30.0, **shedding}
        gateway = await relay_gateway(candidate=server.port, baseline=server.port, shedding=places)
        first = await gateway.caller()
        first.post({**CALL, "user": "first"})
        async with asyncio.timeout(60):
            while not server.requests:  # noqa: ASYNC110  no event says so
                await asyncio.sleep(0.002)
        return gateway, server, first

    return start


def users(server) -> list[object]:
    return [request.json["user"] for request in server.requests]


async def test_who_finds_no_place_waits_and_interactive_comes_before_batch(busy, settled, until) -> None:
    free = asyncio.Event()
    gateway, server, first = await busy(free)
    batch, interactive, one_too_many = [await gateway.caller() for _ in range(3)]
    batch.post({**CALL, "user": "batch"}, "x-glidepath-priority: batch")
    await until(lambda: len(gateway.relay.active) == 2)
    interactive.post({**CALL, "user": "interactive"})
    await until(lambda: len(gateway.relay.active) == 3)
    one_too_many.post({**CALL, "user": "late", "service_tier": "flex"})
    answer = await one_too_many.answer()
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (429, "overloaded", "30")
    free.set()
    for caller in (first, interactive, batch):
        assert (await caller.answer()).status == 200
    assert users(server) == ["first", "interactive", "batch"]
    await settled(gateway, 4)
    assert gateway.relay.door.shedding.under_way == 0


async def test_an_interactive_request_takes_the_place_of_a_batch_one_in_a_full_queue(busy, settled, until) -> None:
    free = asyncio.Event()
    gateway, server, first = await busy(free, queue_max=1)
    batch, interactive = await gateway.caller(), await gateway.caller()
    batch.post({**CALL, "user": "batch"}, "x-glidepath-priority: batch")
    await until(lambda: len(gateway.relay.active) == 2)
    interactive.post({**CALL, "user": "interactive"})
    assert (await batch.answer()).error["code"] == "overloaded"
    free.set()
    assert (await first.answer()).status == (await interactive.answer()).status == 200
    assert users(server) == ["first", "interactive"]
    await settled(gateway, 3)


async def test_who_has_waited_too_long_is_sent_away_and_who_leaves_holds_nothing(busy, settled, until) -> None:
    free = asyncio.Event()
    gateway, server, first = await busy(free)
    patient, gone = await gateway.caller(), await gateway.caller()
    patient.post({**CALL, "user": "patient"})
    gone.post({**CALL, "user": "gone"})
    await until(lambda: len(gateway.relay.active) == 3)
    await gone.close()
    await until(lambda: len(gateway.relay.active) == 2)
    gateway.later(31)
    assert (await patient.answer()).status == 429
    free.set()
    assert (await first.answer()).status == 200
    await settled(gateway, 3)
    assert users(server) == ["first"]
    assert gateway.relay.door.shedding.under_way == 0


async def test_a_chain_of_requests_that_fail_at_once_leaves_nothing(busy, settled, until) -> None:
    free = asyncio.Event()
    gateway, _, first = await busy(free, queue_max=200)
    callers = [await gateway.caller() for _ in range(200)]
    for caller in callers:
        caller.post({**CALL, "model": "copilot/draft"})
    await until(lambda: len(gateway.relay.active) == 201)
    gateway.relay.upstreams.clear()
    free.set()
    assert (await first.answer()).status == 200
    for caller in callers:
        assert (await caller.answer()).status == 503
    await settled(gateway, 201)
    assert gateway.relay.door.shedding.under_way == 0
