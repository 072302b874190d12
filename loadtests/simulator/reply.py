"""One reply as timed pieces, and how a wire fault changes it: pure, so that each fault can be tested without a socket.

`plan` builds the reply the partner would give, `FAULTED` bends it, and `script` frames it into timed writes and a way
to end. The protocol only performs scripts.
"""

import zlib
from collections.abc import Callable
from enum import Enum, auto
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from loadtests.simulator import chunks, responses
from loadtests.simulator.answers import Answer, Finish, limited
from loadtests.simulator.chunks import DONE, Ident
from loadtests.simulator.draws import Schedule
from loadtests.simulator.faults import STATUSES, Fault, FaultKind
from loadtests.simulator.wire import Api, Ask, WireError, error_object

_PIECE_BYTES: Final = 64 * 1024
_BODY_PIECES: Final = 4


class End(Enum):
    """What happens to the connection after the last write."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()
    HANG = auto()


class Piece(NamedTuple):
    """A part of the body and when it is due, in seconds after the request arrived."""

    due_s: float
    data: bytes


class Reply(NamedTuple):
    """One answer before framing. `length` None means chunked; `tail` is written raw after the last piece."""

    pieces: tuple[Piece, ...]
    headers_due_s: float = 0.0
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None
    silent: bool = False
    terminated: bool = True
    tail: bytes = b""
    end: End = End.KEEP

    @property
    def last_due_s(self) -> float:
        """Return when the last piece is due."""
        return self.pieces[-1].due_s if self.pieces else self.headers_due_s


class Write(NamedTuple):
    """Bytes for the socket, when they are due, and how many pieces (events) they hold."""

    due_s: float
    data: bytes
    pieces: int


class Script(NamedTuple):
    """Timed writes and the way to end: all the protocol needs to know. `whole` is false when a fault broke it."""

    writes: tuple[Write, ...]
    end: End
    whole: bool


_JSON: Final = (("content-type", "application/json"),)
_SSE: Final = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))


def json_reply(
    payload: object, due_s: float = 0.0, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Reply:
    """Return a reply with one JSON body."""
    data = msgspec.json.encode(payload)
    return Reply((Piece(due_s, data),), due_s, status, _JSON + headers, len(data))


def error_reply(error: WireError) -> Reply:
    """Return the reply to a request that is refused."""
    return json_reply(error.body, status=error.status, headers=error.headers)


def plan(ask: Ask, answer: Answer, ident: Ident, times: Schedule) -> Reply:
    """Return the reply without wire faults.

    Headers and the opening events leave at half the time to first token, so a client that takes either for the first
    token measures visibly wrong.
    """
    wire = responses if ask.api is Api.RESPONSES else chunks
    if not ask.stream:
        return json_reply(wire.body(ask, answer, ident), times.total_s)
    opening, contents, closing = wire.events(ask, answer, ident)
    early_s, late_s = times.ttft_s / 2, times.total_s
    pieces = (
        *(Piece(early_s, data) for data in opening),
        *map(Piece, times.tokens_s, contents),
        *(Piece(late_s, data) for data in closing),
    )
    return Reply(pieces, early_s, headers=_SSE)


def bent_answer(answer: Answer, fault: Fault | None) -> Answer:
    """Return the answer as a fault of content changes it: filtered after a few pieces, or huge."""
    if fault is None:
        return answer
    if fault.kind is FaultKind.CONTENT_FILTER:
        return Answer(limited(answer.pieces, fault.events).pieces, Finish.CONTENT_FILTER)
    if fault.kind is FaultKind.HUGE_ANSWER:
        whole, rest = divmod(fault.size_bytes, _PIECE_BYTES)
        return Answer(("x" * _PIECE_BYTES,) * whole + ("x" * rest,) * bool(rest), Finish.STOP)
    return answer


def refusal(fault: Fault) -> WireError | None:
    """Return the error answer a fault stands for, if it stands for one."""
    if fault.kind is FaultKind.CONTEXT_OVERFLOW:
        message = "This model's maximum context length is 8192 tokens. Please reduce the length of the messages."
        return WireError(400, message, param="messages", code="context_length_exceeded")
    if fault.kind is not FaultKind.STATUS:
        return None
    status = STATUSES[fault.status]
    headers = () if fault.retry_after_s is None else (("retry-after", f"{fault.retry_after_s:g}"),)
    return WireError(fault.status, status.message, kind=status.type, code=status.code, headers=headers)


def bend(reply: Reply, fault: Fault | None) -> Reply:
    """Return `reply` as a fault of the wire changes it."""
    change = FAULTED.get(fault.kind) if fault is not None else None
    return reply if change is None or fault is None else change(reply, fault)


def _silent(end: End) -> Callable[[Reply, Fault], Reply]:
    def change(reply: Reply, _: Fault) -> Reply:
        return reply._replace(pieces=(), silent=True, end=end)

    return change


def _slow_headers(reply: Reply, fault: Fault) -> Reply:
    pieces = tuple(Piece(due_s + fault.delay_s, data) for due_s, data in reply.pieces)
    return reply._replace(pieces=pieces, headers_due_s=reply.headers_due_s + fault.delay_s)


def _slow_body(reply: Reply, fault: Fault) -> Reply:
    if reply.length is not None:
        reply = reply._replace(pieces=_quartered(reply))
    pieces = tuple(Piece(due_s + fault.delay_s * index, data) for index, (due_s, data) in enumerate(reply.pieces, 1))
    return reply._replace(pieces=pieces)


def _quartered(reply: Reply) -> tuple[Piece, ...]:
    data, due_s = _joined(reply), reply.last_due_s
    size = max(1, -(-len(data) // _BODY_PIECES))
    return tuple(Piece(due_s, data[start : start + size]) for start in range(0, len(data), size))


def _unfinished(end: End) -> Callable[[Reply, Fault], Reply]:
    def change(reply: Reply, fault: Fault) -> Reply:
        return reply._replace(pieces=_beginning(reply, fault), terminated=False, end=end)

    return change


def _beginning(reply: Reply, fault: Fault) -> tuple[Piece, ...]:
    """Return the first events of a stream, or the first half of a single body."""
    if reply.length is None:
        return reply.pieces[: fault.events]
    data = _joined(reply)
    return (Piece(reply.last_due_s, data[: len(data) // 2]),)


def _clean_cut(reply: Reply, fault: Fault) -> Reply:
    return reply._replace(pieces=reply.pieces[: fault.events])


def _bad_chunk(reply: Reply, fault: Fault) -> Reply:
    return reply._replace(
        pieces=_beginning(reply, fault), length=None, terminated=False, tail=b"not-a-chunk-size\r\n", end=End.CLOSE
    )


def _missing_done(reply: Reply, _: Fault) -> Reply:
    return reply._replace(pieces=tuple(piece for piece in reply.pieces if piece.data != DONE))


def _error_event(reply: Reply, fault: Fault) -> Reply:
    begun = reply.pieces[: fault.events]
    status = STATUSES[fault.status]
    data = chunks.event(error_object(status.message, status.type, None, status.code))
    return reply._replace(pieces=(*begun, Piece(begun[-1].due_s if begun else reply.headers_due_s, data)))


def _wrong_length(reply: Reply, fault: Fault) -> Reply:
    data = _joined(reply)
    return reply._replace(
        pieces=(Piece(reply.last_due_s, data),), length=max(0, len(data) + fault.length_delta), end=End.CLOSE
    )


def _gzipped(reply: Reply, _: Fault) -> Reply:
    """Compress for good, each piece flushed so that a stream still arrives piece by piece."""
    packer = zlib.compressobj(wbits=31)
    packed = [packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH) for _, data in reply.pieces]
    packed[-1] += packer.flush()
    pieces = tuple(Piece(due_s, data) for (due_s, _), data in zip(reply.pieces, packed, strict=True))
    length = None if reply.length is None else sum(map(len, packed))
    return reply._replace(pieces=pieces, headers=(*reply.headers, ("content-encoding", "gzip")), length=length)


FAULTED: Final[dict[FaultKind, Callable[[Reply, Fault], Reply]]] = {
    FaultKind.RESET: _silent(End.RESET),
    FaultKind.CLOSE: _silent(End.CLOSE),
    FaultKind.BLACK_HOLE: _silent(End.HANG),
    FaultKind.SLOW_HEADERS: _slow_headers,
    FaultKind.SLOW_BODY: _slow_body,
    FaultKind.CUT_STREAM: _unfinished(End.CLOSE),
    FaultKind.CLEAN_CUT: _clean_cut,
    FaultKind.STALL: _unfinished(End.HANG),
    FaultKind.BAD_CHUNK: _bad_chunk,
    FaultKind.MISSING_DONE: _missing_done,
    FaultKind.ERROR_EVENT: _error_event,
    FaultKind.WRONG_LENGTH: _wrong_length,
    FaultKind.GZIP: _gzipped,
}


def _joined(reply: Reply) -> bytes:
    return b"".join(piece.data for piece in reply.pieces)


def script(reply: Reply, request_id: str, *, keep_alive: bool = True) -> Script:
    """Frame a reply into writes; what is due at the same time becomes one write."""
    whole = reply.end is End.KEEP
    closing = whole and not keep_alive
    end = End.CLOSE if closing else reply.end
    if reply.silent:
        return Script((), end, whole)
    chunked = reply.length is None
    writes: list[Write] = []
    due_s, parts, count = reply.headers_due_s, [_head(reply, request_id, closing=closing)], 0
    for piece_due_s, data in reply.pieces:
        if piece_due_s > due_s:
            writes.append(Write(due_s, b"".join(parts), count))
            due_s, parts, count = piece_due_s, [], 0
        parts.append(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        count += 1
    if chunked and reply.terminated:
        parts.append(b"0\r\n\r\n")
    parts.append(reply.tail)
    writes.append(Write(due_s, b"".join(parts), count))
    return Script(tuple(writes), end, whole)


def _head(reply: Reply, request_id: str, *, closing: bool) -> bytes:
    framing = "transfer-encoding: chunked" if reply.length is None else f"content-length: {reply.length}"
    lines = [
        f"HTTP/1.1 {reply.status} {_phrase(reply.status)}",
        "server: glidepath-simulator",
        "x-glidepath-simulator: 1",
        f"x-request-id: {request_id}",
        *(f"{name}: {value}" for name, value in reply.headers),
        framing,
    ]
    if closing:
        lines.append("connection: close")
    return "\r\n".join((*lines, "\r\n")).encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Overloaded"
