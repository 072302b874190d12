"""One upstream connection: what its bytes mean, and every way it ends."""

import asyncio
from time import perf_counter

import pytest

from gateway.core.outcome import Phase


async def test_an_answer_comes_with_status_headers_and_body(upstream, pool_to, wire, answered) -> None:
    server = await upstream(wire.plain(b"hello", "201 Created", "X-Some: Thing"))
    heard = await answered(pool_to(server.port), b'{"a":1}')
    assert (heard.status, heard.body, heard.headers[b"x-some"]) == (201, b"hello", b"Thing")
    assert (server.requests[0].line, server.requests[0].body) == ("POST /v1/x HTTP/1.1", b'{"a":1}')


@pytest.mark.parametrize("size", [10, 65_536, 3_000_000])
async def test_bodies_of_any_size_arrive_whole(upstream, pool_to, wire, answered, size: int) -> None:
    server = await upstream(wire.plain(b"x" * size))
    heard = await answered(pool_to(server.port), b"y" * size)
    assert heard.body == b"x" * size
    assert server.requests[0].body == b"y" * size


@pytest.mark.parametrize("last", ["Connection: close", "Connection: Close"])
async def test_a_connection_the_server_closes_is_not_used_again(
    *, upstream, pool_to, wire, until, answered, last: str
) -> None:
    server = await upstream(wire.plain(b"ok", "200 OK", last))
    pool = pool_to(server.port)
    for _ in range(3):
        assert (await answered(pool)).body == b"ok"
    await until(lambda: pool.counts == (0, 0, 0))
    assert server.connections == 3


async def test_a_stale_connection_is_replaced_once_and_unnoticed(upstream, pool_to, wire, answered) -> None:
    async def close_after_one(peer) -> None:
        server.requests.append(await peer.request())
        peer.send(wire.plain(b"%d" % peer.number))
        if peer.number == 1:
            # The second request is taken, then the connection is found closed: the race of every keep-alive.
            await peer.request()
            peer.reset()
        else:
            await peer.gone()

    server = await upstream(close_after_one)
    pool = pool_to(server.port)
    assert (await answered(pool, b"a")).body == b"1"
    assert (await answered(pool, b"b")).body == b"2"
    assert [request.body for request in server.requests] == [b"a", b"b"]


async def test_a_second_stale_connection_is_reported(upstream, pool_to, wire, answered) -> None:
    async def never_twice(peer) -> None:
        await peer.request()
        if peer.number == 1:
            peer.send(wire.plain(b"ok"))
            await peer.request()
        peer.reset()

    server = await upstream(never_twice)
    pool = pool_to(server.port)
    await answered(pool)
    failure = await (await answered(pool)).broke()
    assert (failure.phase, failure.kind) == (Phase.FIRST_BYTE, "reset")
    assert server.connections == 2


async def test_no_retry_once_a_byte_of_the_answer_has_come(upstream, pool_to, wire, answered) -> None:
    async def half_an_answer(peer) -> None:
        await peer.request()
        peer.send(wire.plain(b"ok"))
        await peer.request()
        peer.send(b"HTTP/1.1 2")
        await peer.drained()
        await asyncio.sleep(0.05)
        peer.reset()

    server = await upstream(half_an_answer)
    pool = pool_to(server.port)
    await answered(pool)
    failure = await (await answered(pool)).broke()
    assert (failure.phase, failure.kind) == (Phase.BODY, "reset")
    assert server.connections == 1


async def test_no_retry_on_a_connection_that_was_new(upstream, pool_to, answered) -> None:
    async def hang_up(peer) -> None:
        await peer.request()
        peer.close()

    server = await upstream(hang_up)
    failure = await (await answered(pool_to(server.port))).broke()
    assert (failure.phase, failure.kind) == (Phase.FIRST_BYTE, "reset")
    assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
    ],
    ids=["no http", "length", "chunk", "header", "upgrade", "huge head"],
)
async def test_a_bad_answer_is_a_failure_and_its_connection_is_closed(
    upstream, pool_to, until, answered, answer: bytes
) -> None:
    server = await upstream(answer)
    pool = pool_to(server.port)
    failure = await (await answered(pool)).broke()
    assert (failure.phase, failure.kind) == (Phase.BODY, "bad_answer")
    await until(lambda: pool.counts == (0, 0, 0) and not server.open)


async def test_interim_answers_are_not_the_answer(upstream, pool_to, wire, answered) -> None:
    interim = b"HTTP/1.1 100 Continue\r\nx-interim: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    server = await upstream(interim + wire.plain(b"ok"))
    pool = pool_to(server.port)
    heard = await answered(pool)
    assert (heard.status, heard.body) == (200, b"ok")
    assert b"link" not in heard.headers
    assert (await answered(pool)).body == b"ok"
    assert server.connections == 1


@pytest.mark.parametrize("pieces", [1, 2, 7, 1_000])
async def test_a_chunked_answer_in_any_pieces(upstream, pool_to, wire, answered, pieces: int) -> None:
    whole = wire.stream_head + wire.chunk(b"hello ") + wire.chunk("w\u00f6rld".encode()) + b"0\r\ntrailer: x\r\n\r\n"

    async def slowly(peer) -> None:
        while True:
            await peer.request()
            step = max(1, len(whole) // pieces)
            for start in range(0, len(whole), step):
                peer.send(whole[start : start + step])
                await asyncio.sleep(0)

    server = await upstream(slowly)
    pool = pool_to(server.port)
    for _ in range(2):
        heard = await answered(pool)
        assert (heard.status, heard.body) == (200, "hello w\u00f6rld".encode())
    assert server.connections == 1


async def test_an_answer_delimited_by_the_end_of_the_connection(upstream, pool_to, until, answered) -> None:
    async def old_fashioned(peer) -> None:
        await peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nfirst ")
        await peer.drained()
        peer.send(b"second")
        peer.close()

    server = await upstream(old_fashioned)
    pool = pool_to(server.port)
    heard = await answered(pool)
    assert (heard.complete, heard.body) == (True, b"first second")
    await until(lambda: pool.counts == (0, 0, 0))


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nsome",
    ],
    ids=["length", "chunked"],
)
async def test_an_answer_that_is_cut_is_a_failure(*, upstream, pool_to, until, ask, head: bytes, reset: bool) -> None:
    async def cut(peer) -> None:
        await peer.request()
        peer.send(head)
        await peer.drained()
        await until(lambda: heard.body)
        if reset:
            peer.reset()
        else:
            peer.close()

    server = await upstream(cut)
    heard, _ = ask(pool_to(server.port))
    failure = await heard.broke()
    assert (failure.phase, failure.kind, heard.body) == (Phase.BODY, "reset", b"some")


async def test_bytes_nobody_asked_for_close_the_connection(upstream, pool_to, wire, until, answered) -> None:
    more = asyncio.Event()

    async def talkative(peer) -> None:
        await peer.request()
        peer.send(wire.plain(b"ok"))
        await more.wait()
        peer.send(wire.plain(b"again"))
        await peer.gone()

    server = await upstream(talkative)
    pool = pool_to(server.port)
    heard = await answered(pool)
    more.set()
    await until(lambda: pool.counts == (0, 0, 0) and not server.open)
    assert heard.body == b"ok"


@pytest.mark.parametrize("phase", ["waiting", "first byte", "body"])
async def test_cancel_closes_the_socket_and_silences_the_receiver(
    *, upstream, pool_to, wire, until, ask, phase: str
) -> None:
    async def begin(peer) -> None:
        server.requests.append(await peer.request())
        if phase == "body":
            peer.send(wire.stream_head + wire.chunk(b"begun"))
        await peer.request()

    server = await upstream(begin)
    pool = pool_to(server.port, connections_max=1)
    heard, lease = ask(pool)
    await until(lambda: server.requests and (phase != "body" or heard.body))
    if phase == "waiting":
        heard, waiting = ask(pool)
        assert waiting.phase is Phase.CONNECT
        waiting.cancel()
        pool.sweep(perf_counter())
        assert pool.counts == (0, 1, 0)
    else:
        assert lease.phase is (Phase.BODY if phase == "body" else Phase.FIRST_BYTE)
    lease.cancel()
    lease.cancel()
    await until(lambda: server.left == [1])
    await until(lambda: pool.counts == (0, 0, 0))
    assert heard.failure is None
    assert not heard.complete


async def test_reading_pauses_and_resumes(upstream, pool_to, wire, until, ask) -> None:
    sent = 0

    async def flood(peer) -> None:
        nonlocal sent
        await peer.request()
        peer.send(wire.stream_head)
        for _ in range(400):
            peer.send(wire.chunk(b"x" * 65_536))
            await peer.drained()
            sent += 65_536
        peer.send(wire.stream_end)
        await peer.gone()

    server = await upstream(flood)
    heard, lease = ask(pool_to(server.port))
    await until(lambda: heard.body)
    lease.pause_reading()
    lease.pause_reading()
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.1)
    received = len(heard.body)
    assert sent < 400 * 65_536
    await asyncio.sleep(0.05)
    assert len(heard.body) == received
    lease.resume_reading()
    assert len((await heard.end()).body) == 400 * 65_536
