"""Streams of requests, good and bad: one answer per request, in order, the same at every split of the bytes."""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import httptools
import pytest
import uvicorn
from hypothesis import example, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from gateway.http.incoming import Incoming
from gateway.http.limits import CallerLimits
from gateway.http.server import Reception, RelayProtocol

TEXT = b"content-type: text/plain\r\n"
BODY_MAX = 200
TURNS_MAX = 400
UNSENT_MAX = 60


class Wire:
    """A transport in memory; writing behind the end is what it never forgives."""

    def __init__(self, reads: int) -> None:
        self.written = b""
        self.protocol: RelayProtocol | None = None
        self.closing = self.ended = self.paused = self.blocked = False
        self.unsent = 0
        self._reads = reads

    def get_extra_info(self, name: str, default: object = None) -> object:
        return default

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        assert not self.ended
        if not self.closing:
            self.written += data
            self.unsent += len(data)
            if self._reads and self.unsent > UNSENT_MAX and not self.blocked:
                self.blocked = True
                self.protocol.pause_writing()

    def turn(self) -> None:
        """The caller reads."""
        self.unsent = max(0, self.unsent - self._reads)
        if self.blocked and not self.unsent:
            self.blocked = False
            self.protocol.resume_writing()

    def writelines(self, pieces: Sequence[bytes]) -> None:
        self.write(b"".join(pieces))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0

    def get_write_buffer_size(self) -> int:
        return self.unsent


class Answers:
    """What a caller understands of the bytes written to it (httptools callbacks)."""

    def __init__(self, written: bytes) -> None:
        self.got: list[tuple[int, bytes]] = []
        self._body = b""
        self._open = False
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(written)
        if self._open:
            # HTTP/1.0: the connection's end is the answer's.
            self.on_message_complete()

    def on_message_begin(self) -> None:
        self._body, self._open = b"", True

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._open = False
        status = self._parser.get_status_code()
        if status != 100:
            self.got.append((status, self._body if status == 200 else b""))


async def app(scope, receive, send) -> None:
    """Answers with its method, path and body."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body, more = body + message["body"], message["more_body"]
    data = b"%b %b %b" % (scope["method"].encode(), scope["raw_path"], body)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(data))]})
    await send({"type": "http.response.body", "body": data if scope["method"] != "HEAD" else b""})


def answer_as_told(incoming: Incoming) -> None:
    """Echo: at once, in parts, later, or later in parts, as the body's first byte says."""

    def whole() -> None:
        incoming.respond(200, TEXT, incoming.body)

    def parts() -> None:
        incoming.begin(200, TEXT, incoming.body[:2])
        incoming.send(incoming.body[2:3])
        incoming.finish(incoming.body[3:])

    ways: dict[bytes, Callable[[], None]] = {b"p": parts, b"l": whole, b"q": parts}
    way = ways.get(incoming.body[:1], whole)
    if incoming.body[:1] in {b"l", b"q"}:
        asyncio.get_running_loop().call_later(0, way)
    else:
        way()


class Seen(NamedTuple):
    """How a stream of bytes was answered."""

    answers: list[tuple[int, bytes]]
    ended: bool


def _connect(accept: Callable[[Incoming], None], reads: int = 0) -> tuple[RelayProtocol, Wire]:
    limits = CallerLimits(linger_s=0.0, headers_max=20)
    protocol = Reception(accept, {b"/r": "chat"}, body_max_bytes=BODY_MAX, limits=limits)
    config = uvicorn.Config(app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    wire = Wire(reads)
    connection = wire.protocol = protocol(config=config, server_state=ServerState(), app_state={})
    connection.connection_made(wire)
    return connection, wire


async def _play(pieces: Sequence[bytes], pause: int, reads: int) -> Seen:
    connection, wire = _connect(answer_as_told, reads)
    for piece in pieces:
        if wire.closing:
            break
        connection.data_received(piece)
        for _ in range(pause):
            await asyncio.sleep(0)
            wire.turn()
    for _ in range(TURNS_MAX):
        await asyncio.sleep(0)
        wire.turn()
        owed = [each for each in connection._cycles() if not each.response_complete]
        if wire.closing or not owed or (owed[0].more_body and owed[0] is connection._receiving):
            break
    assert not wire.paused
    seen = Seen(Answers(wire.written).got, wire.closing or wire.ended)
    wire.close()
    await asyncio.sleep(0)
    return seen


def _cut(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    return [stream[start:end] for start, end in pairwise(places) if start < end]


def play(stream: bytes, cuts: Sequence[int] = (), pause: int = 0, reads: int = 0) -> Seen:
    """Feed the stream, cut at these places, with so many turns of the loop between the pieces.

    `reads`: bytes the caller reads in a turn; 0 for a caller that takes everything at once.
    """
    return asyncio.run(_play(_cut(stream, cuts), pause, reads))


class Request(NamedTuple):
    """Bytes, and the answer they must get; `last`: the connection's end."""

    sent: bytes
    status: int = 200
    echoed: bytes = b""
    last: bool = False


def _post(body: bytes, *lines: bytes, last: bool = False, version: bytes = b"1.1") -> Request:
    head = b"\r\n".join([b"POST /r HTTP/" + version, b"host: h", *lines, b"content-length: %d" % len(body), b"", b""])
    return Request(head + body, 200, body, last)


def _chunked(body: bytes, size: int, extension: bytes, trailer: bytes) -> Request:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    head = b"POST /r HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
    return Request(b"%b%b0\r\n%b\r\n" % (head, chunks, trailer), 200, body)


def _app(method: bytes, path: bytes, body: bytes, *, close: bool) -> Request:
    lines = b"connection: close\r\n" if close else b"cookie: a\r\ncookie: b\r\n"
    head = b"%b %b HTTP/1.1\r\nhost: h\r\n%bcontent-length: %d\r\n\r\n" % (method, path, lines, len(body))
    return Request(head + body, 200, b"%b %b %b" % (method, path, body), close)


def _refused(sent: bytes, status: int = 400) -> Request:
    return Request(sent, status, b"", True)


BAD = [
    _refused(b"nonsense\r\n\r\n"),
    _refused(b"POST /r HTTP/1.1\r\ncontent-length: 0\r\n\r\n"),
    _refused(b"POST /r HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx"),
    _refused(b"POST /r HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    _refused(b"POST /r HTTP/1.1\r\nhost: h\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    _refused(b"PUT /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n"),
    _refused(b"POST /r HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"),
    _refused(b"PUT /a HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n"),
    _refused(b"POST /r HTTP/1.1\r\nhost: h\r\nauthorization: a\r\nauthorization: b\r\ncontent-length: 0\r\n\r\n"),
    _refused(b"GET /a HTTP/1.1\r\nhost: h\r\nx: a\r\n b\r\n\r\n"),
    _refused(b"POST /r HTTP/2.0\r\nhost: h\r\n\r\n", 505),
    _refused(b"POST /r HTTP/1.1\r\nhost: h\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx", 415),
    _refused(b"POST /r HTTP/1.1\r\nhost: h\r\ncontent-length: 201\r\n\r\n" + b"x" * 201, 413),
    _refused(b"POST /r HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nc9\r\n" + b"x" * 201, 413),
    _refused(b"POST /r HTTP/1.1\r\nhost: h\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(20)) + b"\r\n", 431),
    _refused(b"CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\n\r\n"),
]
bodies = st.builds(lambda way, rest: way + rest, st.sampled_from([b"", b"w", b"p", b"l", b"q"]), st.binary(max_size=40))
UPGRADE = b"connection: upgrade\r\nupgrade: h2c"
good = st.one_of(
    st.builds(_post, bodies),
    st.builds(
        _post, bodies, st.sampled_from([b"x: y", b"expect: 100-continue", b"connection: upgrade\r\nupgrade: h2c"])
    ),
    st.builds(_post, bodies, st.just(b"connection: close"), last=st.just(True)),
    st.builds(_post, bodies, version=st.just(b"1.0"), last=st.just(True)),
    st.builds(
        _chunked,
        bodies,
        st.integers(1, 9),
        st.sampled_from([b"", b";a=b"]),
        st.sampled_from([b"", b"x: y\r\n", b"authorization: z\r\n"]),
    ),
    st.builds(
        _app,
        st.sampled_from([b"GET", b"PUT", b"POST"]),
        st.sampled_from([b"/a", b"/b%20c"]),
        st.binary(max_size=20),
        close=st.booleans(),
    ),
)
streams = st.lists(st.one_of(good, good, good, st.sampled_from(BAD)), min_size=1, max_size=8)
cuts = st.lists(st.integers(0, 2_000), max_size=12)


def _expected(requests: Sequence[Request]) -> Seen:
    answers = []
    for request in requests:
        answers.append((request.status, request.echoed))
        if request.last:
            return Seen(answers, ended=True)
    return Seen(answers, ended=False)


@given(streams, cuts, st.integers(0, 2), st.sampled_from([0, 20, 200]))
@example([_post(b"l"), *[_post(b"q1234")] * 7], [], 0, 0)
@example([_post(b"lx"), BAD[0]], [], 0, 0)
@example([_post(b"w1234")] * 8, [], 0, 20)
def test_each_request_gets_its_answer_in_its_turn_at_any_split(
    requests: list[Request], cuts: list[int], pause: int, reads: int
) -> None:
    stream = b"".join(request.sent for request in requests)
    assert play(stream, cuts, pause, reads) == _expected(requests)


@given(st.sampled_from(BAD), st.integers(0, 1))
@settings(max_examples=20)
def test_a_bad_request_byte_by_byte(bad: Request, pause: int) -> None:
    stream = _post(b"first").sent + bad.sent
    assert play(stream, range(len(stream)), pause).answers == [(200, b"first"), (bad.status, b"")]


HOSTILE = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b"\x0b", b":", b";", b",", b"\xff", b"0\r\n\r\n", b"chunked", b"HTTP/1",
    b"content-length: 3\r\n", b"transfer-encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"host: g\r\n",
    b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n", b"connection: close\r\n", b"upgrade: h2c\r\nconnection: upgrade\r\n",
]  # fmt: skip
damage = st.lists(
    st.tuples(st.integers(0, 2_000), st.integers(0, 5), st.one_of(st.sampled_from(HOSTILE), st.binary(max_size=3))),
    min_size=1,
    max_size=4,
)


def _damaged(stream: bytes, damage: Sequence[tuple[int, int, bytes]]) -> bytes:
    for place, cut, put in damage:
        at = place % (len(stream) + 1)
        stream = stream[:at] + put + stream[at + cut :]
    return stream


def _check_damaged(requests: list[Request], damage: list[tuple[int, int, bytes]], cuts: list[int], pause: int) -> None:
    """Nothing raises, what comes back are whole answers, and no split changes what the bytes mean."""
    stream = _damaged(b"".join(request.sent for request in requests), damage)
    at_once = play(stream)
    assert play(stream, cuts, pause) == at_once
    assert all(status in {200, 400, 408, 413, 415, 431, 505} for status, _ in at_once.answers)
    refused = [status for status, _ in at_once.answers if status != 200]
    assert len(refused) <= 1
    if refused:
        assert at_once.ended
        assert at_once.answers[-1][0] == refused[0]


@given(streams, damage, cuts, st.integers(0, 1))
def test_damaged_streams_mean_the_same_at_any_split(
    requests: list[Request], damage: list[tuple[int, int, bytes]], cuts: list[int], pause: int
) -> None:
    _check_damaged(requests, damage, cuts, pause)


@pytest.mark.long
@given(streams, damage, cuts, st.integers(0, 1))
@settings(max_examples=20_000)
def test_damaged_streams_for_longer(
    requests: list[Request], damage: list[tuple[int, int, bytes]], cuts: list[int], pause: int
) -> None:
    _check_damaged(requests, damage, cuts, pause)


class Told:
    """A listener that counts, on a request that is answered only if its body says so."""

    def __init__(self, incoming: Incoming) -> None:
        self.incoming = incoming
        self.gone = 0
        incoming.listener = self
        if incoming.body[:1] == b"w":
            incoming.listener = None
            incoming.respond(200, TEXT, incoming.body)

    def on_caller_gone(self) -> None:
        self.gone += 1


async def _leave(pieces: Sequence[bytes]) -> list[Told]:
    told: list[Told] = []
    connection, wire = _connect(lambda incoming: told.append(Told(incoming)))
    for piece in pieces:
        if not wire.closing:
            connection.data_received(piece)
            await asyncio.sleep(0)
    if not wire.closing:
        wire.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert connection not in connection.connections
    return told


@given(st.lists(good, min_size=1, max_size=6), cuts, st.integers(0, 2_000))
def test_whoever_answers_is_told_once_wherever_the_caller_leaves(
    requests: list[Request], cuts: list[int], end: int
) -> None:
    stream = b"".join(request.sent for request in requests)
    told = asyncio.run(_leave(_cut(stream[: end % (len(stream) + 1)], cuts)))
    assert all(each.gone == (not each.incoming.response_complete) for each in told)
    assert sum(each.gone for each in told) <= 1


@given(st.binary(max_size=300), cuts)
def test_any_bytes_at_all(stream: bytes, cuts: list[int]) -> None:
    assert play(stream, cuts) == play(stream)
