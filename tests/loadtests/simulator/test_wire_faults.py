"""Each fault as a change of a reply; no sockets."""

import zlib

import pytest

from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.reply import End, Reply, Script, script
from loadtests.simulator.wire_faults import CHANGES


@pytest.fixture
def bent(plan_reply):
    def bend(kind: FaultKind, *, stream: bool = True, **figures: object) -> Reply:
        return CHANGES[kind](plan_reply(stream=stream), Fault(kind, **figures))

    return bend


@pytest.mark.parametrize(
    ("kind", "end"),
    [
        (FaultKind.RESET, End.RESET),
        (FaultKind.STALE, End.RESET),
        (FaultKind.CLOSE, End.CLOSE),
        (FaultKind.BLACK_HOLE, End.HANG),
    ],
)
def test_silent_faults_write_nothing(bent, kind, end) -> None:
    assert script(bent(kind), "r") == Script((), end, whole=False)


def test_a_connection_closed_after_its_answer_does_not_say_so(bent, wire) -> None:
    found = script(bent(FaultKind.CLOSE_AFTER), "r")
    assert (found.end, found.whole) == (End.CLOSE, True)
    assert wire(found).endswith(b"0\r\n\r\n")
    assert b"connection: close" not in wire(found)


def test_slow_headers_delay_everything(bent) -> None:
    writes = script(bent(FaultKind.SLOW_HEADERS, delay_s=10), "r").writes
    assert [write.due_s for write in writes] == [10.5, 11.0, 12.0, 13.0]


def test_a_slow_body_stretches_a_stream_and_quarters_a_single_body(bent, plan_reply) -> None:
    stream = script(bent(FaultKind.SLOW_BODY, delay_s=10), "r").writes
    assert [write.due_s for write in stream] == [0.5, 10.5, 21.0, 32.0, 43.0, 53.0, 63.0]
    slow = bent(FaultKind.SLOW_BODY, stream=False, delay_s=10)
    assert [piece.due_s for piece in slow.pieces] == [13.0, 23.0, 33.0, 43.0]
    assert slow.data == plan_reply(stream=False).data


@pytest.mark.parametrize(
    ("kind", "end"),
    [(FaultKind.CUT_STREAM, End.CLOSE), (FaultKind.RESET_IN_BODY, End.RESET), (FaultKind.STALL, End.HANG)],
)
def test_a_cut_or_stalled_stream_ends_after_its_events_without_the_last_chunk(bent, wire, kind, end) -> None:
    found = script(bent(kind, events=2), "r")
    assert (found.end, found.whole) == (end, False)
    assert wire(found).count(b"data: ") == 2
    assert not wire(found).endswith(b"0\r\n\r\n")
    assert b"connection: close" not in wire(found)


def test_a_cut_before_any_event_leaves_the_headers(bent) -> None:
    (write,) = script(bent(FaultKind.CUT_STREAM, events=0), "r").writes
    assert write.data.endswith(b"\r\n\r\n")
    assert write.due_s == 0.5


@pytest.mark.parametrize("kind", [FaultKind.CUT_STREAM, FaultKind.RESET_IN_BODY])
def test_a_cut_single_body_is_half_of_what_its_length_promises(bent, plan_reply, kind) -> None:
    whole, cut = plan_reply(stream=False), bent(kind, stream=False)
    assert cut.length == len(whole.data)
    assert len(cut.data) == len(whole.data) // 2


def test_garbage_is_no_http(bent, wire) -> None:
    assert not wire(script(bent(FaultKind.GARBAGE), "r")).startswith(b"HTTP/")


@pytest.mark.parametrize("stream", [True, False])
def test_a_bad_chunk_breaks_the_framing(bent, wire, stream) -> None:
    found = script(bent(FaultKind.BAD_CHUNK, stream=stream, events=1), "r")
    assert wire(found).endswith(b"not-a-chunk-size\r\n")
    assert b"transfer-encoding: chunked" in wire(found)
    assert (found.end, found.whole) == (End.CLOSE, False)


@pytest.mark.parametrize("stream", [True, False])
def test_odd_chunks_are_legal_and_hold_the_same(bent, wire, plan_reply, stream) -> None:
    reply = bent(FaultKind.ODD_CHUNKS, stream=stream)
    assert (reply.data, reply.whole) == (plan_reply(stream=stream).data, True)
    found = wire(script(reply, "r"))
    assert b';name="a;b"\r\n' in found
    assert found.endswith(b"\r\n000;last\r\nx-trailer: simulated\r\n\r\n")


@pytest.mark.parametrize(("delta", "stream"), [(16, False), (-5, False), (16, True), (-1_000_000, False)])
def test_a_wrong_length_is_off_by_the_delta(bent, delta, stream) -> None:
    found = bent(FaultKind.WRONG_LENGTH, stream=stream, length_delta=delta)
    assert found.length == max(0, len(found.data) + delta)
    assert (found.end, found.whole) == (End.CLOSE, False)


def test_a_conflicting_length_is_said_beside_the_true_one(bent, wire) -> None:
    reply = bent(FaultKind.CONFLICTING_LENGTH, stream=False, length_delta=5)
    found = wire(script(reply, "r"))
    assert b"content-length: %d\r\n" % len(reply.data) in found
    assert b"content-length: %d\r\n" % (len(reply.data) + 5) in found


@pytest.mark.parametrize("stream", [True, False])
def test_length_and_chunked_at_once(bent, wire, stream) -> None:
    found = wire(script(bent(FaultKind.LENGTH_AND_CHUNKED, stream=stream), "r"))
    assert b"content-length: " in found
    assert b"transfer-encoding: chunked" in found


@pytest.mark.parametrize("stream", [True, False])
def test_a_body_up_to_the_end_of_the_connection(bent, plan_reply, stream) -> None:
    found = bent(FaultKind.EOF_BODY, stream=stream)
    assert (found.until_eof, found.end, found.whole) == (True, End.CLOSE, True)
    assert found.data == plan_reply(stream=stream).data


def test_headers_come_twice(bent, wire) -> None:
    found = wire(script(bent(FaultKind.DUPLICATE_HEADERS), "r"))
    for line in (b"content-type: ", b"set-cookie: ", b"x-request-id: "):
        assert found.count(line) == 2


def test_a_huge_head(bent, wire) -> None:
    head = wire(script(bent(FaultKind.HUGE_HEAD, size_bytes=100_000), "r")).partition(b"\r\n\r\n")[0]
    assert len(head) >= 98_000
    assert max(map(len, head.split(b"\r\n"))) < 1024


def test_interim_answers_come_first(bent, wire) -> None:
    found = wire(script(bent(FaultKind.INTERIM), "r"))
    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n")
    assert found.split(b"\r\n\r\n")[2].startswith(b"HTTP/1.1 200 OK")


def test_an_answer_nobody_asked_for_follows_and_the_connection_stays(bent, wire) -> None:
    reply = bent(FaultKind.UNSOLICITED, stream=False)
    first, second = wire(script(reply, "r")).split(b"HTTP/1.1 200 OK")[1:]
    assert first.endswith(reply.data)
    head, _, body = second.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
    assert (reply.end, reply.whole) == (End.KEEP, True)


@pytest.mark.parametrize("stream", [True, False])
def test_gzip_unpacks_to_the_same_body_piece_by_piece(bent, plan_reply, stream) -> None:
    plain, packed = plan_reply(stream=stream), bent(FaultKind.GZIP, stream=stream)
    unpacker = zlib.decompressobj(wbits=31)
    assert [unpacker.decompress(piece.data) for piece in packed.pieces] == [piece.data for piece in plain.pieces]
    assert unpacker.eof
    assert ("content-encoding", "gzip") in packed.headers
    assert packed.length in (None, len(packed.data))
