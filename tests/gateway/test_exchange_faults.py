"""A defect of the gateway's own, wherever it shows: the one request gets a 500, and everything is given back."""

import asyncio

import pytest

CALL = {"model": "copilot/draft", "user": "u", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**CALL, "stream": True}
OK_BODY = '{"id":"x","choices":[{"message":{"content":"hello"}}]}'


def broken() -> float:
    raise ZeroDivisionError("a defect")


class Broken(dict[str, object]):
    """A table that can't be read any more."""

    def get(self, *_: object) -> object:
        raise ZeroDivisionError("a defect")


async def fault_of(gateway, settled, caller) -> None:
    answer = await caller.answer()
    assert (answer.status, answer.error["code"], answer.headers["connection"]) == (500, "internal_error", "close")
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause, record.status) == ("refused", "internal_error", 500)
    assert gateway.relay.door.shedding.under_way == 0


@pytest.mark.parametrize("how", ["an answer", "a break"])
async def test_a_defect_when_an_attempt_has_ended(upstream, relay_gateway, settled, wire, how: str) -> None:
    async def reset(peer) -> None:
        await peer.request()
        peer.reset()

    server = await upstream(wire.plain("{}", "500 Oops") if how == "an answer" else reset)
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0)
    gateway.relay.draw = broken
    caller = await gateway.caller()
    caller.post(CALL)
    await fault_of(gateway, settled, caller)


async def test_a_defect_costs_nobody_the_connection_that_both_used(upstream, relay_gateway, settled, wire) -> None:
    """The connection is the next request's when the defect shows."""
    server = await upstream(wire.plain("{}", "500 Oops"))
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0)
    gateway.relay.draw = broken
    for number in (1, 2):
        caller = await gateway.caller()
        caller.post(CALL)
        assert (await caller.answer()).status == 500
        assert len(await settled(gateway, number)) == number
    assert (server.connections, len(server.requests)) == (1, 2)


async def test_a_defect_after_the_wait_for_another_attempt(upstream, relay_gateway, settled, wire, until) -> None:
    server = await upstream(wire.plain("{}", "500 Oops"))
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0)
    caller = await gateway.caller()
    caller.post(CALL)
    await until(lambda: server.requests)
    gateway.relay.upstreams = Broken(gateway.relay.upstreams)
    await fault_of(gateway, settled, caller)


async def test_a_defect_of_one_who_waited_stops_nobody_behind_it(stalling, relay_gateway, settled, until) -> None:
    server = await stalling("first byte")
    gateway = await relay_gateway(
        candidate=1, baseline=server.port, share=0, shedding={"requests_max": 1, "queue_max": 2}
    )
    first, *others = [await gateway.caller() for _ in range(3)]
    first.post(CALL)
    await until(lambda: server.requests)
    for caller in others:
        caller.post(CALL)
    await until(lambda: len(gateway.relay.active) == 3)
    gateway.relay.upstreams = Broken(gateway.relay.upstreams)
    await first.close()
    for caller in others:
        assert (await caller.answer()).status == 500
    records = await settled(gateway, 3)
    assert [record.cause for record in records] == ["caller_gone", "internal_error", "internal_error"]
    assert gateway.relay.door.shedding.under_way == 0


async def test_a_defect_inside_a_begun_stream_is_no_clean_end(upstream, relay_gateway, settled, wire) -> None:
    async def stream(peer) -> None:
        await peer.request()
        peer.send(wire.stream_head + wire.chunk(wire.delta("a")))
        await more.wait()
        peer.send(wire.chunk(wire.delta("b")))
        await peer.gone()

    more = asyncio.Event()
    server = await upstream(stream)
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0)
    caller = await gateway.caller()
    caller.post(STREAMED)
    await caller.head()
    assert await caller.chunk() == wire.delta("a")
    (exchange,) = gateway.relay.active
    exchange._delivery._view = None  # what a defect in the view would look like
    more.set()
    assert await caller.rest() == b""
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause) == ("truncated", "internal_error")


async def test_a_record_that_nobody_takes_holds_no_place(upstream, relay_gateway, wire, until) -> None:
    def refuse(_: object) -> None:
        raise ZeroDivisionError("a defect")

    server = await upstream(wire.plain(OK_BODY))
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0, record=refuse)
    caller = await gateway.caller()
    caller.post(CALL)
    assert (await caller.answer()).status == 200
    await until(lambda: gateway.held == (0, 0, 0, 0))
    assert gateway.relay.door.shedding.under_way == 0


async def test_who_waits_is_not_started_by_the_end_of_all(stalling, relay_gateway, settled, until) -> None:
    server = await stalling("first byte")
    gateway = await relay_gateway(
        candidate=1, baseline=server.port, share=0, shedding={"requests_max": 1, "queue_max": 20}
    )
    callers = [await gateway.caller() for _ in range(10)]
    for caller in callers:
        caller.post(CALL)
    await until(lambda: len(gateway.relay.active) == 10 and server.requests)
    gateway.relay.end_now()
    for caller in callers:
        answer = await caller.answer()
        assert (answer.status, answer.error["code"]) == (503, "draining")
    records = await settled(gateway, 10)
    assert sorted(record.attempts for record in records) == [0] * 9 + [1]
    assert gateway.relay.door.shedding.under_way == 0


async def test_whoever_waited_past_its_own_deadline_costs_the_upstream_nothing(
    stalling, relay_gateway, settled, until
) -> None:
    server = await stalling("first byte")
    gateway = await relay_gateway(
        candidate=1, baseline=server.port, share=0, shedding={"requests_max": 1, "queue_max": 2, "queue_wait_s": 60}
    )
    first, hurried = await gateway.caller(), await gateway.caller()
    first.post(CALL)
    await until(lambda: server.requests)
    hurried.post(CALL, "x-glidepath-timeout-s: 0.000001")
    await until(lambda: len(gateway.relay.active) == 2)
    gateway.later(0)
    await first.close()
    await until(lambda: len(server.requests) == 2 or len(gateway.records) == 2)
    gateway.later(0)
    assert (await hurried.answer()).status == 504
    records = await settled(gateway, 2)
    assert [record.attempts for record in records if record.cause != "caller_gone"] == [0]
