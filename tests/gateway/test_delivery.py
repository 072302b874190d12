"""How an answer is passed on, told by what a caller on a real socket gets."""

import asyncio
import json
from time import perf_counter

import pytest

CALL = {"model": "copilot/draft", "user": "u", "messages": [{"role": "user", "content": "hi"}]}
RESPONSE = {"model": "copilot/draft", "user": "u", "input": "hi"}
MESSAGE = {"model": "copilot/draft", "max_tokens": 5, "messages": CALL["messages"]}
PLACED = "resp_1.gp.inhouse."
LARGE = "x" * 3_000_000


async def answer_to(gateway, body: object, path: str):
    caller = await gateway.caller()
    caller.post(body, path=path)
    return await caller.answer()


async def test_a_large_response_is_passed_on_with_its_place(upstream, relay_gateway, settled, wire) -> None:
    body = {"id": "resp_1", "object": "response", "output": [{"type": "image_generation_call", "result": LARGE}]}
    server = await upstream(wire.plain(json.dumps(body)))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    answer = await answer_to(gateway, RESPONSE, "/v1/responses")
    assert (answer.status, answer.whole) == (200, True)
    assert answer.json["id"].startswith(PLACED)
    assert answer.json["output"] == body["output"]
    (record,) = await settled(gateway)
    assert (record.outcome, record.attempts) == ("ok", 1)


async def test_a_large_answer_that_must_be_translated_is_the_other_arms(upstream, relay_gateway, settled, wire) -> None:
    server = await upstream(wire.plain(json.dumps({"choices": [{"message": {"content": LARGE}}]})))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    answer = await answer_to(gateway, MESSAGE, "/v1/messages")
    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_broke")
    (record,) = await settled(gateway)
    assert (record.cause, record.failed_cause, record.attempts) == ("answer_too_large", "answer_too_large", 2)


async def test_the_last_event_of_a_stream_of_responses_has_its_place_without_a_blank_line(
    upstream, relay_gateway, settled, wire
) -> None:
    created, completed = (
        b'event: response.%b\ndata: {"type":"response.%b","response":{"id":"resp_1"}}' % (name, name)
        for name in (b"created", b"completed")
    )
    server = await upstream(wire.stream_head + wire.chunk(created + b"\n\n" + completed) + wire.stream_end)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    answer = await answer_to(gateway, {**RESPONSE, "stream": True}, "/v1/responses")
    assert answer.body.count(b'"id":"' + PLACED.encode()) == 2
    assert (await settled(gateway))[0].outcome == "ok"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"choices":[]}', b'{"choices":[{"message":1}]}'])
async def test_what_cannot_be_translated_is_answered_by_the_baseline(
    upstream, relay_gateway, settled, wire, body: bytes
) -> None:
    good = json.dumps({"id": "c", "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]})
    candidate, baseline = await upstream(wire.plain(body)), await upstream(wire.plain(good))
    gateway = await relay_gateway(candidate=candidate.port, baseline=baseline.port)
    answer = await answer_to(gateway, MESSAGE, "/v1/messages")
    assert (answer.status, answer.headers["x-glidepath-arm"]) == (200, "baseline")
    assert answer.json["content"] == [{"type": "text", "text": "hello"}]
    (record,) = await settled(gateway)
    assert (record.outcome, record.attempts, record.failed_outcome) == ("ok", 2, "upstream_error")


async def test_an_error_answer_is_read_no_further_than_it_may_say(upstream, relay_gateway, settled, wire) -> None:
    body = json.dumps({"error": {"message": "no", "padding": "x" * 200_000}})
    server = await upstream(wire.plain(body, "400 Bad Request"))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    answer = await answer_to(gateway, CALL, "/v1/chat/completions")
    assert (answer.status, answer.error["message"]) == (400, "The model's server refused the request with status 400.")
    assert (await settled(gateway))[0].cause == "status_400"


async def test_an_error_answer_that_breaks_off_has_said_enough(upstream, relay_gateway, settled, wire) -> None:
    async def cut(peer) -> None:
        await peer.request()
        peer.send(wire.plain('{"error":{"message":"no"}}', "422 No")[:-5])
        await peer.drained()
        await begun.wait()
        peer.reset()

    begun = asyncio.Event()
    begun.set()
    server = await upstream(cut)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    answer = await answer_to(gateway, CALL, "/v1/chat/completions")
    assert (answer.status, answer.error["type"]) == (422, "invalid_request_error")
    (record,) = await settled(gateway)
    assert (record.outcome, record.status) == ("caller_error", 422)


async def test_a_plain_answer_to_an_old_caller_that_is_cut_does_not_end_cleanly(
    upstream, relay_gateway, settled, wire
) -> None:
    """HTTP/1.0 knows no chunks: a clean end of the connection would be a whole answer."""

    async def cut(peer) -> None:
        await peer.request()
        peer.send(wire.plain(LARGE)[:-1_000_000])
        await begun.wait()
        peer.reset()

    begun = asyncio.Event()
    server = await upstream(cut)
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    caller = await gateway.caller()
    data = json.dumps(CALL).encode()
    head = f"POST /v1/chat/completions HTTP/1.0\r\nhost: g\r\nauthorization: Bearer {wire.key}\r\n"
    caller.send(head.encode() + b"content-length: %d\r\n\r\n" % len(data) + data)
    await caller.head()
    begun.set()
    with pytest.raises(ConnectionError):
        await caller.reader.read()
    assert (await settled(gateway))[0].outcome == "truncated"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            {"message": "Response with id 'resp_1' not found.", "param": "response_id"},
            (400, "previous_response_not_found"),
        ),
        ({"message": "The model `moe-1` does not exist.", "param": "model"}, (502, "upstream_model_missing")),
    ],
)
async def test_a_conversation_whose_response_is_gone_is_to_start_anew(
    upstream, relay_gateway, settled, wire, said: dict[str, str], expected: tuple[int, str]
) -> None:
    server = await upstream(wire.plain(json.dumps({"error": said}), "404 Not Found"))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    answer = await answer_to(gateway, {**RESPONSE, "previous_response_id": "resp_1"}, "/v1/responses")
    assert (answer.status, answer.error["code"]) == expected
    await settled(gateway)


async def test_a_status_that_a_server_made_up_is_no_series_of_its_own(upstream, relay_gateway, settled, wire) -> None:
    server = await upstream(wire.plain("{}", "477 Odd"))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    assert (await answer_to(gateway, CALL, "/v1/chat/completions")).status == 477
    assert (await settled(gateway))[0].cause == "status_4xx"


async def test_who_broke_before_the_other_arm_is_in_no_record_of_it(upstream, relay_gateway, settled, wire) -> None:
    server = await upstream(wire.plain("{}", "500 Oops"))
    gateway = await relay_gateway(candidate=server.port, baseline=server.port)
    (baseline,) = gateway.relay.upstreams["partner"].endpoints
    for _ in range(5):
        baseline.breaker.on_failure(perf_counter(), baseline.breaker.on_sent(perf_counter()))
    assert (await answer_to(gateway, CALL, "/v1/chat/completions")).status == 503
    (record,) = await settled(gateway)
    assert (record.upstream, record.endpoint, record.failed_cause) == ("partner", "", "status_500")
