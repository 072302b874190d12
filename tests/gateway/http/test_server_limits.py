"""What one caller may take: time, connections, places in line, memory."""

import asyncio
from time import perf_counter

import pytest

TYPE = b"content-type: text/plain\r\n"
HEAD = b"POST /v1/completions HTTP/1.1\r\nhost: h\r\n"
APP = b"PUT /app HTTP/1.1\r\nhost: h\r\n"


def _look(gateway: object, later_s: float = 0.0, idle_s: float = 75.0) -> None:
    """One round of the worker's sweep."""
    for connection in gateway.connections:
        connection.close_if_idle(perf_counter() + later_s, idle_s)


async def _begun(gateway: object, until: object, sent: bytes) -> object:
    caller = await gateway.caller()
    caller.send(sent)
    await until(lambda: gateway.connections and not gateway.connections[0]._whole)
    _look(gateway)
    return caller


@pytest.mark.parametrize(
    ("sent", "limit_s"),
    [
        (b"P", 10),
        (HEAD, 10),
        (b"GET /x\r\n", 10),
        (HEAD + b"content-length: 9\r\n\r\nhalf", 30),
        (APP + b"content-length: 9\r\n\r\nhalf", 30),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhe", 30),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nx: y\r\n", 30),
    ],
    ids=[
        "a letter",
        "half a head",
        "no version",
        "half a body",
        "half a body for the application",
        "half a chunk",
        "trailer",
    ],
)
async def test_a_request_that_never_becomes_whole(
    serve, until, accepted, describe, *, sent: bytes, limit_s: float
) -> None:
    gateway = await serve(accepted, describe)
    caller = await _begun(gateway, until, sent)
    _look(gateway, limit_s - 1)
    _look(gateway, limit_s + 1)
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (408, "request_timeout")
    assert await caller.rest() == b""
    assert not accepted


async def test_bytes_that_begin_no_request_do_not_keep_a_connection(serve, until, echo) -> None:
    gateway = await serve(echo)
    caller = await gateway.caller()
    caller.send(b"\r\n" * 20)
    await until(lambda: gateway.connections)
    _look(gateway)
    caller.send(b"\r\n" * 20)
    _look(gateway, 76)
    assert await caller.rest() == b""


async def test_a_body_that_flows_is_waited_for(serve, until, echo) -> None:
    gateway = await serve(echo)
    caller = await _begun(gateway, until, HEAD + b"content-length: 50000\r\n\r\n")
    for turn in range(1, 51):
        caller.send(b"x" * 1_000)
        await until(lambda size=turn * 1_000: gateway.connections[0].cycle.size == size)
        _look(gateway, turn)
    assert len((await caller.answer()).body) == 50_000


async def test_a_head_behind_an_unanswered_request_is_not_hurried(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"first")
    caller.send(HEAD)
    await until(lambda: accepted and not gateway.connections[0]._whole)
    _look(gateway)
    _look(gateway, 1_000)
    accepted[0].respond(200, TYPE, b"1")
    assert (await caller.answer()).body == b"1"
    _look(gateway, 1_000)
    _look(gateway, 1_011)
    assert (await caller.answer()).status == 408


async def test_one_connection_too_many_is_told_so(serve, echo) -> None:
    gateway = await serve(echo, connections_max=2)
    callers = [await gateway.caller() for _ in range(2)]
    for caller in callers:
        caller.post(b"hi")
        assert (await caller.answer()).body == b"hi"
    extra = await gateway.caller()
    answer = await extra.answer()
    assert (answer.status, answer.error["code"]) == (503, "too_many_connections")
    assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", "1")
    assert await extra.rest() == b""


async def test_a_connection_that_ends_makes_room(serve, until, echo) -> None:
    gateway = await serve(echo, connections_max=1)
    first = await gateway.caller()
    await until(lambda: gateway.connections)
    await first.close()
    await until(lambda: not gateway.connections)
    second = await gateway.caller()
    second.post(b"hi")
    assert (await second.answer()).body == b"hi"


@pytest.mark.parametrize("path", ["/v1/completions", "/app"])
async def test_too_many_requests_in_line_are_refused_behind_those_before(
    serve, until, accepted, describe, path: str
) -> None:
    gateway = await serve(accepted, describe, pipeline_max=3)
    caller = await gateway.caller()
    caller.post(b"first")
    for _ in range(6):
        caller.post(b"", path=path)
    await until(lambda: len(gateway.connections[0].pipeline) == 4)
    for turn in range(4 if path != "/app" else 1):
        await until(lambda turn=turn: len(accepted) > turn)
        accepted[turn].respond(200, TYPE, b"yes")
    answers = [await caller.answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 4 + [503]
    assert (answers[-1].error["code"], answers[-1].headers["connection"]) == ("pipeline_full", "close")
    assert await caller.rest() == b""


@pytest.mark.parametrize("path", ["/v1/completions", "/app"])
async def test_too_many_bytes_in_line_are_refused(serve, until, accepted, describe, path: str) -> None:
    gateway = await serve(accepted, describe, pipeline_max_bytes=1_000)
    caller = await gateway.caller()
    caller.post(b"first")
    caller.post(b"x" * 600, path=path)
    caller.post(b"x" * 600, path=path)
    await until(lambda: accepted and gateway.connections[0]._deaf)
    accepted[0].respond(200, TYPE, b"1")
    assert (await caller.answer()).body == b"1"
    if path != "/app":
        await until(lambda: len(accepted) > 1)
        accepted[1].respond(200, TYPE, b"2")
    assert (await caller.answer()).status == 200
    assert (await caller.answer()).error["code"] == "pipeline_full"
    assert await caller.rest() == b""


async def test_a_caller_that_takes_nothing_is_cut_off(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"x")
    await until(lambda: accepted)
    caller.writer.transport.pause_reading()
    accepted[0].begin(200, TYPE, b"y" * (1 << 25))
    accepted[0].finish(b"end")
    assert gateway.connections[0].transport.get_write_buffer_size()
    _look(gateway)
    _look(gateway, 59)
    assert gateway.connections
    _look(gateway, 61)
    await until(lambda: not gateway.connections)


async def test_a_closing_connection_whose_caller_takes_nothing_is_cut_off(serve, until, accepted) -> None:
    gateway = await serve(accepted)
    caller = await gateway.caller()
    caller.post(b"x", "connection: close")
    await until(lambda: accepted)
    caller.writer.transport.pause_reading()
    accepted[0].respond(200, TYPE, b"y" * (1 << 25))
    assert gateway.connections[0].transport.is_closing()
    _look(gateway)
    _look(gateway, 61)
    await until(lambda: not gateway.connections)


async def test_a_caller_that_sends_and_never_reads_holds_bounded_memory(serve, until, accepted, echo) -> None:
    """Beyond the mark requests wait in line unanswered, then in line there is no room."""
    gateway = await serve(echo, write_buffer_max_bytes=65_536)
    caller = await gateway.caller()
    caller.writer.transport.pause_reading()
    body = b"x" * 30_000
    for _ in range(400):
        caller.post(body)
    await until(lambda: gateway.connections[0]._deaf)
    connection = gateway.connections[0]
    assert connection.transport.get_write_buffer_size() < 65_536 + 2 * len(body)
    assert connection._bytes_in_line() <= connection.reception.limits.pipeline_max_bytes + len(body)
    caller.writer.transport.resume_reading()
    answers = [await caller.answer()]
    while answers[-1].status == 200:
        answers.append(await caller.answer())
    assert all(answer.body == body for answer in answers[:-1])
    assert answers[-1].error["code"] == "pipeline_full"
    assert len(answers) < 400


async def test_a_refusal_arrives_although_the_caller_is_still_sending(serve, until, accepted) -> None:
    gateway = await serve(accepted, body_max_bytes=1_024, linger_s=0.2)
    caller = await gateway.caller()
    caller.post(b"x" * 2_000, length=1 << 24)
    assert (await caller.answer()).status == 413
    for _ in range(64):
        caller.send(b"x" * 65_536)
        await asyncio.sleep(0)
    assert await caller.rest() == b""
    await until(lambda: not gateway.connections)


@pytest.mark.parametrize("length", [2_000, 10**18])
async def test_a_body_announced_as_too_large_is_refused_before_it_is_sent(serve, accepted, length: int) -> None:
    caller = await (await serve(accepted, body_max_bytes=1_024)).caller()
    caller.post(b"", "expect: 100-continue", length=length)
    answer = await caller.answer()
    assert (answer.status, answer.interim) == (413, 0)
    assert await caller.rest() == b""


async def test_an_idle_connection_does_not_keep_its_last_body(serve, echo) -> None:
    gateway = await serve(echo)
    caller = await gateway.caller()
    caller.post(b"x" * 500_000)
    await caller.answer()
    assert gateway.connections[0].cycle.body == b""


async def test_the_trailers_of_one_request_are_no_part_of_the_next_ones_head(serve, echo, describe) -> None:
    caller = await (await serve(echo, describe)).caller()
    caller.send(
        HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n" + b"t: %b\r\n" % (b"x" * 1_000) * 60 + b"\r\n"
    )
    assert (await caller.answer()).status == 200
    caller.send(HEAD + b"content-length: 2\r\n" + b"cookie: %b\r\n" % (b"y" * 3_000) * 3 + b"\r\n{}")
    assert (await caller.answer()).status == 200
