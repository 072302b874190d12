"""Requests whose right answer is known, from a file of lines, and where to find that answer when one of them comes."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from gateway.core.judging.references import Reference, Scorer
from gateway.core.judging.request_text import request_text

if TYPE_CHECKING:
    from collections.abc import Mapping

EDITION = 1
"""To be raised with any change of meaning here, in `references` or in `request_text`."""
_DIGEST_BYTES = 16
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


class ReferenceSet(NamedTuple):
    """By digest of what was asked; `version`: fingerprint of all of it."""

    references: Mapping[str, Reference]
    version: str

    def find(self, operation: str, body: bytes) -> Reference | None:
        """The right answer to a request, None if it isn't known."""
        asked = request_text(operation, body)
        return None if asked is None else self.references.get(digest_of(asked))


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """`prompt` stands for one message of a user; `digest`: `digest_of` the request, where nobody shall read it.

    `feature`, `task`: groups of a set for `glidepath eval`, so that one file serves both; here they say nothing.
    """

    reference: str | list[str]
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    digest: str | None = None
    scorer: Scorer | None = None
    feature: str | None = None
    task: str | None = None


_DECODE = msgspec.json.Decoder(_Line).decode


def digest_of(asked: str) -> str:
    """Of a request as `request_text` shows it, such as "user:", a new line, "Say hi."."""
    return blake2b(asked.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def read_references(text: str, scorer: Scorer) -> ReferenceSet:
    """The set of a JSONL text; `scorer`: for lines that name none. ValueError names the first line that is wrong."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    found = dict(_read(line, number, scorer) for number, line in lines)
    if not found:
        raise ValueError("there is no reference in it")
    fixed = msgspec.json.encode((EDITION, sorted(found.items())))
    return ReferenceSet(found, blake2b(fixed, digest_size=_DIGEST_BYTES).hexdigest())


def _read(line: str, number: int, scorer: Scorer) -> tuple[str, Reference]:
    try:
        given = _DECODE(line)
        texts = (given.reference,) if isinstance(given.reference, str) else tuple(given.reference)
        return _digest(given), Reference(given.scorer or scorer, texts)
    except (*_UNREADABLE, ValueError) as fault:
        raise ValueError(f"line {number}: {fault}") from None


def _digest(given: _Line) -> str:
    if sum(each is not None for each in (given.prompt, given.messages, given.digest)) != 1:
        raise ValueError("needs one of prompt, messages and digest")
    if given.digest is not None:
        return given.digest.lower()
    turns = [{"role": "user", "content": given.prompt}] if given.messages is None else given.messages
    asked = request_text("chat", msgspec.json.encode({"messages": turns}))
    if asked is None:
        raise ValueError("nothing is asked in it")
    return digest_of(asked)
