"""Server-sent events, and one stream of them by what they are."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from loadtests.simulator.answers import Answer
from loadtests.simulator.wire import Ask

encode: Final = msgspec.json.Encoder().encode


class Ident(NamedTuple):
    """What names one answer: the hexadecimal tail of its ids, and its creation in Unix seconds."""

    tail: str
    created: int


class Part(StrEnum):
    """What an event is in its stream: faults leave out or break one or the other."""

    OPENING = "opening"
    CONTENT = "content"
    FINISH = "finish"
    USAGE = "usage"
    DONE = "done"


class Events(NamedTuple):
    """The events of one stream by when they are due: before the first token, with each token, after the last."""

    opening: list[bytes]
    contents: list[bytes]
    closing: list[tuple[Part, bytes]]


class Endpoint(NamedTuple):
    """How one endpoint words an answer: as a single body, and as events."""

    body: Callable[[Ask, Answer, Ident], Mapping[str, Any]]
    events: Callable[[Ask, Answer, Ident], Events]


def event(payload: object, name: str | None = None) -> bytes:
    """Return one server-sent event with LF framing."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + encode(payload) + b"\n\n"


def spliced(template: bytes, pieces: tuple[str, ...]) -> list[bytes]:
    """Put each piece where the template says NUL: encoding the whole event for each token would cost ten times more."""
    before, _, after = template.partition(encode("\0"))
    return [before + encode(piece) + after for piece in pieces]
