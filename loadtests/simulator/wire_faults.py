"""Faults of the connection, of time and of HTTP framing, each as a change of a reply: pure."""

import zlib
from collections.abc import Callable
from typing import Final

from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.reply import End, Piece, Reply

Change = Callable[[Reply, Fault], Reply]

_BODY_PIECES: Final = 4
_HEAD_LINE_BYTES: Final = 1000
_INTERIM: Final = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n"
_UNASKED: Final = (
    b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 30\r\n\r\n{"answer":"to no request yet"}'
)
_GARBAGE: Final = b"\x16\x03\x03\x00\x02this is no HTTP\r\n\r\n"


def _silent(end: End) -> Change:
    def change(reply: Reply, _: Fault) -> Reply:
        return reply._replace(pieces=(), silent=True, end=end, whole=False)

    return change


def _close_after(reply: Reply, _: Fault) -> Reply:
    return reply._replace(end=End.CLOSE)


def _slow_headers(reply: Reply, fault: Fault) -> Reply:
    pieces = tuple(piece._replace(due_s=piece.due_s + fault.delay_s) for piece in reply.pieces)
    return reply._replace(pieces=pieces, headers_due_s=reply.headers_due_s + fault.delay_s)


def _slow_body(reply: Reply, fault: Fault) -> Reply:
    if reply.length is not None:
        reply = reply._replace(pieces=_quartered(reply))
    pieces = tuple(
        piece._replace(due_s=piece.due_s + fault.delay_s * index) for index, piece in enumerate(reply.pieces, 1)
    )
    return reply._replace(pieces=pieces)


def _quartered(reply: Reply) -> tuple[Piece, ...]:
    data, due_s = reply.data, reply.last_due_s
    size = max(1, -(-len(data) // _BODY_PIECES))
    return tuple(Piece(due_s, data[start : start + size]) for start in range(0, len(data), size))


def _unfinished(end: End) -> Change:
    def change(reply: Reply, fault: Fault) -> Reply:
        return reply._replace(pieces=beginning(reply, fault), last_chunk=b"", end=end, whole=False)

    return change


def beginning(reply: Reply, fault: Fault) -> tuple[Piece, ...]:
    """Return the first events of a stream, or the first half of a single body."""
    if reply.length is None:
        return reply.pieces[: fault.events]
    data = reply.data
    return (Piece(reply.last_due_s, data[: len(data) // 2]),)


def _garbage(reply: Reply, _: Fault) -> Reply:
    return Reply((), reply.headers_due_s, length=0, before=_GARBAGE, end=End.CLOSE, whole=False)


def _bad_chunk(reply: Reply, fault: Fault) -> Reply:
    begun = beginning(reply, fault)
    return reply._replace(pieces=begun, length=None, last_chunk=b"not-a-chunk-size\r\n", end=End.CLOSE, whole=False)


def _odd_chunks(reply: Reply, _: Fault) -> Reply:
    """Frame as few servers do and all may: extensions, leading zeros, capitals, a trailer."""
    return reply._replace(
        length=None,
        frame_chunk=lambda data: b'00%X;name="a;b"\r\n%b\r\n' % (len(data), data),
        last_chunk=b"000;last\r\nx-trailer: simulated\r\n\r\n",
    )


def _wrong_length(reply: Reply, fault: Fault) -> Reply:
    data = reply.data
    length = max(0, len(data) + fault.length_delta)
    return reply._replace(pieces=(Piece(reply.last_due_s, data),), length=length, end=End.CLOSE, whole=False)


def _conflicting_length(reply: Reply, fault: Fault) -> Reply:
    data = reply.data
    lie = ("content-length", str(max(0, len(data) + fault.length_delta)))
    pieces = (Piece(reply.last_due_s, data),)
    return reply._replace(pieces=pieces, headers=(*reply.headers, lie), length=len(data), end=End.CLOSE, whole=False)


def _length_and_chunked(reply: Reply, fault: Fault) -> Reply:
    lie = ("content-length", str(max(0, len(reply.data) + fault.length_delta)))
    return reply._replace(headers=(*reply.headers, lie), length=None, end=End.CLOSE, whole=False)


def _eof_body(reply: Reply, _: Fault) -> Reply:
    return reply._replace(length=None, until_eof=True, end=End.CLOSE)


def _duplicate_headers(reply: Reply, _: Fault) -> Reply:
    more = (("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-request-id", "another"), ("server", "another"))
    return reply._replace(headers=(*reply.headers, *reply.headers, *more))


def _huge_head(reply: Reply, fault: Fault) -> Reply:
    lines = -(-fault.size_bytes // _HEAD_LINE_BYTES)
    more = tuple((f"x-padding-{number}", "x" * (_HEAD_LINE_BYTES - 24)) for number in range(lines))
    return reply._replace(headers=(*reply.headers, *more))


def _interim(reply: Reply, _: Fault) -> Reply:
    return reply._replace(before=_INTERIM)


def _unsolicited(reply: Reply, _: Fault) -> Reply:
    return reply._replace(after=_UNASKED)


def _gzipped(reply: Reply, _: Fault) -> Reply:
    """Compress for good, each piece flushed so that a stream still arrives piece by piece."""
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(piece.data) + packer.flush(zlib.Z_SYNC_FLUSH) for piece in reply.pieces]
    packed[-1] += packer.flush()
    pieces = tuple(piece._replace(data=data) for piece, data in zip(reply.pieces, packed, strict=True))
    length = None if reply.length is None else sum(map(len, packed))
    return reply._replace(pieces=pieces, headers=(*reply.headers, ("content-encoding", "gzip")), length=length)


CHANGES: Final[dict[FaultKind, Change]] = {
    FaultKind.RESET: _silent(End.RESET),
    FaultKind.CLOSE: _silent(End.CLOSE),
    FaultKind.STALE: _silent(End.RESET),
    FaultKind.BLACK_HOLE: _silent(End.HANG),
    FaultKind.CLOSE_AFTER: _close_after,
    FaultKind.CUT_STREAM: _unfinished(End.CLOSE),
    FaultKind.RESET_IN_BODY: _unfinished(End.RESET),
    FaultKind.STALL: _unfinished(End.HANG),
    FaultKind.SLOW_HEADERS: _slow_headers,
    FaultKind.SLOW_BODY: _slow_body,
    FaultKind.GARBAGE: _garbage,
    FaultKind.BAD_CHUNK: _bad_chunk,
    FaultKind.ODD_CHUNKS: _odd_chunks,
    FaultKind.WRONG_LENGTH: _wrong_length,
    FaultKind.CONFLICTING_LENGTH: _conflicting_length,
    FaultKind.LENGTH_AND_CHUNKED: _length_and_chunked,
    FaultKind.EOF_BODY: _eof_body,
    FaultKind.DUPLICATE_HEADERS: _duplicate_headers,
    FaultKind.HUGE_HEAD: _huge_head,
    FaultKind.INTERIM: _interim,
    FaultKind.UNSOLICITED: _unsolicited,
    FaultKind.GZIP: _gzipped,
}
