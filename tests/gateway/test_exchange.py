"""Every way a relayed request ends: what the caller gets, what the upstream sees, what is given back and recorded."""

import asyncio
import random
from contextlib import suppress

import pytest

CALL = {"model": "copilot/draft", "user": "u", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**CALL, "stream": True}
OK_BODY = '{"id":"x","choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}'
USAGE = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


@pytest.fixture
def settled(until):
    """Wait until all is given back, and give the Records: one for each request."""

    async def wait(gateway, count: int = 1) -> list:
        await until(lambda: len(gateway.records) >= count and gateway.held == (0, 0, 0, 0))
        assert len(gateway.records) == count
        assert len({record.request_id for record in gateway.records}) == count
        return gateway.records

    return wait


@pytest.fixture
def stream_of(wire):
    """The bytes of a whole streamed answer."""

    def make(*texts: str, usage: bool = True, done: bool = True) -> bytes:
        events = [wire.delta(text) for text in texts] + [wire.event(FINISH)]
        events += [wire.event(USAGE)] * usage + [wire.event(b"[DONE]")] * done
        return wire.stream_head + b"".join(wire.chunk(each) for each in events) + wire.stream_end

    return make


def served_by(answer) -> tuple[str, str, str]:
    return tuple(answer.headers[f"x-glidepath-{name}"] for name in ("assigned", "arm", "attempts"))


async def test_a_plain_answer_passes_untouched(upstream, relay_gateway, settled, wire, unused_port: int) -> None:
    server = await upstream(wire.plain(OK_BODY, "200 OK", "set-cookie: a=b", "server: x"))
    gateway = await relay_gateway(candidate=server.port, baseline=unused_port)
    caller = await gateway.caller()
    caller.post(CALL, "X-Request-Id: mine-1", "traceparent: 00-a-b-01", "x-stainless-retry-count: 2")
    answer = await caller.answer()
    assert (answer.status, answer.body) == (200, OK_BODY.encode())
    headers = {name: value for name, value in answer.headers.items() if name.startswith("x-")}
    assert headers == {
        "x-request-id": "mine-1",
        "x-glidepath-feature": "draft",
        "x-glidepath-arm": "candidate",
        "x-glidepath-assigned": "candidate",
        "x-glidepath-model": "moe-1",
        "x-glidepath-flag-version": "7",
        "x-glidepath-reason": "split",
        "x-glidepath-attempts": "1",
    }
    assert "set-cookie" not in answer.headers
    (record,) = await settled(gateway)
    assert (record.outcome, record.status, record.served, record.attempts, record.cause) == (
        "ok",
        200,
        "candidate",
        1,
        "",
    )
    assert (record.prompt_tokens, record.completion_tokens, record.client_retries) == (5, 2, 2)
    assert (record.request_id, record.tenant, record.upstream, record.stream) == ("mine-1", "default", "inhouse", False)
    assert 0 < record.sent_s < record.duration_s


async def test_the_upstream_gets_its_model_its_key_and_nothing_of_the_callers(
    upstream, relay_gateway, wire, unused_port: int
) -> None:
    server = await upstream(wire.plain(OK_BODY))
    caller = await (await relay_gateway(candidate=server.port, baseline=unused_port)).caller()
    caller.post(CALL, "X-Request-Id: mine-1", "traceparent: 00-a-b-01", "cookie: c", path="/v1/completions")
    await caller.answer()
    (request,) = server.requests
    assert request.line == "POST /v1/completions HTTP/1.1"
    assert request.json == {**CALL, "model": "moe-1"}
    assert request.headers["authorization"] == "Bearer sk-inhouse"
    assert request.headers["x-request-id"] == "mine-1"
    assert request.headers["traceparent"] == "00-a-b-01"
    assert "cookie" not in request.headers


@pytest.mark.parametrize("wanted", [False, True])
async def test_a_stream_passes_untouched_but_for_usage_nobody_asked_for(
    *, upstream, relay_gateway, settled, stream_of, wire, unused_port: int, wanted: bool
) -> None:
    server = await upstream(stream_of("hel", "lo"))
    gateway = await relay_gateway(candidate=server.port, baseline=unused_port)
    caller = await gateway.caller()
    caller.post({**STREAMED, "stream_options": {"include_usage": wanted}})
    answer = await caller.answer()
    expected = wire.delta("hel") + wire.delta("lo") + wire.event(FINISH)
    expected += wire.event(USAGE) if wanted else b""
    assert answer.body == expected + wire.event(b"[DONE]")
    assert (answer.whole, answer.headers["content-type"]) == (True, "text/event-stream")
    assert server.requests[0].json["stream_options"] == {"include_usage": True}
    (record,) = await settled(gateway)
    assert (record.outcome, record.stream, record.prompt_tokens, record.completion_tokens) == ("ok", True, 5, 2)
    assert 0 < record.ttft_s <= record.duration_s
    caller.post(CALL)
    assert (await caller.answer()).status == 200


async def test_events_are_passed_on_as_they_come(upstream, relay_gateway, settled, wire, unused_port: int) -> None:
    read = asyncio.Event()

    async def in_step(peer) -> None:
        await peer.request()
        peer.send(wire.stream_head)
        for text in ("one", "two", "three"):
            read.clear()
            peer.send(wire.chunk(wire.delta(text)))
            await read.wait()
        peer.send(wire.chunk(wire.event(b"[DONE]")) + wire.stream_end)
        await peer.gone()

    server = await upstream(in_step)
    gateway = await relay_gateway(candidate=server.port, baseline=unused_port)
    caller = await gateway.caller()
    caller.post(STREAMED)
    await caller.head()
    for text in ("one", "two", "three"):
        assert await caller.chunk() == wire.delta(text)
        read.set()
    assert await caller.chunk() == wire.event(b"[DONE]")
    await settled(gateway)


@pytest.mark.parametrize(
    ("key", "body", "status", "code"),
    [
        (None, CALL, 401, "invalid_api_key"),
        ("gp-wrong", CALL, 401, "invalid_api_key"),
        ("gp-test-key", b"{", 400, None),
        ("gp-test-key", {**CALL, "stream": "yes"}, 400, "invalid_type"),
        ("gp-test-key", {**CALL, "model": "copilot/draf"}, 404, "model_not_found"),
        ("gp-test-key", {**CALL, "model": "moe-2"}, 404, "model_not_found"),
    ],
)
async def test_what_is_refused_never_reaches_an_upstream(
    *, upstream, relay_gateway, settled, wire, key: str | None, body: object, status: int, code: str | None
) -> None:
    server = await upstream(wire.plain(OK_BODY))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(body, key=key)
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.headers["x-request-id"].startswith("req_")
    assert "x-glidepath-arm" not in answer.headers
    (record,) = await settled(gateway)
    assert (record.outcome, record.status, record.attempts, record.served) == ("refused", status, 0, "")
    assert not server.connections
    caller.post(CALL)
    assert (await caller.answer()).status == 200


async def test_a_model_called_by_its_own_name_bypasses_the_rollout(upstream, relay_gateway, settled, wire) -> None:
    server = await upstream(wire.plain(OK_BODY))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post({**CALL, "model": "gpt-1"})
    answer = await caller.answer()
    assert (answer.status, answer.headers["x-glidepath-reason"]) == (200, "bypass")
    (record,) = await settled(gateway)
    assert (record.feature, record.served, record.upstream) == ("", "bypass", "partner")


@pytest.mark.parametrize("share", [0, 100_000])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_callers_own_fault_is_final(
    upstream, relay_gateway, settled, wire, *, share: int, stream: bool
) -> None:
    error = (
        '{"error":{"message":"bad temperature, see https://in.house/x","type":"t","param":"temperature","code":"c"}}'
    )
    server = await upstream(wire.plain(error, "400 Bad Request"))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, share=share)
    caller = await gateway.caller()
    caller.post({**CALL, "stream": stream})
    answer = await caller.answer()
    assert answer.status == 400
    assert answer.error == {
        "message": "bad temperature, see [redacted]",
        "type": "t",
        "param": "temperature",
        "code": "c",
    }
    assert "x-should-retry" not in answer.headers
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause, record.attempts) == ("caller_error", "status_400", 1)
    assert len(server.requests) == 1


async def test_a_baseline_that_limits_says_so_with_its_own_wait(
    upstream, relay_gateway, settled, wire, unused_port
) -> None:
    limited = wire.plain('{"error":{"message":"slow"}}', "429 Too Many Requests", "retry-after: 17")
    server = await upstream(limited)
    gateway = await relay_gateway(candidate=unused_port, baseline=server.port, share=0)
    caller = await gateway.caller()
    caller.post(CALL)
    answer = await caller.answer()
    assert (answer.status, answer.headers["retry-after"], answer.error["message"]) == (429, "17", "slow")
    (record,) = await settled(gateway)
    assert (record.outcome, record.served) == ("rate_limited", "baseline")


async def reset(peer) -> None:
    await peer.request()
    peer.reset()


async def hang_up(peer) -> None:
    await peer.request()
    peer.close()


async def reset_in_the_head(peer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await peer.drained()
    peer.close()


async def cut_a_plain_answer(peer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
    await peer.drained()
    peer.close()


async def end_a_stream_before_it_began(peer) -> None:
    await peer.request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
    await peer.gone()


def failing(status: str):
    async def answer(peer) -> None:
        while True:
            await peer.request()
            peer.send(f"HTTP/1.1 {status}\r\nretry-after: 9\r\ncontent-length: 4\r\n\r\noops".encode())

    return answer


FAULTS = {
    "reset": (reset, 502, "upstream_error"),
    "hang up": (hang_up, 502, "upstream_error"),
    "half a head": (reset_in_the_head, 502, "upstream_error"),
    "half an answer": (cut_a_plain_answer, 502, "upstream_error"),
    "empty stream": (end_a_stream_before_it_began, 502, "upstream_error"),
    "no http": (b"nonsense\r\n\r\n", 502, "upstream_error"),
    "500": (failing("500 Oops"), 502, "upstream_error"),
    "502": (failing("502 Oops"), 502, "upstream_error"),
    "503": (failing("503 Oops"), 503, "upstream_error"),
    "504": (failing("504 Oops"), 504, "timeout"),
    "429": (failing("429 Oops"), 429, "rate_limited"),
}


@pytest.mark.parametrize("fault", [*FAULTS, "refused"])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_baseline_steps_in_for_a_candidate_that_fails_before_the_first_byte(
    *, upstream, relay_gateway, settled, wire, stream_of, unused_port: int, fault: str, stream: bool
) -> None:
    candidate = unused_port if fault == "refused" else (await upstream(FAULTS[fault][0])).port
    baseline = await upstream(stream_of("hi") if stream else wire.plain(OK_BODY))
    gateway = await relay_gateway(candidate=candidate, baseline=baseline.port)
    caller = await gateway.caller()
    caller.post({**CALL, "stream": stream})
    answer = await caller.answer()
    assert answer.status == 200
    assert served_by(answer) == ("candidate", "baseline", "2")
    assert answer.headers["x-glidepath-model"] == "gpt-1"
    assert baseline.requests[0].json["model"] == "gpt-1"
    assert baseline.requests[0].headers["authorization"] == "Bearer sk-partner"
    (record,) = await settled(gateway)
    assert (record.outcome, record.assigned, record.served, record.attempts) == ("ok", "candidate", "baseline", 2)


@pytest.mark.parametrize("fault", [*FAULTS, "refused"])
async def test_the_candidate_never_steps_in_for_the_baseline(
    *, upstream, relay_gateway, settled, wire, unused_port: int, fault: str
) -> None:
    behaviour, status, outcome = FAULTS.get(fault, (None, 503, "unreachable"))
    candidate = await upstream(wire.plain(OK_BODY))
    baseline = unused_port if behaviour is None else (await upstream(behaviour)).port
    gateway = await relay_gateway(candidate=candidate.port, baseline=baseline, share=0)
    caller = await gateway.caller()
    caller.post(CALL)
    answer = await caller.answer()
    assert answer.status == status
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert ("retry-after" in answer.headers) == (status in {429, 503})
    assert "x-should-retry" not in answer.headers
    assert served_by(answer) == ("baseline", "baseline", "1")
    assert not candidate.connections
    (record,) = await settled(gateway)
    assert (record.outcome, record.status, record.attempts) == (outcome, status, 1)


@pytest.mark.parametrize("fault", ["reset", "500", "429", "refused"])
async def test_when_both_fail_the_caller_is_told_not_to_retry(
    upstream, relay_gateway, settled, unused_port: int, fault: str
) -> None:
    behaviour, status, _ = FAULTS.get(fault, (None, 503, ""))
    port = unused_port if behaviour is None else (await upstream(behaviour)).port
    gateway = await relay_gateway(candidate=port, baseline=port)
    caller = await gateway.caller()
    caller.post(CALL)
    answer = await caller.answer()
    assert (answer.status, answer.headers["x-should-retry"]) == (status, "false")
    assert served_by(answer) == ("candidate", "baseline", "2")
    (record,) = await settled(gateway)
    assert (record.served, record.attempts) == ("baseline", 2)


async def test_an_upstream_that_refuses_our_key_is_not_the_callers_fault(
    upstream, relay_gateway, settled, wire
) -> None:
    server = await upstream(wire.plain('{"error":{"message":"Incorrect API key: sk-inhouse"}}', "401 Unauthorized"))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, share=0)
    caller = await gateway.caller()
    caller.post(CALL)
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (502, "upstream_auth_failed")
    assert b"sk-" not in answer.body
    assert (await settled(gateway))[0].outcome == "upstream_error"


BREAKS = ["reset", "close", "end", "unfinished event", "bad chunk"]


@pytest.mark.parametrize("how", BREAKS)
async def test_a_stream_that_is_cut_ends_with_an_error_event_and_no_done(
    *, upstream, relay_gateway, settled, wire, until, how: str
) -> None:
    async def cut(peer) -> None:
        server.requests.append(await peer.request())
        peer.send(wire.stream_head + wire.chunk(wire.delta("begun")))
        await begun.wait()
        if how == "unfinished event":
            peer.send(wire.chunk(b'data: {"choices":[{"delta":{"content":"half'))
        if how in {"end", "unfinished event"}:
            peer.send(wire.stream_end)
        elif how == "bad chunk":
            peer.send(b"zz\r\n")
        elif how == "reset":
            peer.reset()
        else:
            peer.close()
        await peer.gone()

    begun = asyncio.Event()
    server = await upstream(cut)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(STREAMED)
    await caller.head()
    events = await caller.chunk()
    begun.set()
    with suppress(asyncio.IncompleteReadError):
        while more := await caller.chunk():
            events += more
    assert b"[DONE]" not in events
    first, last, nothing = events.split(b"\n\n")
    assert first + b"\n\n" == wire.delta("begun")
    assert last.startswith(b'data: {"error":{')
    assert nothing == b""
    assert await caller.rest() == b""
    (record,) = await settled(gateway)
    assert (record.outcome, record.status, record.attempts, record.served) == ("truncated", 200, 1, "candidate")
    assert len(server.requests) == 1


async def test_an_error_event_of_the_upstream_is_passed_on_once(upstream, relay_gateway, settled, wire) -> None:
    error = wire.event({"error": {"message": "engine died", "code": 500}})
    server = await upstream(
        wire.stream_head
        + wire.chunk(wire.delta("a"))
        + wire.chunk(error)
        + wire.chunk(wire.event(b"[DONE]"))
        + wire.stream_end
    )
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(STREAMED)
    answer = await caller.answer()
    assert answer.body.count(b'"error"') == 1
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause) == ("upstream_error", "in_band_error")


async def test_a_stream_that_said_it_had_finished_is_whole_without_done(
    upstream, relay_gateway, settled, stream_of, wire
) -> None:
    server = await upstream(stream_of("hi", usage=False, done=False))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(STREAMED)
    answer = await caller.answer()
    assert (answer.whole, b"error" in answer.body) == (True, False)
    assert (await settled(gateway))[0].outcome == "ok"


async def test_a_large_plain_answer_that_is_cut_can_be_told_from_a_whole_one(
    upstream, relay_gateway, settled, wire, until
) -> None:
    async def cut(peer) -> None:
        await peer.request()
        peer.send(wire.plain(b"x" * 3_000_000)[:-1_000_000])
        await begun.wait()
        peer.reset()

    begun = asyncio.Event()
    server = await upstream(cut)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    caller.post(CALL)
    await caller.head()
    assert await caller.chunk()
    begun.set()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await to_the_last_chunk(caller)
    (record,) = await settled(gateway)
    assert (record.outcome, record.attempts) == ("truncated", 1)


async def to_the_last_chunk(caller) -> None:
    while await caller.chunk():
        pass


@pytest.mark.parametrize("size", [0, 1_000, 1_048_576, 5_000_000])
async def test_plain_answers_of_any_size(upstream, relay_gateway, settled, wire, size: int) -> None:
    server = await upstream(wire.plain(b"x" * size))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    for _ in range(2):
        caller.post(CALL)
        answer = await caller.answer()
        assert (answer.status, answer.body, answer.whole) == (200, b"x" * size, True)
    assert [record.outcome for record in await settled(gateway, 2)] == ["ok", "ok"]


@pytest.fixture
def stalling(upstream, wire):
    """Start an upstream that stalls in a given phase."""

    async def start(phase: str):
        async def stall(peer) -> None:
            server.requests.append(await peer.request())
            if phase == "body":
                peer.send(wire.stream_head + wire.chunk(wire.delta("begun")))
            await peer.request()

        server = await upstream(stall)
        return server

    return start


@pytest.mark.parametrize(
    ("limits", "later_s", "cause"),
    [
        ({"first_byte_timeout_s": 5}, 6, "first_byte_timeout"),
        ({"total_timeout_s": 5}, 6, "total_timeout"),
    ],
)
async def test_a_deadline_before_the_first_byte_is_a_504(
    *, stalling, relay_gateway, settled, until, limits: dict[str, float], later_s: float, cause: str
) -> None:
    server = await stalling("first byte")
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, share=0, **limits)
    caller = await gateway.caller()
    caller.post(CALL)
    await until(lambda: server.requests)
    gateway.later(later_s - 2)
    assert not gateway.records
    gateway.later(later_s)
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause) == ("timeout", cause)
    await until(lambda: server.left == [1])


async def test_a_candidate_slow_to_begin_is_replaced_by_the_baseline(
    *, stalling, upstream, relay_gateway, settled, wire, until
) -> None:
    candidate, baseline = await stalling("first byte"), await upstream(wire.plain(OK_BODY))
    gateway = await relay_gateway(candidate=candidate.port, baseline=baseline.port, first_byte_timeout_s=5)
    caller = await gateway.caller()
    caller.post(CALL)
    await until(lambda: candidate.requests)
    gateway.later(6)
    answer = await caller.answer()
    assert (answer.status, served_by(answer)) == (200, ("candidate", "baseline", "2"))
    await until(lambda: candidate.left == [1])
    assert (await settled(gateway))[0].outcome == "ok"


async def test_no_second_attempt_when_the_whole_time_is_up(
    *, stalling, upstream, relay_gateway, settled, wire, until
) -> None:
    candidate, baseline = await stalling("first byte"), await upstream(wire.plain(OK_BODY))
    gateway = await relay_gateway(candidate=candidate.port, baseline=baseline.port, total_timeout_s=5)
    caller = await gateway.caller()
    caller.post(CALL)
    await until(lambda: candidate.requests)
    gateway.later(6)
    assert (await caller.answer()).status == 504
    assert not baseline.connections
    await settled(gateway)


@pytest.mark.parametrize(("limit", "cause"), [("idle_timeout_s", "idle_timeout"), ("total_timeout_s", "total_timeout")])
async def test_a_stream_that_stalls_is_broken_off(
    *, stalling, relay_gateway, settled, until, wire, limit: str, cause: str
) -> None:
    server = await stalling("body")
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, **{limit: 5})
    caller = await gateway.caller()
    caller.post(STREAMED)
    await caller.head()
    assert await caller.chunk() == wire.delta("begun")
    gateway.later(3)
    assert not gateway.records
    gateway.later(6)
    assert (await caller.chunk()).startswith(b'data: {"error":{')
    assert b"[DONE]" not in await caller.rest()
    (record,) = await settled(gateway)
    assert (record.outcome, record.cause) == ("timeout", cause)
    await until(lambda: server.left == [1])


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("phase", ["waiting", "first byte", "body"])
async def test_when_the_caller_goes_the_upstream_sees_it(
    *, stalling, relay_gateway, settled, until, phase: str, how: str, stream: bool
) -> None:
    server = await stalling("body" if phase == "body" else "first byte")
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, connections_max=1)
    blocker, caller = await gateway.caller(), await gateway.caller()
    if phase == "waiting":
        blocker.post(CALL)
        await until(lambda: server.requests)
    caller.post({**CALL, "stream": stream})
    await until(lambda: gateway.held[3] if phase == "waiting" else server.requests)
    if phase == "body" and stream:
        await caller.head()
    if how == "fin":
        await caller.close()
    else:
        caller.reset()
    await until(lambda: len(gateway.records) == 1)
    assert (gateway.records[0].outcome, gateway.records[0].cause) == ("cancelled", "caller_gone")
    if phase == "waiting":
        assert not server.left
        await blocker.close()
        gateway.later(0)
    await until(lambda: server.left == [1])
    await settled(gateway, 2 if phase == "waiting" else 1)
    assert len(server.requests) == 1


async def test_a_slow_caller_slows_the_upstream_down(upstream, relay_gateway, settled, wire, until) -> None:
    count, sent = 3_000, 0
    event = wire.delta("x" * 8_192)

    async def flood(peer) -> None:
        nonlocal sent
        await peer.request()
        peer.send(wire.stream_head)
        for _ in range(count):
            peer.send(wire.chunk(event))
            await peer.drained()
            sent += 1
        peer.send(wire.chunk(wire.event(b"[DONE]")) + wire.stream_end)
        await peer.gone()

    server = await upstream(flood)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, idle_timeout_s=5)
    caller = await gateway.caller()
    caller.writer.transport.pause_reading()
    caller.post(STREAMED)
    before = -1
    while sent != before or not sent:
        before = sent
        await asyncio.sleep(0.1)
    assert sent < count
    gateway.later(500)
    assert not gateway.records
    caller.writer.transport.resume_reading()
    answer = await caller.answer()
    assert len(answer.body) == count * len(event) + len(wire.event(b"[DONE]"))
    assert (await settled(gateway))[0].outcome == "ok"


async def test_an_upstream_of_the_flag_that_is_not_configured_is_a_503_or_the_baselines_turn(
    upstream, relay_gateway, settled, wire
) -> None:
    server = await upstream(wire.plain(OK_BODY))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    gateway.relay.upstreams = {"partner": gateway.relay.upstreams["partner"]}
    caller = await gateway.caller()
    caller.post(CALL)
    answer = await caller.answer()
    assert (answer.status, served_by(answer)) == (200, ("candidate", "baseline", "2"))
    gateway.relay.upstreams = {}
    caller.post(CALL)
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (503, "upstream_unreachable")
    await settled(gateway, 2)


async def test_requests_spread_over_the_endpoints_of_an_upstream(upstream, relay_gateway, settled, wire) -> None:
    held = asyncio.Event()

    async def hold(peer) -> None:
        while True:
            await peer.request()
            await held.wait()
            peer.send(wire.plain(OK_BODY))

    servers = [await upstream(hold) for _ in range(3)]
    urls = [f"http://127.0.0.1:{server.port}/v1" for server in servers]
    gateway = await relay_gateway(candidate=1, baseline=1, base_urls=urls)
    callers = [await gateway.caller() for _ in range(9)]
    for caller in callers:
        caller.post(CALL)
    async with asyncio.timeout(20):
        while [server.connections for server in servers] != [3, 3, 3]:  # noqa: ASYNC110  no event says so
            await asyncio.sleep(0.002)
    held.set()
    for caller in callers:
        assert (await caller.answer()).status == 200
    await settled(gateway, 9)


async def test_pipelined_calls_are_answered_in_order(upstream, relay_gateway, settled, wire) -> None:
    async def mirror(peer) -> None:
        while True:
            peer.send(wire.plain((await peer.request()).body))

    server = await upstream(mirror)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    for number in range(10):
        caller.post({**CALL, "seed": number})
    assert [(await caller.answer()).json["seed"] for _ in range(10)] == list(range(10))
    await settled(gateway, 10)


@pytest.fixture
def erratic(wire):
    """Make a script that answers, streams, cuts, fails and resets at random times."""

    def make(draw: random.Random):
        async def stream(peer, *, whole: bool) -> None:
            peer.send(wire.stream_head)
            for _ in range(draw.randrange(4)):
                peer.send(wire.chunk(wire.delta("x")))
                await asyncio.sleep(draw.random() * 0.01)
            if not whole:
                raise ConnectionAbortedError
            peer.send(wire.chunk(wire.event(b"[DONE]")) + wire.stream_end)

        async def script(peer) -> None:
            while True:
                await peer.request()
                await asyncio.sleep(draw.random() * 0.02)
                kind = draw.choice(["reset", "500", "plain", "cut", "stream", "stream"])
                if kind == "reset":
                    peer.reset()
                    return
                if kind in {"500", "plain"}:
                    peer.send(wire.plain(OK_BODY, "200 OK" if kind == "plain" else "500 Oops"))
                else:
                    await stream(peer, whole=kind == "stream")

        return script

    return make


async def test_after_300_random_cancels_nothing_is_held(upstream, relay_gateway, erratic, until) -> None:
    draw = random.Random(7)
    server = await upstream(erratic(draw))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, share=50_000, connections_max=8)

    async def abandon(number: int) -> None:
        caller = await gateway.caller()
        caller.post({**CALL, "user": f"user-{number}", "stream": draw.random() < 0.5})
        await asyncio.sleep(draw.random() * 0.04)
        await caller.close() if draw.random() < 0.5 else caller.reset()

    def nothing_held() -> bool:
        gateway.later(0)
        return gateway.held == (0, 0, 0, 0) and not gateway.connections

    tasks = len(asyncio.all_tasks())
    for _ in range(10):
        await asyncio.gather(*(abandon(number) for number in range(30)))
    await until(nothing_held)
    records = gateway.records
    assert len({record.request_id for record in records}) == len(records) <= 300
    assert {record.outcome for record in records} >= {"cancelled", "ok"}
    gateway.later(1_000)
    await until(lambda: not server.open)
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    caller = await gateway.caller()
    caller.post(CALL)
    assert (await caller.answer()).status
