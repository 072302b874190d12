"""What the supervisor and its workers say to each other. MessagePack, one message per frame.

Both ends are the same version of this package: a worker started from other code refuses its configuration.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from gateway.core.cluster_requests import Handed
from gateway.core.held_units import Held
from gateway.core.outcome import Record
from gateway.core.series import Reading, Series
from rollout.core.model import FeatureFlag

PROTOCOL = 2


class _Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """Tagged with its name."""


class Configure(_Message, frozen=True):
    """To a worker, once, first. `listeners`: descriptor of the listening socket of each slot.

    `settings`: JSON. `key_records`: MessagePack, the keys known last. `kills`: those that only memory holds.
    """

    protocol: int
    build: str
    number: int
    listeners: tuple[int, ...]
    settings: bytes
    api_keys: dict[str, str | None]
    proxy_credentials: dict[str, str | None]
    judge_keys: dict[str, str | None]
    key_records: bytes
    kills: tuple[str, ...]


class Accept(_Message, frozen=True):
    """To a worker: accept connections of these slots, and of no others."""

    slots: tuple[int, ...]


class Drain(_Message, frozen=True):
    """To a worker: end. `replaced`: a successor accepts already, so the port as a whole stays ready."""

    grace_s: float
    bound_s: float
    replaced: bool


class Ready(_Message, frozen=True):
    """From a worker: everything is loaded; it will accept when told to."""


class Failed(_Message, frozen=True):
    """From a worker: it can't start, and why."""

    cause: str
    hint: str


class Retire(_Message, frozen=True):
    """From a worker: somebody sent it SIGTERM; it asks to be replaced."""


class Counts(_Message, frozen=True):
    """From a worker: the series that changed since the last time, cumulative."""

    series: tuple[Series, ...]


class Handover(_Message, frozen=True):
    """From a worker at its end, and on to its successor: settled requests that somebody may still ask about.

    `scores`: tenant, request id, kind, score of those that have been rated. `held`: units that wait for their ratings,
    `flags`: those under which they were drawn. `handed`: requests of users that wait for their age.
    """

    records: tuple[Record, ...] = ()
    scores: tuple[tuple[str, str, str, float], ...] = ()
    held: tuple[Held, ...] = ()
    flags: tuple[FeatureFlag, ...] = ()
    handed: Handed | None = None


class Collect(_Message, frozen=True):
    """Question: send the counts up to now, and tell the gauges."""


class Collected(_Message, frozen=True):
    """Answer: the gauges."""

    readings: tuple[Reading, ...]


class CatchUp(_Message, frozen=True):
    """Question: read the kill file and the store now. `kills`: those that only the supervisor's memory holds."""

    kills: tuple[str, ...]


class CaughtUp(_Message, frozen=True):
    """Answer: the version in force."""

    version: int


class FindAnswer(_Message, frozen=True):
    """Question: whether the answer is this worker's."""

    tenant: str
    request_id: str


class Found(_Message, frozen=True):
    """Answer: when it was settled (Unix time)."""

    at_s: float


class FindRequest(_Message, frozen=True):
    """Question: what is known of the settled requests of that id, whoever made them."""

    request_id: str


class Requests(_Message, frozen=True):
    """Answer: their Records, newest first; all that the worker settled since then (Unix time) are known to it."""

    records: tuple[Record, ...]
    complete_since_s: float


class TakeFeedback(_Message, frozen=True):
    """Question: count this feedback for an answer of yours."""

    tenant: str
    request_id: str
    kind: str
    value: float


class Taken(_Message, frozen=True):
    """Answer: counted for this feature."""

    feature: str


class Late(_Message, frozen=True):
    """Answer: too old for feedback."""


class Unknown(_Message, frozen=True):
    """Answer: nothing is known about it."""


class Unheard(_Message, frozen=True):
    """Instead of an answer of a worker that gave none in time."""


Question: TypeAlias = Collect | CatchUp | FindAnswer | FindRequest | TakeFeedback
Answer: TypeAlias = Collected | CaughtUp | Found | Requests | Taken | Late | Unknown | Unheard


class Ask(_Message, frozen=True):
    """A question, either way. `to` (from a worker only): one other worker, or all others."""

    id: int
    question: Question
    to: int | None = None


class Reply(_Message, frozen=True):
    """The answers to an `Ask`, with the workers that gave them; of a worker itself just one."""

    id: int
    answers: tuple[tuple[int, Answer], ...]


ToWorker: TypeAlias = Configure | Accept | Drain | Ask | Reply | Handover
FromWorker: TypeAlias = Ready | Failed | Retire | Counts | Handover | Ask | Reply
Message: TypeAlias = ToWorker | FromWorker

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class MessageError(Exception):
    """Bytes that are no message."""


def encode(message: Message) -> bytes:
    """Render a message as MessagePack."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """Read a message. Raises `MessageError`."""
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as fault:
        raise MessageError(str(fault)) from fault
