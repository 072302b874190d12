"""The one extra attempt before the first byte: who gets it, when, and when there is none."""

import asyncio
from time import perf_counter

import pytest

CALL = {"model": "copilot/draft", "user": "u", "messages": [{"role": "user", "content": "hi"}]}
OK_BODY = '{"id":"x","choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}'


@pytest.fixture
def in_turn(wire):
    """Make a script that gives these answers, one a request, over all its connections; the last one for ever."""

    def make(*answers: bytes):
        left = list(answers)

        async def script(peer) -> None:
            while True:
                script.requests.append((await peer.request(), perf_counter()))
                answer = left.pop(0) if len(left) > 1 else left[0]
                if not answer:
                    peer.reset()
                    return
                peer.send(answer)

        script.requests = []
        return script

    return make


def error(wire, status: str, *headers: str) -> bytes:
    return wire.plain('{"error":{"message":"no"}}', status, *headers)


@pytest.mark.parametrize("status", ["500 Oops", "502 Bad", "503 No", "529 Busy", ""])
async def test_an_upstream_without_a_stand_in_is_asked_once_more(
    upstream, relay_gateway, settled, wire, in_turn, status: str
) -> None:
    script = in_turn(error(wire, status) if status else b"", wire.plain(OK_BODY))
    server = await upstream(script)
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0)
    caller = await gateway.caller()
    caller.post(CALL)
    answer = await caller.answer()
    assert (answer.status, answer.headers["x-glidepath-attempts"]) == (200, "2")
    assert answer.headers["x-glidepath-arm"] == "baseline"
    (record,) = await settled(gateway)
    assert (record.outcome, record.attempts, record.failed_outcome) == ("ok", 2, "upstream_error")
    first, second = script.requests
    assert second[1] - first[1] >= 0.1
    assert first[0].headers["x-request-id"] == second[0].headers["x-request-id"]


@pytest.mark.parametrize("status", ["429 Slow down", "503 Later"])
async def test_the_wait_that_an_upstream_asks_for_is_kept(
    upstream, relay_gateway, settled, wire, in_turn, status: str
) -> None:
    script = in_turn(error(wire, status, "retry-after: 1"), wire.plain(OK_BODY))
    server = await upstream(script)
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0)
    caller = await gateway.caller()
    caller.post(CALL)
    assert (await caller.answer()).status == 200
    await settled(gateway)
    assert script.requests[1][1] - script.requests[0][1] >= 0.99


@pytest.mark.parametrize(
    ("headers", "settings", "call"),
    [
        (["retry-after: 9"], {}, []),
        ([], {}, []),
        (["retry-after: 1"], {}, ["x-glidepath-timeout-s: 0.9"]),
        (["retry-after: 1"], {}, ["x-stainless-retry-count: 1"]),
        (["retry-after: 1"], {"retry": {"budget_ratio": 0}}, []),
        (["retry-after: 1"], {"retry": {"enabled": False}}, []),
    ],
)
async def test_a_limit_is_told_when_waiting_for_it_is_not_ours(
    *, upstream, relay_gateway, settled, wire, in_turn, headers: list[str], settings: dict, call: list[str]
) -> None:
    script = in_turn(error(wire, "429 Slow down", *headers))
    server = await upstream(script)
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0, **settings)
    caller = await gateway.caller()
    caller.post(CALL, *call)
    answer = await caller.answer()
    assert answer.status == 429
    assert int(answer.headers["retry-after"]) == int(headers[0].split()[1] if headers else 1)
    (record,) = await settled(gateway)
    assert (record.attempts, record.failed_cause, len(script.requests)) == (1, "", 1)


async def test_another_endpoint_gets_the_extra_attempt(upstream, relay_gateway, settled, wire, in_turn) -> None:
    sick, well = in_turn(error(wire, "500 Oops")), in_turn(wire.plain(OK_BODY))
    servers = [await upstream(sick), await upstream(well)]
    urls = [f"http://127.0.0.1:{server.port}/v1" for server in servers]
    gateway = await relay_gateway(candidate=1, baseline=1, share=0, base_urls=urls)
    caller = await gateway.caller()
    for _ in range(4):
        caller.post(CALL)
        assert (await caller.answer()).status == 200
    records = await settled(gateway, 4)
    assert len(well.requests) == 4
    assert len(sick.requests) == sum(record.attempts == 2 for record in records)
    assert {record.endpoint for record in records} == {urls[1]}


async def test_a_storm_of_retries_is_bounded_by_the_budget(upstream, relay_gateway, settled, wire, in_turn) -> None:
    """Every request fails: beyond what was saved up, one in five may be sent again."""
    script = in_turn(error(wire, "500 Oops"))
    server = await upstream(script)
    gateway = await relay_gateway(
        candidate=1, baseline=server.port, share=0, breaker={"consecutive_failures": 1_000, "requests_min": 1_000}
    )
    callers = [await gateway.caller() for _ in range(20)]
    for _ in range(10):
        for caller in callers:
            caller.post(CALL)
        for caller in callers:
            assert (await caller.answer()).status == 502
    await settled(gateway, 200)
    assert 200 + 40 <= len(script.requests) <= 200 + 40 + 12


async def test_a_caller_that_goes_while_a_retry_waits_leaves_nothing(
    upstream, relay_gateway, settled, wire, in_turn, until
) -> None:
    script = in_turn(error(wire, "503 Later", "retry-after: 5"))
    server = await upstream(script)
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0)
    caller = await gateway.caller()
    caller.post(CALL)
    await until(lambda: script.requests and gateway.held[:3] == (1, 0, 0))
    await caller.close()
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause, record.attempts) == ("cancelled", "caller_gone", 1)
    assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("header", "kind"),
    [("x-glidepath-timeout-s: 2", "total_timeout"), ("x-glidepath-first-byte-timeout-s: 2", "first_byte_timeout")],
)
async def test_a_caller_may_ask_for_less_time(relay_gateway, settled, stalling, until, header: str, kind: str) -> None:
    server = await stalling("waiting")
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0)
    caller = await gateway.caller()
    caller.post(CALL, header)
    await until(lambda: server.requests)
    gateway.later(1.5)
    assert not gateway.records
    gateway.later(2.1)
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause) == ("timeout", kind)


async def test_a_wish_for_time_that_is_no_number_is_refused(relay_gateway, settled) -> None:
    gateway = await relay_gateway(candidate=1, baseline=1)
    caller = await gateway.caller()
    caller.post(CALL, "x-glidepath-timeout-s: soon")
    answer = await caller.answer()
    assert (answer.status, answer.error["param"]) == (400, "x-glidepath-timeout-s")
    assert (await settled(gateway))[0].outcome == "refused"


@pytest.mark.parametrize("phase", ["waiting", "body"])
async def test_what_is_under_way_when_the_gateway_must_end_is_told_so(
    relay_gateway, settled, stalling, until, wire, phase: str
) -> None:
    server = await stalling(phase)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post({**CALL, "stream": True})
    await until(lambda: server.requests)
    if phase == "body":
        assert (await caller.head())[0] == 200
        assert await caller.chunk() == wire.delta("begun")
    for exchange in list(gateway.relay.active):
        exchange.end_now()
    if phase == "body":
        assert b'"error"' in await caller.chunk()
        assert b"[DONE]" not in await caller.rest()
    else:
        answer = await caller.answer()
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "draining", "1")
    (record,) = await settled(gateway)
    assert record.cause == "draining"
    await asyncio.wait_for(until(lambda: not server.open), 20)


async def test_a_refusal_whose_text_is_cut_off_stays_a_refusal(upstream, relay_gateway, settled) -> None:
    async def cut(peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 400 Bad\r\ncontent-length: 100\r\n\r\n{")
        await peer.drained()
        peer.close()

    server = await upstream(cut)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(CALL)
    answer = await caller.answer()
    assert answer.status == 400
    assert "refused the request with status 400" in answer.error["message"]
    (record,) = await settled(gateway)
    assert (record.outcome, record.attempts, server.connections) == ("caller_error", 1, 1)
