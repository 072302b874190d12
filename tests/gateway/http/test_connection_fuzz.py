"""Any bytes at any split: no exception leaves the connection, exactly one end is told, nothing hangs."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.outcome import Failure
from gateway.http.client import Pool
from gateway.http.connection import Connection
from gateway.http.lease import Answer


class Wire(asyncio.Transport):
    """The transport of a connection whose bytes the test makes up."""

    closed = paused = False

    def write(self, data: bytes) -> None:
        assert not self.closed

    def abort(self) -> None:
        self.closed = True

    close = abort

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0


class Told:
    """What a receiver heard, in order."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.ends: list[str] = []

    def on_answer(self, answer: Answer, data: bytes, *, complete: bool) -> None:
        assert not self.ends
        self.status = answer.status
        self.body += data
        if complete:
            self.ends.append("complete")

    def on_failure(self, failure: Failure) -> None:
        assert not self.ends
        assert failure.text
        self.ends.append(failure.kind)


def converse(pieces: Sequence[bytes], *, gone: Exception | None = None) -> tuple[Told, Connection, Wire]:
    """Ask once on a new connection, let it receive `pieces` and then the end of the connection."""
    pool = Pool("h", 1, answer_max_bytes=10_000)
    wire, told, connection = Wire(), Told(), Connection(pool)
    connection.connection_made(wire)
    pool.give_back(connection)
    lease = pool.request(told, b"head", b"body")
    for piece in pieces:
        connection.data_received(piece)
    if not told.ends:
        assert not wire.closed
        if gone is None:
            connection.eof_received()
        connection.connection_lost(gone)
    assert len(told.ends) == 1
    assert lease.connection is None
    return told, connection, wire


def split(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges) if start < stop]


places = st.lists(st.integers(0, 10_000), max_size=12)
names = st.sampled_from(
    [b"content-length", b"transfer-encoding", b"content-encoding", b"connection", b"content-type", b"Upgrade", b"x"]
)
values = st.one_of(
    st.sampled_from([b"2", b"0", b"chunked", b"gzip", b"close", b"keep-alive", b"identity", b"text/event-stream", b""]),
    st.binary(max_size=6),
)
starts = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n",
        b"HTTP/1.1 204 \r\n",
        b"HTTP/1.1 5\r\n",
    ]
)
bodies = st.sampled_from(
    [b"ok", b"2\r\nok\r\n0\r\n\r\n", b"0\r\n\r\n", b"", b"\x1f\x8b\x08", b"\r\n", b"2\r\nok\r\nfff\r\n"]
)


@st.composite
def almost_answers(draw) -> bytes:
    """Answers, broken ones, several in a row."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        fields = draw(st.lists(st.tuples(names, values), max_size=4))
        parts += [draw(starts), *(b"%b: %b\r\n" % field for field in fields), b"\r\n", draw(bodies)]
    return b"".join(parts)


@given(st.one_of(almost_answers(), st.binary(max_size=200)), places, st.sampled_from([None, ConnectionResetError()]))
def test_any_bytes_at_any_split(data: bytes, where: list[int], gone: Exception | None) -> None:
    converse(split(data, where), gone=gone)


@given(almost_answers(), places)
def test_a_split_changes_nothing(data: bytes, where: list[int]) -> None:
    def seen(pieces: Sequence[bytes]) -> tuple[object, ...]:
        told, _, _ = converse(pieces)
        # How much was told of one that broke depends on what came together.
        return (told.status, told.body) if told.ends == ["complete"] else tuple(told.ends)

    assert seen(split(data, where)) == seen([data])


@given(st.binary(max_size=300), places, st.booleans())
def test_a_good_answer_comes_out_as_it_went_in(body: bytes, where: list[int], chunked) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in split(body, where))
    head = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % len(body)
    data = b"HTTP/1.1 200 OK\r\n%b\r\n\r\n%b" % (head, chunks + b"0\r\n\r\n" if chunked else body)
    told, connection, wire = converse(split(data, where[::-1]))
    assert (told.status, told.body, told.ends) == (200, body, ["complete"])
    assert not connection.closing
    assert not wire.closed


@pytest.mark.parametrize("then", [b"x", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"])
def test_what_comes_unasked_closes_the_connection(then: bytes) -> None:
    _, connection, wire = converse([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"])
    connection.data_received(then)
    assert wire.closed
    assert connection.closing
