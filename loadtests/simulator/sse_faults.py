"""Faults of an event stream and of an answer's content: pure."""

from collections.abc import Callable
from typing import Final

from loadtests.simulator.answers import Answer, Finish, limited
from loadtests.simulator.events import Part, event
from loadtests.simulator.faults import Fault, FaultKind
from loadtests.simulator.refusals import error_body, words_of
from loadtests.simulator.reply import Piece, Reply
from loadtests.simulator.wire import Api, WireError

Change = Callable[[Reply, Fault, Api], Reply]

_PIECE_BYTES: Final = 64 * 1024
_COMMENTS: Final = b": keep-alive\n\n:\n"
# The openai package takes an id for an event: with one before it, a comment of its own ends the stream in an error.
_FIELDS: Final = b"id: 7\nretry: 3000\nunknown: field\n"
_BAD_EVENT: Final = b'data: {"choices":[{"delta":{"content":"never\n\n'


def bent_answer(answer: Answer, fault: Fault | None) -> Answer:
    """Return the answer as a fault of content changes it: filtered after a few pieces, or huge."""
    if fault is None:
        return answer
    if fault.kind is FaultKind.CONTENT_FILTER:
        return Answer(limited(answer.pieces, fault.events).pieces, Finish.CONTENT_FILTER)
    if fault.kind is FaultKind.HUGE_EVENT:
        return Answer(("x" * fault.size_bytes,), Finish.STOP)
    if fault.kind is FaultKind.HUGE_ANSWER:
        whole, rest = divmod(fault.size_bytes, _PIECE_BYTES)
        return Answer(("x" * _PIECE_BYTES,) * whole + ("x" * rest,) * bool(rest), Finish.STOP)
    return answer


def _clean_cut(reply: Reply, fault: Fault, _: Api) -> Reply:
    return reply._replace(pieces=reply.pieces[: fault.events])


def _without(*parts: Part) -> Change:
    def change(reply: Reply, _: Fault, __: Api) -> Reply:
        return reply._replace(pieces=tuple(piece for piece in reply.pieces if piece.part not in parts))

    return change


def _unterminated(reply: Reply, _: Fault, __: Api) -> Reply:
    *others, last = reply.pieces
    return reply._replace(pieces=(*others, last._replace(data=last.data[:-1])))


def _error_event(reply: Reply, fault: Fault, api: Api) -> Reply:
    words = words_of(fault)
    error = error_body(api, WireError(fault.status, words.message, kind=words.kind, code=words.code))
    if api is Api.RESPONSES:
        told = {"code": words.code, "message": words.message, "param": None}
        data = event({"type": "error", **told, "sequence_number": fault.events}, "error")
    else:
        data = event(error, "error" if api is Api.MESSAGES else None)
    return _ended_by(reply, fault, data)


def _bad_event(reply: Reply, fault: Fault, _: Api) -> Reply:
    return _ended_by(reply, fault, _BAD_EVENT)


def _ended_by(reply: Reply, fault: Fault, data: bytes) -> Reply:
    begun = reply.pieces[: fault.events]
    due_s = begun[-1].due_s if begun else reply.headers_due_s
    return reply._replace(pieces=(*begun, Piece(due_s, data, Part.DONE)))


def _each(change: Callable[[bytes], bytes]) -> Change:
    def changed(reply: Reply, _: Fault, __: Api) -> Reply:
        return reply._replace(pieces=tuple(piece._replace(data=change(piece.data)) for piece in reply.pieces))

    return changed


def _multi_line(data: bytes) -> bytes:
    """Spread an event's JSON over several data lines; a reader joins them by LF, which JSON takes for white space."""
    return data.replace(b"data: {", b"data: {\ndata:", 1).replace(b"}\n\n", b"\ndata: }\n\n")


CHANGES: Final[dict[FaultKind, Change]] = {
    FaultKind.CLEAN_CUT: _clean_cut,
    FaultKind.MISSING_FINISH: _without(Part.FINISH),
    FaultKind.MISSING_DONE: _without(Part.DONE),
    FaultKind.UNTERMINATED: _unterminated,
    FaultKind.ERROR_EVENT: _error_event,
    FaultKind.BAD_EVENT: _bad_event,
    FaultKind.CRLF: _each(lambda data: data.replace(b"\n", b"\r\n")),
    FaultKind.COMMENTS: _each(lambda data: _COMMENTS + data),
    FaultKind.EXTRA_FIELDS: _each(lambda data: _FIELDS + data),
    FaultKind.MULTI_LINE: _each(_multi_line),
}
