"""Each fault as a change of a reply, and the bytes of its script; no sockets."""

import zlib

import pytest

from loadtests.simulator.answers import Answer, Finish
from loadtests.simulator.chunks import DONE, Ident
from loadtests.simulator.draws import Schedule
from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.reply import (
    End,
    Reply,
    Script,
    bend,
    bent_answer,
    error_reply,
    json_reply,
    plan,
    refusal,
    script,
)
from loadtests.simulator.wire import Api, Ask, WireError

ANSWER = Answer(("a", "b", "c"), Finish.STOP)
TIMES = Schedule((1.0, 2.0, 3.0))
NO_TIME = Schedule((0.0, 0.0, 0.0))


def reply(*, stream: bool = True, times: Schedule = TIMES) -> Reply:
    return plan(Ask(Api.CHAT, "m", "q", 1, stream=stream), ANSWER, Ident("i", 0), times)


def wire(found: Script) -> bytes:
    return b"".join(write.data for write in found.writes)


def bent(kind: FaultKind, *, stream: bool = True, **figures: object) -> Reply:
    return bend(reply(stream=stream), Fault(kind, **figures))


def body_of(found: Reply) -> bytes:
    return b"".join(piece.data for piece in found.pieces)


def test_headers_and_role_leave_at_half_the_time_to_first_token_then_each_token_at_its_own() -> None:
    writes = script(reply(), "r").writes
    assert [write.due_s for write in writes] == [0.5, 1.0, 2.0, 3.0]
    assert writes[0].data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"role":"assistant"' in writes[0].data
    assert b"[DONE]" in writes[-1].data
    assert sum(write.pieces for write in writes) == len(reply().pieces) == 6


def test_what_is_due_at_once_is_one_write_of_one_chunk_for_each_event() -> None:
    (write,) = script(reply(times=NO_TIME), "r").writes
    assert write.data.count(b"data: ") == 6
    assert write.data.endswith(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


def test_a_single_body_comes_with_its_length_when_the_last_token_would() -> None:
    (write,) = script(reply(stream=False), "r").writes
    head, _, body = write.data.partition(b"\r\n\r\n")
    assert write.due_s == 3.0
    assert f"content-length: {len(body)}".encode() in head


def test_every_head_says_simulator_and_names_the_request() -> None:
    head = wire(script(reply(), "req-1"))
    assert b"x-glidepath-simulator: 1\r\n" in head
    assert b"x-request-id: req-1\r\n" in head
    assert b"content-type: text/event-stream" in head


def test_a_client_that_wants_to_close_is_told_so() -> None:
    found = script(reply(), "r", keep_alive=False)
    assert (found.end, found.whole) == (End.CLOSE, True)
    assert b"connection: close" in wire(found)


@pytest.mark.parametrize(
    ("kind", "end"),
    [(FaultKind.RESET, End.RESET), (FaultKind.CLOSE, End.CLOSE), (FaultKind.BLACK_HOLE, End.HANG)],
)
def test_silent_faults_write_nothing(kind: FaultKind, end: End) -> None:
    assert script(bent(kind), "r") == Script((), end, whole=False)


def test_slow_headers_delay_everything() -> None:
    assert [write.due_s for write in script(bent(FaultKind.SLOW_HEADERS, delay_s=10), "r").writes] == [
        10.5,
        11.0,
        12.0,
        13.0,
    ]


def test_a_slow_body_stretches_a_stream_and_quarters_a_single_body() -> None:
    stream = script(bent(FaultKind.SLOW_BODY, delay_s=10), "r").writes
    assert [write.due_s for write in stream] == [0.5, 10.5, 21.0, 32.0, 43.0, 53.0, 63.0]
    whole, slow = reply(stream=False), bent(FaultKind.SLOW_BODY, stream=False, delay_s=10)
    assert [piece.due_s for piece in slow.pieces] == [13.0, 23.0, 33.0, 43.0]
    assert body_of(slow) == body_of(whole)


@pytest.mark.parametrize(("kind", "end"), [(FaultKind.CUT_STREAM, End.CLOSE), (FaultKind.STALL, End.HANG)])
def test_a_cut_or_stalled_stream_ends_after_its_events_without_the_last_chunk(kind: FaultKind, end: End) -> None:
    found = script(bent(kind, events=2), "r")
    assert (found.end, found.whole) == (end, False)
    assert wire(found).count(b"data: ") == 2
    assert not wire(found).endswith(b"0\r\n\r\n")
    assert b"connection: close" not in wire(found)


def test_a_cut_before_any_event_leaves_the_headers() -> None:
    (write,) = script(bent(FaultKind.CUT_STREAM, events=0), "r").writes
    assert write.data.endswith(b"\r\n\r\n")
    assert write.due_s == 0.5


def test_a_cut_single_body_is_half_of_what_its_length_promises() -> None:
    whole, cut = reply(stream=False), bent(FaultKind.CUT_STREAM, stream=False)
    assert cut.length == len(body_of(whole))
    assert len(body_of(cut)) == len(body_of(whole)) // 2


def test_a_clean_cut_is_a_well_framed_stream_without_finish() -> None:
    found = script(bent(FaultKind.CLEAN_CUT, events=2), "r")
    assert found.whole
    assert wire(found).endswith(b"0\r\n\r\n")
    assert b'"finish_reason":"stop"' not in wire(found)


@pytest.mark.parametrize("stream", [True, False])
def test_a_bad_chunk_breaks_the_framing(*, stream: bool) -> None:
    found = script(bent(FaultKind.BAD_CHUNK, stream=stream, events=1), "r")
    assert wire(found).endswith(b"not-a-chunk-size\r\n")
    assert b"transfer-encoding: chunked" in wire(found)


def test_missing_done_leaves_out_only_that() -> None:
    pieces = [piece.data for piece in bent(FaultKind.MISSING_DONE).pieces]
    assert pieces == [piece.data for piece in reply().pieces if piece.data != DONE]
    assert len(pieces) == 5


@pytest.mark.parametrize("events", [0, 2])
def test_an_error_event_follows_the_events_and_is_the_last(events: int) -> None:
    found = bent(FaultKind.ERROR_EVENT, events=events, status=500)
    assert len(found.pieces) == events + 1
    assert b'"error":{' in found.pieces[-1].data
    assert script(found, "r").whole


@pytest.mark.parametrize(("delta", "stream"), [(16, False), (-5, False), (16, True), (-1_000_000, False)])
def test_a_wrong_length_is_off_by_the_delta(*, delta: int, stream: bool) -> None:
    found = bent(FaultKind.WRONG_LENGTH, stream=stream, length_delta=delta)
    assert found.length == max(0, len(body_of(found)) + delta)
    assert found.end is End.CLOSE


@pytest.mark.parametrize("stream", [True, False])
def test_gzip_unpacks_to_the_same_body_piece_by_piece(*, stream: bool) -> None:
    plain, packed = reply(stream=stream), bent(FaultKind.GZIP, stream=stream)
    unpacker = zlib.decompressobj(wbits=31)
    assert [unpacker.decompress(piece.data) for piece in packed.pieces] == [piece.data for piece in plain.pieces]
    assert unpacker.eof
    assert ("content-encoding", "gzip") in packed.headers
    assert packed.length in (None, len(body_of(packed)))


def test_faults_of_content_change_the_answer_and_others_do_not() -> None:
    filtered = bent_answer(ANSWER, Fault(FaultKind.CONTENT_FILTER, events=2))
    assert filtered == Answer(("a", "b"), Finish.CONTENT_FILTER)
    assert len(bent_answer(ANSWER, Fault(FaultKind.HUGE_ANSWER, size_bytes=200_000)).text) == 200_000
    assert len(bent_answer(ANSWER, Fault(FaultKind.HUGE_ANSWER, size_bytes=65_536)).pieces) == 1
    assert bent_answer(ANSWER, Fault(FaultKind.GZIP)) is ANSWER
    assert bent_answer(ANSWER, None) is ANSWER


def test_faults_that_are_no_change_of_the_wire_leave_the_reply_alone() -> None:
    plain = reply()
    assert bend(plain, None) is plain
    assert bend(plain, Fault(FaultKind.CONTENT_FILTER)) is plain


@pytest.mark.parametrize(("after_s", "headers"), [(None, ()), (7.0, (("retry-after", "7"),))])
def test_an_error_status_comes_with_or_without_retry_after(after_s: float | None, headers: tuple) -> None:
    error = refusal(Fault(FaultKind.STATUS, status=429, retry_after_s=after_s))
    assert error is not None
    assert (error.status, error.headers) == (429, headers)
    assert error.body["error"]["code"] == "rate_limit_exceeded"


def test_a_context_overflow_is_a_400_with_its_code_and_other_faults_refuse_nothing() -> None:
    error = refusal(Fault(FaultKind.CONTEXT_OVERFLOW))
    assert error is not None
    assert (error.status, error.body["error"]["code"]) == (400, "context_length_exceeded")
    assert refusal(Fault(FaultKind.RESET)) is None


@pytest.mark.parametrize(("status", "line"), [(503, b"503 Service Unavailable"), (529, b"529 Overloaded")])
def test_an_error_reply_has_its_status_line(status: int, line: bytes) -> None:
    found = error_reply(WireError(status, "no", headers=(("retry-after", "1"),)))
    assert wire(script(found, "r")).startswith(b"HTTP/1.1 " + line)
    assert ("retry-after", "1") in found.headers


def test_a_reply_without_pieces_is_over_with_its_headers() -> None:
    assert Reply((), 2.0).last_due_s == 2.0
    assert json_reply({}, 1.0).last_due_s == 1.0
