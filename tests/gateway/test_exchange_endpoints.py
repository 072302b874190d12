"""Every operation against every kind of upstream: what the upstream gets, what the caller gets."""

import json

import pytest

CHAT = {"model": "copilot/draft", "user": "u", "messages": [{"role": "user", "content": "hi"}]}
MESSAGE = {"model": "copilot/draft", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
RESPONSE = {"model": "copilot/draft", "user": "u", "input": "hi"}
CHAT_BODY = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
MESSAGE_BODY = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 2},
}
RESPONSE_BODY = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "output": [],
    "usage": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
}


def named(kind: str, payload: dict) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **payload}).encode())


def message_events() -> list[bytes]:
    start = {**MESSAGE_BODY, "content": [], "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 0}}
    return [
        named("message_start", {"message": start}),
        named("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        named("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": "hello"}}),
        named("content_block_stop", {"index": 0}),
        named("message_delta", {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
        named("message_stop", {}),
    ]


def payloads(body: bytes) -> list[dict]:
    lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


async def test_a_chat_is_answered_by_anthropic(upstream, relay_gateway, settled, wire) -> None:
    server = await upstream(wire.plain(json.dumps(MESSAGE_BODY)))
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0, kind="anthropic")
    caller = await gateway.caller()
    caller.post(CHAT)
    answer = await caller.answer()
    assert answer.status == 200
    assert answer.json["object"] == "chat.completion"
    assert answer.json["choices"][0]["message"]["content"] == "hello"
    assert answer.json["usage"]["total_tokens"] == 7
    (request,) = server.requests
    assert request.line == "POST /v1/messages HTTP/1.1"
    assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == ("sk-partner", "2023-06-01")
    assert "authorization" not in request.headers
    assert request.json["messages"] == [{"role": "user", "content": "hi"}]
    (record,) = await settled(gateway)
    assert (record.outcome, record.prompt_tokens, record.completion_tokens) == ("ok", 5, 2)


@pytest.mark.parametrize("whole", [True, False])
async def test_a_streamed_chat_is_answered_by_anthropic(*, upstream, relay_gateway, settled, wire, whole: bool) -> None:
    events = message_events()[: None if whole else 3]
    server = await upstream(wire.stream_head + b"".join(map(wire.chunk, events)) + wire.stream_end)
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0, kind="anthropic")
    caller = await gateway.caller()
    caller.post({**CHAT, "stream": True, "stream_options": {"include_usage": True}})
    answer = await caller.answer()
    chunks = payloads(answer.body)
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c.get("choices")) == "hello"
    assert answer.body.endswith(b"data: [DONE]\n\n") is whole
    (record,) = await settled(gateway)
    assert record.ttft_s is not None
    if whole:
        assert chunks[-1]["usage"]["total_tokens"] == 7
        assert (record.outcome, record.completion_tokens) == ("ok", 2)
    else:
        assert set(chunks[-1]["error"]) == {"message", "type", "param", "code"}
        assert record.outcome == "truncated"


async def test_a_message_is_answered_by_vllm(upstream, relay_gateway, settled, wire) -> None:
    server = await upstream(wire.plain(json.dumps(CHAT_BODY)))
    gateway = await relay_gateway(candidate=server.port, baseline=1)
    caller = await gateway.caller()
    caller.post(MESSAGE, f"x-api-key: {wire.key}", "anthropic-version: 2023-06-01", path="/v1/messages", key=None)
    answer = await caller.answer()
    assert answer.status == 200
    assert (answer.json["type"], answer.json["content"]) == ("message", [{"type": "text", "text": "hello"}])
    assert answer.headers["x-glidepath-arm"] == "candidate"
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    (request,) = server.requests
    assert request.line == "POST /v1/chat/completions HTTP/1.1"
    assert wire.key not in str(request.headers)
    (record,) = await settled(gateway)
    assert (record.operation, record.outcome, record.completion_tokens) == ("messages", "ok", 2)


async def test_a_streamed_message_is_answered_by_vllm(upstream, relay_gateway, settled, wire, stream_of) -> None:
    server = await upstream(stream_of("hel", "lo"))
    gateway = await relay_gateway(candidate=server.port, baseline=1)
    caller = await gateway.caller()
    caller.post({**MESSAGE, "stream": True}, path="/v1/messages")
    answer = await caller.answer()
    events = payloads(answer.body)
    assert events[0]["type"] == "message_start"
    assert "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta") == "hello"
    assert events[-1]["type"] == "message_stop"
    assert (await settled(gateway))[0].outcome == "ok"


async def test_errors_on_messages_have_anthropics_shape(relay_gateway, unused_port: int) -> None:
    gateway = await relay_gateway(candidate=unused_port, baseline=unused_port, retry={"enabled": False})
    caller = await gateway.caller()
    caller.post(MESSAGE, path="/v1/messages", key="gp-wrong")
    answer = await caller.answer()
    assert answer.status == 401
    assert (answer.json["type"], answer.json["error"]["type"]) == ("error", "authentication_error")
    caller.post(MESSAGE, path="/v1/messages")
    answer = await caller.answer()
    assert (answer.status, answer.json["error"]["type"]) == (503, "overloaded_error")
    assert answer.json["request_id"] == answer.headers["x-request-id"]


async def test_native_messages_pass_with_the_callers_version_and_betas(upstream, relay_gateway, settled, wire) -> None:
    body = json.dumps(MESSAGE_BODY)
    server = await upstream(wire.plain(body))
    gateway = await relay_gateway(candidate=1, baseline=server.port, share=0, kind="anthropic")
    caller = await gateway.caller()
    caller.post(MESSAGE, "anthropic-version: 2023-01-01", "anthropic-beta: a,b", path="/v1/messages")
    answer = await caller.answer()
    assert answer.body == body.encode()
    (request,) = server.requests
    assert (request.headers["anthropic-version"], request.headers["anthropic-beta"]) == ("2023-01-01", "a,b")
    await settled(gateway)


async def test_what_an_upstream_has_nothing_like_is_refused(relay_gateway, settled, unused_port: int) -> None:
    gateway = await relay_gateway(candidate=unused_port, baseline=unused_port, share=0, kind="anthropic")
    caller = await gateway.caller()
    for path, body in (("/v1/completions", {**CHAT, "prompt": "hi"}), ("/v1/responses", RESPONSE)):
        caller.post(body, path=path)
        answer = await caller.answer()
        assert (answer.status, answer.error["code"]) == (400, "unsupported_by_upstream")
    records = await settled(gateway, 2)
    assert {record.outcome for record in records} == {"refused"}


async def test_a_response_says_where_it_is_and_is_continued_there(upstream, relay_gateway, settled, wire) -> None:
    body = {**RESPONSE_BODY, "previous_response_id": "resp_1"}
    answers = wire.plain(json.dumps(body))
    servers = [await upstream(answers) for _ in range(3)]
    urls = [f"http://127.0.0.1:{server.port}/v1" for server in servers]
    gateway = await relay_gateway(candidate=1, baseline=1, base_urls=urls)
    caller = await gateway.caller()
    caller.post(RESPONSE, path="/v1/responses")
    first = await caller.answer()
    assert first.json == {**body, "id": first.json["id"]}
    assert first.json["id"].startswith("resp_1.gp.inhouse.")
    (home,) = [server for server in servers if server.requests]
    for _ in range(5):
        caller.post({**RESPONSE, "user": "another", "previous_response_id": first.json["id"]}, path="/v1/responses")
        answer = await caller.answer()
        assert (answer.status, answer.headers["x-glidepath-reason"]) == (200, "pinned")
        assert answer.json["previous_response_id"] == first.json["id"]
    assert len(home.requests) == 6
    assert home.requests[-1].json["previous_response_id"] == "resp_1"
    await settled(gateway, 6)


async def test_every_event_of_a_streamed_response_says_where_it_is(upstream, relay_gateway, settled, wire) -> None:
    events = [
        named("response.created", {"sequence_number": 0, "response": {"id": "resp_1", "status": "in_progress"}}),
        named("response.output_text.delta", {"sequence_number": 1, "item_id": "msg_1", "delta": "hello"}),
        named("response.completed", {"sequence_number": 2, "response": RESPONSE_BODY}),
    ]
    server = await upstream(wire.stream_head + b"".join(map(wire.chunk, events)) + wire.stream_end)
    gateway = await relay_gateway(candidate=server.port, baseline=1)
    caller = await gateway.caller()
    caller.post({**RESPONSE, "stream": True}, path="/v1/responses")
    answer = await caller.answer()
    created, delta, completed = payloads(answer.body)
    assert created["response"]["id"] == completed["response"]["id"]
    assert created["response"]["id"].startswith("resp_1.gp.inhouse.")
    assert delta["delta"] == "hello"
    (record,) = await settled(gateway)
    assert (record.outcome, record.completion_tokens) == ("ok", 2)
    assert record.ttft_s is not None


async def test_a_response_made_before_the_gateway_is_the_baselines(upstream, relay_gateway, wire, settled) -> None:
    server = await upstream(wire.plain(json.dumps(RESPONSE_BODY)))
    gateway = await relay_gateway(candidate=1, baseline=server.port)
    caller = await gateway.caller()
    caller.post({**RESPONSE, "previous_response_id": "resp_0"}, path="/v1/responses")
    answer = await caller.answer()
    assert (answer.status, answer.headers["x-glidepath-arm"]) == (200, "baseline")
    await settled(gateway)
