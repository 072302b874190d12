"""Texts that a flag wants kept: what is written of a pair of answers, and of what was found about it later.

A pair is known by a digest of its request's id, so nothing that a caller chose is written but the redacted texts.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from gateway.core.judging.request_text import turns_of
from rollout.core.model import Arm

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.shadowing import Answered, ShadowPair
    from rollout.core.model import Keep

PROMPT_MAX_BYTES = 131_072
ANSWER_MAX_CHARS = 65_536
"""What is longer is not kept: reading it would hold up the process that answers requests."""
_ID_BYTES = 16


class Message(msgspec.Struct, frozen=True):
    """One turn. Pictures and the like are named by their type, calls of tools are text."""

    role: str
    content: str


class Side(msgspec.Struct, frozen=True):
    """One arm's answer."""

    upstream: str
    text: str


class Texts(msgspec.Struct, frozen=True, tag="texts"):
    """A request with the answers of both arms, or of the assigned one alone; redacted. `at_s`: Unix time."""

    id: str
    at_s: float
    feature: str
    revision: int
    assigned: str
    messages: tuple[Message, ...]
    candidate: Side | None
    baseline: Side | None

    @property
    def answer(self) -> Side | None:
        """What the caller got."""
        return self.candidate if self.assigned == Arm.CANDIDATE else self.baseline


class Mark(msgspec.Struct, frozen=True, tag="mark"):
    """What was found about texts of that id later, in [0, 1].

    judge: the candidate's win, by the judge `name` of that `version`; feedback: the caller's rating of kind `name`.
    """

    id: str
    at_s: float
    source: Literal["judge", "feedback"]
    name: str
    value: float
    version: str = ""


Line: TypeAlias = Texts | Mark
_DECODE = msgspec.json.Decoder(Line).decode
_ENCODE = msgspec.json.Encoder().encode


def id_of(feature: str, tenant: str, request_id: str) -> str:
    """What texts and marks of one request are joined by."""
    return blake2b(msgspec.json.encode((feature, tenant, request_id)), digest_size=_ID_BYTES).hexdigest()


def fits(pair: ShadowPair) -> bool:
    """Whether it is short enough to be kept."""
    answers = max(len(pair.assigned.text), len(pair.other.text))
    return len(pair.prompt) <= PROMPT_MAX_BYTES and answers <= ANSWER_MAX_CHARS


def texts_of(pair: ShadowPair, keep: Keep, redact: Callable[[str], str]) -> Texts | None:
    """What is kept of a pair, None if its request can't be read."""
    turns = turns_of(pair.operation, pair.prompt)
    if not turns:
        return None
    answers = (pair.assigned, pair.other) if keep.pairs else (pair.assigned,)
    sides = {each.arm: _side(each, redact) for each in answers}
    return Texts(
        id_of(pair.feature, pair.tenant, pair.request_id),
        pair.at_s,
        pair.feature,
        pair.revision,
        pair.assigned.arm,
        tuple(Message(redact(role), redact(text)) for role, text in turns),
        sides.get(Arm.CANDIDATE),
        sides.get(Arm.BASELINE),
    )


def encode(line: Line) -> bytes:
    """One line of JSON, its newline included. A lone surrogate in a text becomes a question mark."""
    try:
        return _ENCODE(line) + b"\n"
    except UnicodeEncodeError:
        plain = msgspec.convert(_without_surrogates(msgspec.to_builtins(line)), type(line))
        return _ENCODE(plain) + b"\n"


def decode(line: bytes) -> Line | None:
    """The inverse; None for a line that is damaged, or not whole."""
    try:
        return _DECODE(line) if line.endswith(b"\n") else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _side(answered: Answered, redact: Callable[[str], str]) -> Side:
    return Side(answered.upstream, redact(answered.text))


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {name: _without_surrogates(each) for name, each in value.items()}
    return [_without_surrogates(each) for each in value] if isinstance(value, (list, tuple)) else value
