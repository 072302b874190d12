"""Requests that two readers could read in two ways are refused, on real sockets, whole and byte by byte."""

import asyncio

import pytest

HOST = b"POST /v1/completions HTTP/1.1\r\nhost: h\r\n"
APP = b"PUT /app HTTP/1.1\r\nhost: h\r\n"
EMPTY = b"content-length: 0\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"

HEADS = {
    "two lengths that agree": b"content-length: 1\r\ncontent-length: 1\r\n\r\na",
    "two lengths that differ": b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "a list of lengths": b"content-length: 1, 1\r\n\r\na",
    "a signed length": b"content-length: +1\r\n\r\na",
    "a negative length": b"content-length: -1\r\n\r\na",
    "a hexadecimal length": b"content-length: 0x1\r\n\r\na",
    "an empty length": b"content-length:\r\n\r\n",
    "a length beyond 64 bits": b"content-length: 18446744073709551617\r\n\r\na",
    "length and chunks": b"content-length: 5\r\n" + CHUNKED + b"0\r\n\r\n",
    "chunks and length": b"transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "unknown coding": b"transfer-encoding: gzip\r\n\r\n0\r\n\r\n",
    "identity": b"transfer-encoding: identity\r\n\r\n0\r\n\r\n",
    "a coding before chunked": b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding behind chunked": b"transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": b"transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two codings": b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked in two lines": b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked with a prefix": b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "an empty list item": b"transfer-encoding: ,chunked\r\n\r\n0\r\n\r\n",
    "chunked with a parameter": b"transfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "chunked in quotes": b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked behind a vertical tab": b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "an empty coding": b"transfer-encoding:\r\n\r\n0\r\n\r\n",
    "a folded coding": b"transfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"x: a\r\n b\r\n" + EMPTY,
    "a line folded by a tab": b"x: a\r\n\tb\r\n" + EMPTY,
    "a bare LF": b"x: a\n" + EMPTY,
    "a bare LF at the end": b"content-length: 0\r\n\n",
    "a bare CR": b"x: a\rb\r\n" + EMPTY,
    "a CR for a line's end": b"x: a\rcontent-length: 0\r\n\r\n",
    "two CRs": b"x: a\r\r\n" + EMPTY,
    "NUL in a value": b"x: a\0b\r\n" + EMPTY,
    "a control character in a value": b"x: a\x01b\r\n" + EMPTY,
    "DEL in a value": b"x: a\x7fb\r\n" + EMPTY,
    "NUL in a name": b"x\0: a\r\n" + EMPTY,
    "a blank before the colon": b"x : a\r\n" + EMPTY,
    "a tab before the colon": b"transfer-encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "a blank before the name": b" x: a\r\n" + EMPTY,
    "a blank in the name": b"x y: a\r\n" + EMPTY,
    "no name": b": a\r\n" + EMPTY,
    "no colon": b"x\r\n" + EMPTY,
    "two hosts": b"host: h\r\n" + EMPTY,
    "two keys": b"authorization: Bearer a\r\nauthorization: Bearer b\r\n" + EMPTY,
    "two keys in x-api-key": b"X-Api-Key: a\r\nx-api-key: a\r\n" + EMPTY,
    "two conversations": b"x-conversation-id: a\r\nx-conversation-id: b\r\n" + EMPTY,
    "two request ids": b"x-request-id: a\r\nx-request-id: b\r\n" + EMPTY,
    "two content types": b"content-type: a/b\r\ncontent-type: a/c\r\n" + EMPTY,
    "two headers of our own": b"x-glidepath-any: a\r\nX-Glidepath-Any: b\r\n" + EMPTY,
}
CHUNKS = {
    "no size": b"\r\nx\r\n0\r\n\r\n",
    "a negative size": b"-1\r\nx\r\n0\r\n\r\n",
    "a size with 0x": b"0x1\r\nx\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000001\r\nx\r\n0\r\n\r\n",
    "a blank before the size": b" 1\r\nx\r\n0\r\n\r\n",
    "a blank behind the size": b"1 \r\nx\r\n0\r\n\r\n",
    "a bare LF behind the size": b"1\nx\r\n0\r\n\r\n",
    "a bare CR behind the size": b"1\rx\r\n0\r\n\r\n",
    "a bare LF behind an extension": b"1;a\nx\r\n0\r\n\r\n",
    "a bare LF behind the data": b"1\r\nx\n0\r\n\r\n",
    "no end of the data": b"1\r\nx0\r\n\r\n",
    "more data than announced": b"1\r\nxy\r\n0\r\n\r\n",
    "a bare LF at the end": b"1\r\nx\r\n0\r\n\n",
    "a length in the trailer": b"0\r\ncontent-length: 5\r\n\r\n",
    "a coding in the trailer": b"0\r\ntransfer-encoding: chunked\r\n\r\n",
}
LINES = {
    "HTTP/0.9": (b"POST /v1/completions\r\nhost: h\r\n" + EMPTY, 505),
    "HTTP/0.9, named": (b"GET /app HTTP/0.9\r\nhost: h\r\n\r\n", 505),
    "HTTP/2 in the line": (b"POST /v1/completions HTTP/2.0\r\nhost: h\r\n" + EMPTY, 505),
    "HTTP/1.2": (b"POST /v1/completions HTTP/1.2\r\nhost: h\r\n" + EMPTY, 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "bare LFs": (b"GET /app HTTP/1.1\nhost: h\n\n", 400),
    "no host": (b"GET /app HTTP/1.1\r\nx: y\r\n\r\n", 400),
    "no host for a relay": (b"POST /v1/completions HTTP/1.1\r\n" + EMPTY, 400),
    "asterisk": (b"OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    "another host's target": (b"POST http://g/v1/completions HTTP/1.1\r\nhost: h\r\n" + EMPTY, 400),
    "another scheme's target": (b"GET ftp://h/app HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    "a target without a path": (b"GET http://h HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    "an authority for a target": (b"GET h:80 HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    "a fragment": (b"GET /app#x HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    "a control character in the target": (b"GET /a\x01 HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    "two targets": (b"GET /app /app HTTP/1.1\r\nhost: h\r\n\r\n", 400),
    "a method in lower case": (b"post /v1/completions HTTP/1.1\r\nhost: h\r\n" + EMPTY, 400),
    "chunks in HTTP/1.0": (b"POST /v1/completions HTTP/1.0\r\n" + CHUNKED + b"0\r\n\r\n", 400),
    "a first line that is a header": (b"POST /v1/completions HTTP/1.1\r\n host: h\r\n" + EMPTY, 400),
    "a URL too long": (b"GET /" + b"y" * 9_000 + b" HTTP/1.1\r\nhost: h\r\n\r\n", 414),
    "a head too large": (HOST + b"x: " + b"y" * 70_000 + b"\r\n" + EMPTY, 431),
    "too many headers": (HOST + b"".join(b"x-%d: y\r\n" % n for n in range(120)) + EMPTY, 431),
    "too many headers of one name": (HOST + b"x: y\r\n" * 120 + EMPTY, 431),
}


async def _refused(gateway: object, sent: bytes, status: int, *, bytewise: bool) -> None:
    caller = await gateway.caller()
    stream = sent + SMUGGLED
    for piece in [stream[at : at + 1] for at in range(len(stream))] if bytewise else [stream]:
        caller.send(piece)
        if bytewise:
            await asyncio.sleep(0)
    answer = await caller.answer()
    assert answer.status == status
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["connection"] == "close"
    assert await caller.rest() == b""


@pytest.mark.parametrize("start", [HOST, APP], ids=["relay", "application"])
@pytest.mark.parametrize("lines", HEADS.values(), ids=HEADS)
async def test_an_ambiguous_head_is_refused(serve, describe, accepted, start: bytes, lines: bytes) -> None:
    gateway = await serve(accepted, describe)
    await _refused(gateway, start + lines, 400, bytewise=False)
    await _refused(gateway, start + lines, 400, bytewise=True)
    assert not accepted


@pytest.mark.parametrize("start", [HOST, APP], ids=["relay", "application"])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
async def test_ambiguous_chunks_are_refused(serve, describe, accepted, start: bytes, chunks: bytes) -> None:
    gateway = await serve(accepted, describe)
    await _refused(gateway, start + CHUNKED + chunks, 400, bytewise=False)
    await _refused(gateway, start + CHUNKED + chunks, 400, bytewise=True)
    assert not accepted


@pytest.mark.parametrize(("sent", "status"), LINES.values(), ids=LINES)
async def test_what_is_no_request_of_ours_is_refused(serve, describe, accepted, sent: bytes, status: int) -> None:
    gateway = await serve(accepted, describe)
    await _refused(gateway, sent, status, bytewise=False)
    assert not accepted


@pytest.mark.parametrize(
    ("overhead", "size"),
    [(b";" + b"a" * 1_000, 1), (b";a=" + b'"%b"' % (b"b" * 1_000), 1)],
    ids=["long names", "long values"],
)
async def test_chunks_wrapped_in_endless_extensions_are_refused(serve, accepted, overhead: bytes, size: int) -> None:
    caller = await (await serve(accepted)).caller()
    caller.send(HOST + CHUNKED)
    for _ in range(1_000):
        caller.send(b"%x%b\r\n%b\r\n" % (size, overhead, b"x" * size))
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (400, "bad_http")
    assert not accepted


async def test_a_chunk_size_of_endless_zeros_is_refused(serve, accepted) -> None:
    caller = await (await serve(accepted)).caller()
    caller.send(HOST + CHUNKED + b"0" * 600_000)
    assert (await caller.answer()).status == 400


async def test_a_body_in_tiny_chunks_is_accepted(serve, echo) -> None:
    caller = await (await serve(echo)).caller()
    body = bytes(range(256)) * 200
    caller.send(HOST + CHUNKED + b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
    assert (await caller.answer()).body == body


async def test_an_absolute_target_that_names_the_same_host_is_ours(serve, describe, echo) -> None:
    caller = await (await serve(echo, describe)).caller()
    caller.send(b"POST http://H/v1/completions?x=1 HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi")
    assert (await caller.answer()).body == b"hi"
    caller.send(b"GET HTTPS://h/app?x=1 HTTP/1.1\r\nhost: h\r\n\r\n")
    assert (await caller.answer()).json["path"] == "/app"


async def test_headers_that_are_lists_may_come_in_several_lines(serve, until, describe, accepted) -> None:
    caller = await (await serve(accepted, describe)).caller()
    caller.post(b"", "tracestate: a=1", "cookie: c", "tracestate: b=2", "cookie: d")
    await until(lambda: accepted)
    assert accepted[0].headers[b"tracestate"] == b"a=1, b=2"
    accepted[0].respond(200, b"", b"")
    await caller.answer()
    caller.get("/app", "x: a", "x: b")
    assert (await caller.answer()).json["headers"]["x"] == "b"


async def test_trailers_do_not_become_headers(serve, until, accepted) -> None:
    caller = await (await serve(accepted)).caller()
    caller.send(HOST + CHUNKED + b"1\r\nx\r\n0\r\nauthorization: Bearer a\r\nx-new: b\r\n\r\n")
    await until(lambda: accepted)
    assert set(accepted[0].headers) == {b"host", b"transfer-encoding"}


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "gzip, identity", "x"])
async def test_an_encoded_body_is_refused(serve, accepted, coding: str) -> None:
    caller = await (await serve(accepted)).caller()
    caller.post(b"zzz", f"content-encoding: {coding}")
    answer = await caller.answer()
    assert (answer.status, answer.error["code"]) == (415, "unsupported_content_encoding")
    assert await caller.rest() == b""
    assert not accepted


@pytest.mark.parametrize("line", ["content-encoding: Identity", "content-type: application/json; charset=utf-8"])
async def test_an_unencoded_body_is_accepted(serve, echo, line: str) -> None:
    caller = await (await serve(echo)).caller()
    caller.post(b"hello", line)
    assert (await caller.answer()).body == b"hello"
