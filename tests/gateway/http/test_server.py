"""The public port's protocol: relay requests, the parent's requests, and bytes that are neither."""

import asyncio
from time import perf_counter

import pytest

TYPE = b"content-type: text/plain\r\n"
FEED_MAX = 1_024


async def test_relay_requests_are_accepted_with_operation_headers_and_body(serve, until, accepted) -> None:
    caller = await (await serve(accepted)).caller()
    caller.post(b'{"a":1}', "X-Some: Thing", path="/v1/completions?x=1")
    caller.post(b"")
    await until(lambda: accepted)
    incoming = accepted[0]
    assert (incoming.operation, incoming.body, incoming.headers[b"x-some"]) == ("text_completion", b'{"a":1}', b"Thing")
    incoming.respond(201, TYPE, b"made")
    answer = await caller.answer()
    assert (answer.status, answer.body, answer.headers["content-type"]) == (201, b"made", "text/plain")


async def test_keep_alive(serve, echo) -> None:
    gateway = await serve(echo)
    caller = await gateway.caller()
    for number in range(20):
        caller.post(b"%d" % number)
        answer = await caller.answer()
        assert (answer.body, answer.headers.get("connection")) == (b"%d" % number, None)
    assert len(gateway.connections) == 1
    assert gateway.state.total_requests == 20


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        ("1.1", "connection: close", False),
        ("1.1", "x: y", True),
        ("1.0", "x: y", False),
    ],
)
async def test_who_wants_the_connection_closed_gets_it(serve, version: str, header: str, echo, *, kept: bool) -> None:
    gateway = await serve(echo)
    caller = await gateway.caller()
    caller.send(f"POST /v1/completions HTTP/{version}\r\nhost: h\r\n{header}\r\ncontent-length: 2\r\n\r\nhi".encode())
    answer = await caller.answer()
    assert (answer.body, answer.headers.get("connection")) == (b"hi", None if kept else "close")
    if kept:
        caller.post(b"again")
        assert (await caller.answer()).body == b"again"
    else:
        assert await caller.rest() == b""


async def test_a_chunked_upload(serve, echo) -> None:
    caller = await (await serve(echo)).caller()
    caller.send(b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
    for part in (b"hello ", b"w\xc3\xb6rld"):
        caller.send(b"%x\r\n%b\r\n" % (len(part), part))
        await caller.writer.drain()
    caller.send(b"0\r\n\r\n")
    assert (await caller.answer()).body == b"hello w\xc3\xb6rld"


async def test_a_request_in_single_bytes(serve, echo) -> None:
    caller = await (await serve(echo)).caller()
    for byte in b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello":
        caller.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await caller.answer()).body == b"hello"


@pytest.mark.parametrize("path", ["/v1/completions", "/other"])
async def test_100_continue(serve, path: str, echo, describe) -> None:
    caller = await (await serve(echo, describe)).caller()
    caller.send(f"POST {path} HTTP/1.1\r\nhost: h\r\nexpect: 100-Continue\r\ncontent-length: 5\r\n\r\n".encode())
    status, _ = await caller.head()
    assert status == 100
    caller.send(b"hello")
    answer = await caller.answer()
    assert answer.status == 200
    assert b"hello" in answer.body


async def test_what_is_not_relayed_goes_to_the_application(serve, echo, describe) -> None:
    caller = await (await serve(echo, describe)).caller()
    caller.send(b"PUT /v1/other%20thing?q=1 HTTP/1.1\r\nHost: h\r\nX-Some: Thing\r\ncontent-length: 2\r\n\r\nhi")
    said = (await caller.answer()).json
    assert (said["method"], said["path"], said["body"]) == ("PUT", "/v1/other thing", "hi")
    assert said["headers"] == {"host": "h", "x-some": "Thing", "content-length": "2"}
    caller.get("/v1/chat/completions")
    assert (await caller.answer()).json["method"] == "GET"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(serve, echo, *, chunked: bool) -> None:
    gateway = await serve(echo, body_max_bytes=FEED_MAX)
    caller = await gateway.caller()
    body = b"x" * (FEED_MAX + 1)
    if chunked:
        caller.send(b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
        caller.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    else:
        caller.post(body)
    answer = await caller.answer()
    assert answer.status == 413
    assert answer.error["code"] == "request_too_large"
    assert answer.headers["connection"] == "close"
    assert await caller.rest() == b""


async def test_a_body_of_the_largest_size_passes(serve, echo) -> None:
    caller = await (await serve(echo, body_max_bytes=FEED_MAX)).caller()
    caller.post(b"x" * FEED_MAX)
    assert (await caller.answer()).status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["nonsense", "header", "length", "two lengths", "tls"],
)
async def test_what_is_no_http_gets_an_error_object(serve, request_bytes: bytes, echo) -> None:
    caller = await (await serve(echo)).caller()
    caller.send(request_bytes)
    answer = await caller.answer()
    assert answer.status == 400
    assert answer.error["code"] == "bad_http"
    assert await caller.rest() == b""


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nx: " + b"y" * 800_000, b"GET /" + b"y" * 100_000])
async def test_a_head_without_end_gets_an_error_object(serve, sent: bytes, echo) -> None:
    caller = await (await serve(echo)).caller()
    caller.send(sent)
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (431, "head_too_large")
    assert await caller.rest() == b""


async def test_a_body_that_is_no_http_ends_the_connection(serve, until, accepted) -> None:
    gateway = await serve(accepted, linger_s=0.0)
    caller = await gateway.caller()
    caller.send(b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
    assert (await caller.answer()).error["code"] == "bad_http"
    assert await caller.rest() == b""
    await until(lambda: not gateway.connections)
    assert not accepted


async def test_an_upgrade_is_ignored_and_the_answer_given(serve, echo) -> None:
    caller = await (await serve(echo)).caller()
    caller.post(b"hello", "connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAoAAA")
    assert (await caller.answer()).body == b"hello"


async def test_an_upgrade_of_what_is_not_relayed_is_ignored_too(serve, echo, describe) -> None:
    caller = await (await serve(echo, describe)).caller()
    caller.send(
        b"PUT /app HTTP/1.1\r\nhost: h\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n"
        b"content-length: 2\r\n\r\nhi"
    )
    answer = await caller.answer()
    assert (answer.json["path"], answer.json["body"]) == ("/app", "hi")
    assert "upgrade" not in answer.json["headers"]
    assert await caller.rest() == b""


async def test_a_tunnel_is_refused(serve, echo) -> None:
    caller = await (await serve(echo)).caller()
    caller.send(b"CONNECT host:443 HTTP/1.1\r\nhost: host\r\n\r\n")
    answer = await caller.answer()
    assert 400 <= answer.status < 500


async def test_any_number_of_upgrades_in_one_read(serve, echo) -> None:
    caller = await (await serve(echo)).caller()
    head = (
        b"POST /v1/completions HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: h2c\r\ncontent-length: 1\r\n\r\n"
    )
    caller.send((head + b"x") * 600)
    for _ in range(600):
        assert (await caller.answer()).body == b"x"


async def test_a_caller_that_goes_before_its_request_is_whole_is_never_accepted(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"half", length=100)
    await until(lambda: gateway.connections and gateway.connections[0].cycle)
    await caller.close()
    await until(lambda: not gateway.connections)
    assert not accepted


async def test_only_connections_without_work_are_idle(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"1")
    await until(lambda: accepted)
    far = perf_counter() + 1_000
    gateway.connections[0].close_if_idle(far, 75)
    accepted[0].respond(200, TYPE, b"one")
    assert (await caller.answer()).body == b"one"
    gateway.connections[0].close_if_idle(far, 75)
    gateway.connections[0].close_if_idle(far + 10, 75)
    caller.post(b"2")
    await until(lambda: len(accepted) == 2)
    accepted[1].respond(200, TYPE, b"two")
    assert (await caller.answer()).body == b"two"
    gateway.connections[0].close_if_idle(far + 80, 75)
    gateway.connections[0].close_if_idle(far + 156, 75)
    assert await caller.rest() == b""
    await until(lambda: not gateway.connections)


async def test_on_shutdown_a_begun_answer_ends_and_then_the_connection(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    busy, idle = await gateway.caller(), await gateway.caller()
    busy.post(b"x")
    idle.get("/")
    await idle.answer()
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"begun ")
    for connection in gateway.connections:
        connection.shutdown()
    assert await idle.rest() == b""
    accepted[0].finish(b"ended")
    assert (await busy.answer()).body == b"begun ended"
    assert await busy.rest() == b""
    await until(lambda: not gateway.connections)


async def test_trailers_without_end_are_refused(serve, echo) -> None:
    caller = await (await serve(echo)).caller()
    head = b"POST /v1/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    caller.send(head + b"some-trailer: with a value\r\n" * 6_000)
    assert b"200 OK" not in await caller.rest()


async def test_a_connection_that_never_says_anything_is_idle(serve, until, echo) -> None:
    gateway = await serve(echo)
    caller = await gateway.caller()
    await until(lambda: gateway.connections)
    gateway.connections[0].close_if_idle(perf_counter(), 75)
    gateway.connections[0].close_if_idle(perf_counter() + 76, 75)
    assert await caller.rest() == b""
