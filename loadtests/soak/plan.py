"""What a soak's callers do: seeded requests of three operations, some of which are left on purpose, at any phase."""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

KEPT, LEFT = "kept", "left"
"""Features: of calls that are waited for, and of those that are planned to be left. So metrics tell them apart."""
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages"}
_WORDS = ("time", "flows", "like", "water", "past", "old", "stones", "and", "nobody", "counts", "its", "turns")

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Leave(StrEnum):
    """When a caller goes: half of the request sent, all sent, some time later, or once bytes of the answer came."""

    SENDING = "sending"
    SENT = "sent"
    LATER = "later"
    READING = "reading"


class Mix(msgspec.Struct, frozen=True):
    """What the calls are like. `leave_within_s`: bound of the time before a caller leaves `later`."""

    stream_share: Share = 0.5
    leave_share: Share = 0.3
    leave_within_s: float = 0.15
    words_max: int = 40


class PlannedCall(NamedTuple):
    """One call, ready to be written. `marker` stands once in a whole answer's text; `leave` is None for a kept one."""

    number: int
    identifier: str
    operation: str
    request: bytes
    stream: bool
    marker: bytes
    leave: Leave | None
    leave_after_s: float


def identifier_of(run: str, number: int) -> str:
    """`x-request-id` of a run's call."""
    return f"soak-{run}-{number}"


def calls_of(run: str, seed: int, mix: Mix, key: str) -> Iterator[PlannedCall]:
    """Endless calls of one driver; the same arguments give the same calls. `run` must not come twice."""
    random = Random(f"{seed}-{run}")  # noqa: S311  replayable, not secret
    number = 0
    while True:
        yield _call(run, number, random, mix, key)
        number += 1


def _call(run: str, number: int, random: Random, mix: Mix, key: str) -> PlannedCall:
    operation = random.choice(tuple(PATHS))
    stream = random.random() < mix.stream_share
    leave = random.choice(tuple(Leave)) if random.random() < mix.leave_share else None
    identifier = identifier_of(run, number)
    # No longer than one piece of the simulator's stream, so that it stands in one event.
    marker = f"{random.getrandbits(28):07x}"[-6:]
    text = " ".join([marker, *random.choices(_WORDS, k=random.randint(1, mix.words_max))])
    prompt = f"call {identifier} [[say:{text}]]"
    feature = KEPT if leave is None else LEFT
    body = _body(operation, feature, prompt, f"u-{random.randrange(10_000)}", stream=stream)
    head = (
        f"POST {PATHS[operation]} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\nx-request-id: {identifier}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    request = head.encode("ascii") + body
    after_s = random.random() * mix.leave_within_s
    return PlannedCall(number, identifier, operation, request, stream, marker.encode("ascii"), leave, after_s)


def _body(operation: str, feature: str, prompt: str, user: str, *, stream: bool) -> bytes:
    body: dict[str, object] = {"model": f"copilot/{feature}", "stream": stream}
    if operation == "responses":
        body |= {"input": prompt, "user": user, "store": False}
    elif operation == "messages":
        body |= {"messages": [{"role": "user", "content": prompt}], "max_tokens": 4_096, "metadata": {"user_id": user}}
    else:
        body |= {"messages": [{"role": "user", "content": prompt}], "user": user}
    return msgspec.json.encode(body)
