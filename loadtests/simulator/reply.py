"""One reply as timed pieces of a body, and its framing into timed writes: pure, to be tested without a socket.

`plan` builds the reply the partner would give, `wire_faults` bends it, `script` frames it into writes and a way to
end. The protocol only performs scripts.
"""

from collections.abc import Callable
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus
from typing import Final, NamedTuple

import msgspec

from loadtests.simulator import chat, completions, messages, responses
from loadtests.simulator.answers import Answer
from loadtests.simulator.draws import Schedule
from loadtests.simulator.events import Ident, Part
from loadtests.simulator.wire import Api, Ask

_ENDPOINTS: Final = {
    Api.CHAT: chat.ENDPOINT,
    Api.COMPLETIONS: completions.ENDPOINT,
    Api.RESPONSES: responses.ENDPOINT,
    Api.MESSAGES: messages.ENDPOINT,
}
_JSON: Final = (("content-type", "application/json"),)
_SSE: Final = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))
_LAST_CHUNK: Final = b"0\r\n\r\n"
_HEADERS_CACHED: Final = 8


class End(Enum):
    """What happens to the connection after the last write."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()
    HANG = auto()


class Piece(NamedTuple):
    """A part of the body, when it is due (seconds after the request arrived) and what it is in the stream."""

    due_s: float
    data: bytes
    part: Part = Part.CONTENT


class Reply(NamedTuple):
    """One answer before framing. `length` None means a body of chunks, or up to the connection's end if `until_eof`.

    `before` is written raw ahead of the head and `after` behind the body; `whole` is false when a fault broke it.
    """

    pieces: tuple[Piece, ...]
    headers_due_s: float = 0.0
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None
    until_eof: bool = False
    frame_chunk: Callable[[bytes], bytes] = lambda data: b"%x\r\n%b\r\n" % (len(data), data)
    last_chunk: bytes = _LAST_CHUNK
    silent: bool = False
    before: bytes = b""
    after: bytes = b""
    end: End = End.KEEP
    whole: bool = True

    @property
    def last_due_s(self) -> float:
        """Return when the last piece is due."""
        return self.pieces[-1].due_s if self.pieces else self.headers_due_s

    @property
    def data(self) -> bytes:
        """Return the whole body."""
        return b"".join(piece.data for piece in self.pieces)


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
    status: int = 200


def json_reply(
    payload: object, due_s: float = 0.0, status: int = 200, headers: tuple[tuple[str, str], ...] = ()
) -> Reply:
    """Return a reply with one JSON body."""
    data = msgspec.json.encode(payload)
    return Reply((Piece(due_s, data),), due_s, status, _JSON + headers, len(data))


def plan(ask: Ask, answer: Answer, ident: Ident, times: Callable[[int], Schedule]) -> Reply:
    """Return the reply without wire faults; `times` gives the due times of that many tokens.

    Headers and the opening events leave at half the time to first token, so a client that takes either for the first
    token measures visibly wrong.
    """
    endpoint = _ENDPOINTS[ask.api]
    if not ask.stream:
        return json_reply(endpoint.body(ask, answer, ident), times(answer.tokens).total_s)
    stream = endpoint.events(ask, answer, ident)
    due = times(len(stream.contents))
    early_s, late_s = due.ttft_s / 2, due.total_s
    pieces = (
        *(Piece(early_s, data, Part.OPENING) for data in stream.opening),
        *map(Piece, due.tokens_s, stream.contents),
        *(Piece(late_s, data, part) for part, data in stream.closing),
    )
    return Reply(pieces, early_s, headers=_SSE)


def script(reply: Reply, request_id: str, *, keep_alive: bool = True) -> Script:
    """Frame a reply into writes; what is due at the same time becomes one write."""
    closing = reply.end is End.KEEP and not keep_alive
    end = End.CLOSE if closing else reply.end
    if reply.silent:
        return Script((), end, reply.whole, reply.status)
    chunked = reply.length is None and not reply.until_eof
    head = reply.before + _head(reply, request_id, closing=closing or reply.until_eof)
    writes: list[Write] = []
    due_s, parts, count = reply.headers_due_s, [head], 0
    for piece_due_s, data, _ in reply.pieces:
        if piece_due_s > due_s:
            writes.append(Write(due_s, b"".join(parts), count))
            due_s, parts, count = piece_due_s, [], 0
        parts.append(reply.frame_chunk(data) if chunked else data)
        count += 1
    if chunked:
        parts.append(reply.last_chunk)
    parts.append(reply.after)
    writes.append(Write(due_s, b"".join(parts), count))
    return Script(tuple(writes), end, reply.whole, reply.status)


def _head(reply: Reply, request_id: str, *, closing: bool) -> bytes:
    begin = _begin_head if len(reply.headers) <= _HEADERS_CACHED else _begin_head.__wrapped__
    if reply.length is not None:
        framing = b"content-length: %d\r\n" % reply.length
    else:
        framing = b"" if reply.until_eof else b"transfer-encoding: chunked\r\n"
    ending = b"connection: close\r\n\r\n" if closing else b"\r\n"
    return b"%bx-request-id: %b\r\n%b%b" % (begin(reply.status, reply.headers), request_id.encode(), framing, ending)


@lru_cache(maxsize=64)
def _begin_head(status: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    lines = (
        f"HTTP/1.1 {status} {_phrase(status)}",
        "server: glidepath-simulator",
        "x-glidepath-simulator: 1",
        *(f"{name}: {value}" for name, value in headers),
        "",
    )
    return "\r\n".join(lines).encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Overloaded"
