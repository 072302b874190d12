"""How an answer ended: what the upstream says of it, and what can be seen of a text that was cut."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from gateway.core.checks.words import words_of
from gateway.core.events import events_of, payload_of

if TYPE_CHECKING:
    from collections.abc import Iterator

TAIL_CHARS = 2_048
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_PROSE_WORDS_MIN = 40
_FENCE = "```"
_OPEN = frozenset(",;([{-\u2013\u2014")
_NO_PROSE = ("-", "*", "#", "|", ">", "•", "    ", "\t")


class Ending(Enum):
    """Why the upstream stopped."""

    STOP = "stop"
    LENGTH = "length"
    TOOL = "tool"
    REFUSED = "refused"
    UNKNOWN = "unknown"


_WORDS = {
    "stop": Ending.STOP, "end_turn": Ending.STOP, "stop_sequence": Ending.STOP, "completed": Ending.STOP,
    "length": Ending.LENGTH, "max_tokens": Ending.LENGTH, "max_output_tokens": Ending.LENGTH,
    "model_context_window_exceeded": Ending.LENGTH,
    "tool_calls": Ending.TOOL, "function_call": Ending.TOOL, "tool_use": Ending.TOOL,
    "content_filter": Ending.REFUSED, "refusal": Ending.REFUSED,
}  # fmt: skip


class _Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    status: str | None = None
    incomplete_details: _Details | None = None


class _Delta(msgspec.Struct):
    stop_reason: str | None = None


class _Answer(_Response):
    """All that tells an end, of all four operations, whole or an event."""

    choices: list[_Choice] = []
    stop_reason: str | None = None
    delta: _Delta | str | None = None
    response: _Response | None = None


_DECODE = msgspec.json.Decoder(_Answer).decode


def ending_of(body: bytes, *, stream: bool) -> Ending:
    """How the first choice of an answer, or of a stream of one, ended; UNKNOWN for what doesn't say so."""
    found = Ending.UNKNOWN
    for payload in _payloads(body) if stream else (body,):
        try:
            word = _word(_DECODE(payload))
        except _UNREADABLE:
            continue
        found = _WORDS.get(word, found) if word else found
    return found


def _payloads(body: bytes) -> Iterator[bytes]:
    """Events that may say why it stopped: the rest is not worth decoding."""
    for event in events_of(body + b"\n\n"):
        if b"_reason" in event or b'"status"' in event:
            yield payload_of(event)


def _word(answer: _Answer) -> str | None:
    for choice in answer.choices:
        if choice.index == 0 and choice.finish_reason:
            return choice.finish_reason
    delta = answer.delta
    if isinstance(delta, _Delta) and delta.stop_reason:
        return delta.stop_reason
    response = answer.response or answer
    reason = None if response.incomplete_details is None else response.incomplete_details.reason
    return answer.stop_reason or reason or response.status


def truncated(text: str, ending: Ending) -> bool | None:
    """Whether the answer was cut; None where that can't be told.

    What an upstream calls a stop is believed, but for an open block of code. Without its word only prose is judged:
    forty words that end in a letter or a comma.
    """
    if ending is Ending.LENGTH:
        return True
    if ending in (Ending.TOOL, Ending.REFUSED):
        return False
    if text.count(_FENCE) % 2:
        return True
    return False if ending is Ending.STOP else _cut_in_prose(text)


def _cut_in_prose(text: str) -> bool | None:
    tail = text[-TAIL_CHARS:].rstrip()
    line = tail.rsplit("\n", 1)[-1]
    if len(words_of(tail)) < _PROSE_WORDS_MIN or _FENCE in text or line.startswith(_NO_PROSE):
        return None
    last = tail[-1]
    if last in _OPEN or (last.islower() and len(words_of(line)) > 2):  # noqa: PLR2004  a signature is no sentence
        return True
    return None if last.isalnum() else False
