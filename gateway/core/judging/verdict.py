"""A judge's reply -> its verdict: tolerant of what models put around it, strict wherever it could mean something else.

A reply counts if it ends with one JSON object that has a "winner" we asked for, and no other "winner" in it says
otherwise: a judge that was made to repeat an answer's own "verdict" gives none. What a reasoning model thought aloud
is left out first.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec

REPLY_MAX_CHARS = 32_768
_OBJECTS_TRIED = 16
_TOKENS_MAX = 1_000_000_000
_CLAIMS = re.compile(r'"winner"\s*:\s*("[^"\\]*"|[^\s,}]*)')
_THOUGHT_BEGINS, _THOUGHT_ENDS = "<think>", "</think>"
_FENCED = "```"


class Winner(StrEnum):
    """What a judge may say."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"


class Tokens(msgspec.Struct, frozen=True):
    """What a question cost, as its answer says; 0 where it doesn't."""

    prompt_tokens: Annotated[int, msgspec.Meta(ge=0, le=_TOKENS_MAX)] = 0
    completion_tokens: Annotated[int, msgspec.Meta(ge=0, le=_TOKENS_MAX)] = 0


class Said(NamedTuple):
    """A chat completion: its text, and the model that says to have written it."""

    text: str
    model: str
    tokens: Tokens = Tokens()


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None
    usage: msgspec.Raw = msgspec.Raw(b"{}")


_DECODE_TOKENS = msgspec.json.Decoder(Tokens).decode
_DECODE = msgspec.json.Decoder(_Completion).decode


def read_completion(body: bytes) -> Said | None:
    """The first choice of a chat completion; None for what is none, or has no text."""
    try:
        completion = _DECODE(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    text = completion.choices[0].message.content if completion.choices else None
    return Said(text, completion.model or "", _tokens(completion.usage)) if text else None


def _tokens(usage: msgspec.Raw) -> Tokens:
    try:
        return _DECODE_TOKENS(usage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Tokens()


def read_verdict(text: str) -> Winner | None:
    """The winner that a reply names, None if there is any doubt."""
    if len(text) > REPLY_MAX_CHARS:
        return None
    spoken = text.rpartition(_THOUGHT_ENDS)[2].strip()
    if _THOUGHT_BEGINS in spoken:
        return None
    winner = _winner(_last_object(spoken.removesuffix(_FENCED).rstrip()))
    if winner is None or any(_named(claim.strip('"')) is not winner for claim in _CLAIMS.findall(spoken)):
        return None
    return winner


def _last_object(text: str) -> object:
    """The JSON object with which the text ends, None if it doesn't end with one."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_doubles)
    end = text.rfind('"winner"')
    for _ in range(_OBJECTS_TRIED):
        end = text.rfind("{", 0, max(end, 0))
        if end < 0:
            return None
        try:
            found, stop = decoder.raw_decode(text, end)
        except (ValueError, RecursionError):
            continue
        if stop == len(text):
            return found
    return None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name that comes twice")
    return found


def _winner(found: object) -> Winner | None:
    return _named(found.get("winner")) if isinstance(found, dict) else None


def _named(value: object) -> Winner | None:
    try:
        return Winner(value.strip().casefold()) if isinstance(value, str) else None
    except ValueError:
        return None
