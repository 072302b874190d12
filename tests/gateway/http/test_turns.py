"""Whose turn it is: leaving is seen in every situation, answers end well, draining closes behind the last one."""

import asyncio
from time import perf_counter

import pytest

TYPE = b"content-type: text/plain\r\n"


START = b"POST /v1/completions HTTP/1.1\r\nhost: h\r\n"
BEHIND = {
    "nothing": b"",
    "a request": START + b"content-length: 1\r\n\r\nx",
    "half a head": START,
    "half a body": START + b"content-length: 100\r\n\r\nx",
    "a large body": START + b"content-length: 700000\r\n\r\n" + b"x" * 700_000,
    "the application's": b"PUT /a HTTP/1.1\r\nhost: h\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000,
    "nonsense": b"nonsense\r\n\r\n",
}


class Waiting:
    """An ASGI application that answers when the test says so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = self.gone = 0

    async def __call__(self, scope, receive, send) -> None:
        self.asked += 1
        await receive()
        leaving = asyncio.ensure_future(receive())
        going = asyncio.ensure_future(self.go.wait())
        await asyncio.wait({leaving, going}, return_when=asyncio.FIRST_COMPLETED)
        self.gone += leaving.done()
        leaving.cancel()
        going.cancel()
        if self.go.is_set():
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"3")]})
            await send({"type": "http.response.body", "body": b"app"})


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize(
    "behind", [b"", b"whole", b"half a head", b"half a body", b"large", b"application", b"refused"]
)
@pytest.mark.parametrize("begun", [False, True])
async def test_a_caller_that_goes_is_noticed_whatever_waits_in_line(
    serve, until, accepted, describe, *, how: str, behind: bytes, begun: bool
) -> None:
    gateway = await serve(accepted, describe)
    caller = await gateway.caller()
    caller.post(b"first")
    caller.send(behind)
    await until(lambda: accepted)
    if begun:
        accepted[0].begin(200, TYPE, b"begun")
        await caller.head()
    if how == "rst":
        caller.reset()
    else:
        await caller.close()
    await until(lambda: accepted.listeners[0].gone == 1)
    assert accepted[0].disconnected
    await until(lambda: not gateway.connections)
    assert len(accepted) == 1


async def test_the_application_is_told_although_a_relay_waits_behind_it(serve, until, accepted) -> None:
    app = Waiting()
    gateway = await serve(accepted, app)
    caller = await gateway.caller()
    caller.get("/app")
    caller.post(b"behind")
    await until(lambda: app.asked)
    await caller.close()
    await until(lambda: app.gone)
    assert not accepted


async def test_a_caller_that_stopped_sending_gets_the_applications_answer(serve, until, accepted) -> None:
    app = Waiting()
    gateway = await serve(accepted, app)
    caller = await gateway.caller()
    caller.get("/app")
    caller.get("/app")
    await until(lambda: app.asked)
    caller.writer.write_eof()
    await until(lambda: gateway.connections[0]._deaf)
    app.go.set()
    answers = [await caller.answer() for _ in range(2)]
    assert [answer.body for answer in answers] == [b"app", b"app"]
    assert [answer.headers.get("connection") for answer in answers] == [None, "close"]
    assert await caller.rest() == b""
    await until(lambda: not gateway.connections)


async def test_a_caller_that_stopped_sending_gets_what_needs_no_upstream(serve, echo) -> None:
    caller = await (await serve(echo)).caller()
    caller.post(b"answered at once")
    caller.writer.write_eof()
    assert (await caller.answer()).body == b"answered at once"
    assert await caller.rest() == b""


async def test_a_relays_caller_that_stopped_sending_has_left(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"x")
    await until(lambda: accepted)
    caller.writer.write_eof()
    await until(lambda: accepted.listeners[0].gone)
    assert await caller.rest() == b""


async def test_a_half_request_of_a_caller_that_stopped_sending_is_dropped(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.send(b"GET /app HTTP/1.1\r\nhost")
    caller.writer.write_eof()
    assert await caller.rest() == b""
    await until(lambda: not gateway.connections)


async def test_a_drain_closes_behind_the_next_answer(serve, until, echo, describe) -> None:
    gateway = await serve(echo, describe)
    callers = [await gateway.caller() for _ in range(3)]
    await until(lambda: len(gateway.connections) == 3)
    for connection in gateway.connections:
        connection.begin_drain()
    late = await gateway.caller()
    callers[0].post(b"relay")
    callers[1].get("/app")
    late.post(b"late")
    for caller in (callers[0], callers[1], late):
        answer = await caller.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await caller.rest() == b""
    await until(lambda: len(gateway.connections) == 1)
    gateway.connections[0].close_if_idle(perf_counter(), 0)
    assert await callers[2].rest() == b""
    await until(lambda: not gateway.connections)


async def test_a_drain_answers_all_that_had_come_before_it(serve, until, accepted, describe) -> None:
    gateway = await serve(accepted, describe)
    caller = await gateway.caller()
    caller.post(b"first")
    caller.get("/app")
    caller.post(b"last")
    await until(lambda: accepted and len(gateway.connections[0].pipeline) == 2)
    gateway.connections[0].begin_drain()
    gateway.connections[0].close_if_idle(perf_counter(), 0)
    accepted[0].respond(200, TYPE, b"1")
    assert "connection" not in (await caller.answer()).headers
    assert "connection" not in (await caller.answer()).headers
    await until(lambda: len(accepted) == 2)
    accepted[1].respond(200, TYPE, b"3")
    answer = await caller.answer()
    assert (answer.body, answer.headers["connection"]) == (b"3", "close")
    assert await caller.rest() == b""


async def test_a_stream_begun_before_the_drain_ends_whole_and_the_next_answer_is_the_last(
    serve, until, accepted
) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"x")
    await until(lambda: accepted)
    accepted[0].begin(200, TYPE, b"begun ")
    gateway.connections[0].begin_drain()
    accepted[0].finish(b"ended")
    answer = await caller.answer()
    assert (answer.body, answer.whole) == (b"begun ended", True)
    # Its head could not say so any more; a connection that closes unannounced may swallow the next request.
    caller.post(b"y")
    await until(lambda: len(accepted) == 2)
    accepted[1].respond(200, TYPE, b"last")
    assert (await caller.answer()).headers["connection"] == "close"
    assert await caller.rest() == b""


async def test_one_workers_drain_is_not_anothers(serve, until, echo) -> None:
    one, other = await serve(echo), await serve(echo)
    first, second = await one.caller(), await other.caller()
    await until(lambda: one.connections)
    one.connections[0].begin_drain()
    first.post(b"a")
    second.post(b"b")
    assert (await first.answer()).headers["connection"] == "close"
    assert "connection" not in (await second.answer()).headers


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_http_1_0_is_answered_and_closed_even_if_it_asks_otherwise(serve, echo, describe, version: str) -> None:
    gateway = await serve(echo, describe)
    for path in ("/v1/completions", "/app"):
        caller = await gateway.caller()
        caller.send(
            f"POST {path} HTTP/{version}\r\nhost: h\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nhi".encode()
        )
        answer = await caller.answer()
        assert (answer.status, answer.headers.get("connection")) == (200, "close" if version == "1.0" else None)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_fault_of_ours_is_not_called_the_callers(serve, caplog, *, begun: bool) -> None:
    def fail(incoming) -> None:
        if begun:
            incoming.begin(200, TYPE, b"half")
        raise ZeroDivisionError

    caller = await (await serve(fail)).caller()
    caller.post(b"x")
    answer = await caller.answer()
    assert (answer.status, answer.whole) == (200, False) if begun else (500, True)
    assert begun or answer.error["code"] == "internal_error"
    assert "ZeroDivisionError" in caplog.text
    assert await caller.rest() == b""


async def test_a_large_upload_the_application_does_not_wait_for_is_not_heard_for_ever(serve, accepted) -> None:
    async def hasty(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})

    caller = await (await serve(accepted, hasty)).caller()
    caller.send(b"PUT /app HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
    assert (await caller.answer()).status == 401
    caller.send(b"493e0\r\n" + b"x" * 300_000)
    assert await caller.rest() == b""


@pytest.mark.parametrize("framing", [b"content-length: 300000\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n493e0\r\n"])
async def test_an_upload_too_large_for_the_application_is_refused(serve, accepted, describe, framing: bytes) -> None:
    caller = await (await serve(accepted, describe)).caller()
    caller.send(b"PUT /app HTTP/1.1\r\nhost: h\r\n" + framing + b"x" * 300_000)
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")
    assert await caller.rest() == b""


@pytest.mark.parametrize("size", [10, 65_535, 65_536, 1_000_000])
async def test_answers_of_any_size_arrive_whole(serve, size: int) -> None:
    def answer(incoming) -> None:
        if incoming.body:
            incoming.begin(200, TYPE, b"a" * size)
            incoming.send(b"b" * size)
            incoming.finish(b"c" * size)
        else:
            incoming.respond(200, TYPE, b"d" * size)

    caller = await (await serve(answer)).caller()
    caller.post(b"parts")
    caller.post(b"")
    assert (await caller.answer()).body == b"a" * size + b"b" * size + b"c" * size
    assert (await caller.answer()).body == b"d" * size


async def test_a_fault_while_a_request_is_taken_is_ours_too(serve, accepted, caplog) -> None:
    caller = await (await serve(accepted, headers_max=None)).caller()
    caller.post(b"x")
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "TypeError" in caplog.text
    assert await caller.rest() == b""


async def test_a_shutdown_does_not_wait_for_half_a_request_behind_a_whole_one(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"first")
    caller.send(BEHIND["half a body"])
    await until(lambda: accepted and gateway.connections[0].pipeline)
    gateway.connections[0].shutdown()
    accepted[0].respond(200, TYPE, b"1")
    answer = await caller.answer()
    assert (answer.body, answer.headers["connection"]) == (b"1", "close")
    assert await caller.rest() == b""
    assert len(accepted) == 1


async def test_a_caller_that_goes_while_it_is_not_reading_is_noticed(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"x")
    caller.post(b"behind")
    await until(lambda: accepted)
    caller.writer.transport.pause_reading()
    accepted[0].begin(200, TYPE, b"y" * (1 << 25))
    assert accepted.listeners[0].blocked
    await caller.close()
    await until(lambda: accepted.listeners[0].gone == 1)
    await until(lambda: not gateway.connections)
