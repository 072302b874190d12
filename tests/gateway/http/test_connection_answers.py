"""Answers that are refused, mended or bounded before anybody relays them."""

import asyncio
import gzip
import zlib

import pytest

from gateway.core.outcome import Phase

OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
        OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
        OK + b"content-length: 2, 2\r\n\r\nok",
        OK + b"content-length: +2\r\n\r\nok",
        OK + b"content-length: -2\r\n\r\nok",
        OK + b"content-length: \r\n\r\nok",
        OK + b"content-length: 99999999999999999999999\r\n\r\nok",
        OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + b"transfer-encoding: identity\r\n\r\nok",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nok",
        OK + b"transfer-encoding: chunked\r\n\r\n2\nok\n0\n\n",
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\nokX\r\n0\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ncontent-length: 9\r\n\r\n",
        OK + b"x: a\r\n b\r\ncontent-length: 2\r\n\r\nok",
        OK + b"x: a\x00b\r\ncontent-length: 2\r\n\r\nok",
        OK + b"x: a\rb\r\ncontent-length: 2\r\n\r\nok",
        OK + b"x : a\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        OK + b"".join(b"x-%d: y\r\n" % n for n in range(300)) + b"content-length: 2\r\n\r\nok",
        b"HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        OK + b"content-encoding: br\r\ncontent-length: 2\r\n\r\nok",
        OK + b"content-encoding: gzip\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
        OK + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nok",
        OK
        + b"transfer-encoding: chunked\r\n\r\n"
        + b"2\r\nok\r\n"
        + b"0\r\n"
        + b"".join(b"x-%d: y\r\n" % n for n in range(60_000)),
        OK + b"x: y\r\n" * 20_000,
        OK + b"transfer-encoding: chunked\r\n\r\n2;" + b"y" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5_000,
    ],
)
async def test_smuggling_and_nonsense_are_refused(upstream, pool_to, until, ask, answer: bytes) -> None:
    async def piecemeal(peer) -> None:
        await peer.request()
        for start in range(0, len(answer), 16_384):
            peer.send(answer[start : start + 16_384])
            await peer.drained()
        await peer.gone()

    server = await upstream(piecemeal)
    pool = pool_to(server.port)
    failure = await ask(pool)[0].broke()
    assert (failure.phase, failure.kind) == (Phase.BODY, "bad_answer")
    await until(lambda: pool.counts == (0, 0, 0) and not server.open)


@pytest.mark.parametrize(
    "surplus",
    [b"x", b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno", b"\x00" * 1_000],
    ids=["byte", "half an answer", "answer", "zeros"],
)
@pytest.mark.parametrize("coding", ["length", "chunked", "close"])
async def test_what_follows_an_answer_costs_the_connection_not_the_answer(
    *, upstream, pool_to, wire, until, answered, surplus: bytes, coding: str
) -> None:
    answers = {
        "length": wire.plain(b"ok"),
        "chunked": wire.stream_head + wire.chunk(b"ok") + wire.stream_end,
        "close": wire.plain(b"ok", "200 OK", "connection: close"),
    }
    server = await upstream(answers[coding] + surplus)
    pool = pool_to(server.port)
    for _ in range(2):
        assert (await answered(pool)).body == b"ok"
        await until(lambda: pool.counts == (0, 0, 0) and not server.open)
    assert server.connections == 2


async def test_trailers_are_no_headers(upstream, pool_to, wire, answered) -> None:
    server = await upstream(wire.stream_head + wire.chunk(b"ok") + b"0\r\ncontent-type: text/html\r\nx: y\r\n\r\n")
    pool = pool_to(server.port)
    for _ in range(3):
        heard = await answered(pool)
        assert (heard.body, heard.headers[b"content-type"]) == (b"ok", b"text/event-stream")
        assert b"x" not in heard.headers
    assert server.connections == 1


async def test_a_repeated_header_is_joined(upstream, pool_to, wire, answered) -> None:
    server = await upstream(wire.plain(b"ok", "200 OK", "X-Twice: a", "x-twice: b"))
    assert (await answered(pool_to(server.port))).headers[b"x-twice"] == b"a, b"


@pytest.mark.parametrize("coding", ["gzip", "GZip", "x-gzip", "deflate"])
@pytest.mark.parametrize("framing", ["length", "chunked", "eof"])
async def test_a_compressed_answer_is_decoded(*, upstream, pool_to, wire, ask, coding: str, framing: str) -> None:
    text = b'{"text":"' + bytes(range(48, 90)) * 2_000 + b'"}'
    packed = zlib.compress(text) if coding == "deflate" else gzip.compress(text)
    line = f"content-encoding: {coding}\r\n".encode()

    async def serve(peer) -> None:
        while True:
            await peer.request()
            if framing == "length":
                peer.send(OK + line + b"content-length: %d\r\n\r\n" % len(packed) + packed)
            elif framing == "eof":
                peer.send(OK + line + b"\r\n" + packed)
                peer.close()
            else:
                peer.send(OK + line + b"transfer-encoding: chunked\r\n\r\n")
                for start in range(0, len(packed), 100):
                    peer.send(wire.chunk(packed[start : start + 100]))
                    await peer.drained()
                peer.send(wire.stream_end)

    server = await upstream(serve)
    pool = pool_to(server.port)
    for _ in range(2):
        heard = await ask(pool)[0].end()
        assert (heard.complete, heard.body) == (True, text)
        assert b"content-encoding" not in heard.headers
    assert server.connections == (2 if framing == "eof" else 1)


async def test_a_compressed_stream_comes_event_by_event(upstream, pool_to, wire, until, ask) -> None:
    go = asyncio.Event()

    async def serve(peer) -> None:
        await peer.request()
        packer = zlib.compressobj(wbits=31)
        peer.send(OK + b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n")
        peer.send(wire.chunk(packer.compress(b"data: 1\n\n") + packer.flush(zlib.Z_SYNC_FLUSH)))
        await go.wait()
        peer.send(wire.chunk(packer.compress(b"data: 2\n\n") + packer.flush()) + wire.stream_end)
        await peer.gone()

    server = await upstream(serve)
    heard, _ = ask(pool_to(server.port))
    await until(lambda: heard.body)
    assert heard.body == b"data: 1\n\n"
    go.set()
    assert (await heard.end()).body == b"data: 1\n\ndata: 2\n\n"


@pytest.mark.parametrize("framing", ["length", "eof"])
async def test_a_compressed_answer_that_is_cut_is_a_failure(upstream, pool_to, ask, framing: str) -> None:
    packed = gzip.compress(b"x" * 1_000)[:-4]
    head = (
        OK + b"content-encoding: gzip\r\n" + (b"content-length: %d\r\n" % len(packed) if framing == "length" else b"")
    )

    async def serve(peer) -> None:
        await peer.request()
        peer.send(head + b"\r\n" + packed)
        peer.close()

    server = await upstream(serve)
    assert (await ask(pool_to(server.port))[0].broke()).kind == "bad_answer"


async def test_identity_is_no_coding(upstream, pool_to, wire, answered) -> None:
    server = await upstream(wire.plain(b"ok", "200 OK", "content-encoding: identity"))
    heard = await answered(pool_to(server.port))
    assert (heard.body, b"content-encoding" in heard.headers) == (b"ok", False)


@pytest.mark.parametrize("framing", ["length", "chunked", "eof", "bomb"])
async def test_an_answer_larger_than_allowed_is_cut_off(*, upstream, pool_to, wire, until, ask, framing: str) -> None:
    heads = {
        "length": OK + b"content-length: 1000000\r\n\r\n",
        "chunked": wire.stream_head,
        "eof": OK + b"\r\n",
        "bomb": OK + b"content-encoding: gzip\r\n\r\n" + gzip.compress(bytes(10_000_000)),
    }

    async def serve(peer) -> None:
        await peer.request()
        peer.send(heads[framing])
        while True:
            peer.send(wire.chunk(b"x" * 10_000) if framing == "chunked" else b"x" * 10_000)
            await peer.drained()

    server = await upstream(serve)
    pool = pool_to(server.port, answer_max_bytes=100_000)
    heard, _ = ask(pool)
    failure = await heard.broke()
    assert (failure.phase, failure.kind) == (Phase.BODY, "answer_too_large")
    assert len(heard.body) <= 100_000
    await until(lambda: pool.counts == (0, 0, 0) and not server.open)


async def test_an_answer_before_the_request_is_whole_ends_the_connection(upstream, pool_to, wire, until, ask) -> None:
    # More than the sockets' buffers hold: the server answers, and never reads the rest.
    size = 64_000_000

    async def impatient(peer) -> None:
        server.requests.append(await peer.head())
        peer.send(wire.plain(b"no", "413 Content Too Large"))
        await asyncio.Event().wait()

    server = await upstream(impatient)
    pool = pool_to(server.port)
    heard = await ask(pool, b"x" * size)[0].end()
    assert (heard.status, heard.body) == (413, b"no")
    await until(lambda: pool.counts == (0, 0, 0))


@pytest.mark.parametrize(
    ("head", "connections"),
    [
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 2),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok", 1),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 2),
        (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", 1),
    ],
)
async def test_http_1_0_keeps_a_connection_only_if_it_says_so(
    *, upstream, pool_to, until, answered, head: bytes, connections: int
) -> None:
    server = await upstream(head)
    pool = pool_to(server.port)
    for _ in range(2):
        assert (await answered(pool)).body == b"ok"
        await until(lambda: pool.counts[1] == 0)
    assert server.connections == connections


async def test_the_head_is_told_before_the_body_comes(upstream, pool_to, wire, until, ask) -> None:
    go = asyncio.Event()

    async def serve(peer) -> None:
        await peer.request()
        peer.send(wire.stream_head)
        await go.wait()
        peer.send(wire.chunk(b"late") + wire.stream_end)
        await peer.gone()

    server = await upstream(serve)
    heard, _ = ask(pool_to(server.port))
    await until(lambda: heard.status == 200)
    assert heard.body == b""
    go.set()
    assert (await heard.end()).body == b"late"
