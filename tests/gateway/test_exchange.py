"""What a relayed request becomes: the answer, what the upstream gets, who steps in for whom, and the Record."""

import asyncio

import pytest

CALL = {"model": "copilot/draft", "user": "u", "messages": [{"role": "user", "content": "hi"}]}
STREAMED = {**CALL, "stream": True}
OK_BODY = '{"id":"x","choices":[{"message":{"content":"hello"}}],"usage":{"prompt_tokens":5,"completion_tokens":2}}'


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
    expected = wire.delta("hel") + wire.delta("lo") + wire.event(wire.finish)
    expected += wire.event(wire.usage) if wanted else b""
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
    _, _, outcome = FAULTS.get(fault, (None, 503, "unreachable"))
    assert record.failed_outcome == outcome
    assert record.failed_cause


@pytest.mark.parametrize("fault", [*FAULTS, "refused"])
async def test_the_candidate_never_steps_in_for_the_baseline(
    *, upstream, relay_gateway, settled, wire, unused_port: int, fault: str
) -> None:
    behaviour, status, outcome = FAULTS.get(fault, (None, 503, "unreachable"))
    candidate = await upstream(wire.plain(OK_BODY))
    baseline = unused_port if behaviour is None else (await upstream(behaviour)).port
    gateway = await relay_gateway(candidate=candidate.port, baseline=baseline, share=0, retry={"enabled": False})
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
        caller.post({**CALL, "user": ""})
    async with asyncio.timeout(60):
        while [server.connections for server in servers] != [3, 3, 3]:  # noqa: ASYNC110  no event says so
            await asyncio.sleep(0.002)
    held.set()
    for caller in callers:
        assert (await caller.answer()).status == 200
    await settled(gateway, 9)


async def test_a_conversation_stays_where_its_prefix_is_cached(upstream, relay_gateway, settled, wire) -> None:
    servers = [await upstream(wire.plain(OK_BODY)) for _ in range(4)]
    urls = [f"http://127.0.0.1:{server.port}/v1" for server in servers]
    gateway = await relay_gateway(candidate=1, baseline=1, base_urls=urls)
    caller = await gateway.caller()
    homes = set()
    for conversation in range(12):
        before = [len(server.requests) for server in servers]
        for _ in range(5):
            caller.post(CALL, f"x-conversation-id: c{conversation}")
            assert (await caller.answer()).status == 200
        grown = [len(server.requests) - old for server, old in zip(servers, before, strict=True)]
        assert sorted(grown) == [0, 0, 0, 5]
        homes.add(grown.index(5))
    assert len(homes) > 1
    await settled(gateway, 60)


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


@pytest.mark.parametrize("sampled", [False, True])
async def test_a_traced_callers_upstream_becomes_a_child_of_the_gateway(
    *, upstream, relay_gateway, settled, wire, sampled: bool
) -> None:
    server = await upstream(wire.plain(OK_BODY))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port, trace_ratio=0.0)
    caller = await gateway.caller()
    sent = f"00-{'a' * 32}-{'b' * 16}-0{int(sampled)}"
    caller.post(CALL, f"traceparent: {sent}")
    await caller.answer()
    (record,) = await settled(gateway)
    got = server.requests[0].headers["traceparent"]
    if sampled:
        assert (record.trace.trace_id, record.trace.parent_id) == ("a" * 32, "b" * 16)
        assert got == f"00-{'a' * 32}-{record.trace.span_id}-01"
    else:
        assert (record.trace, got) == (None, sent)
