"""What one arm answered to one prompt, and the file of lines that lets a run go on where it was stopped."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_KEY_BYTES = 16


class EvalAnswer(msgspec.Struct, frozen=True):
    """One answer. `problem`: why there is none, None if there is one; `ending`: an `Ending`'s value.

    `key` stands for what was asked, of whom: an answer is used again only for the very same request.
    """

    key: str
    arm: str
    problem: str | None = None
    text: str = ""
    ending: str = "unknown"
    ttft_s: float | None = None
    duration_s: float = 0.0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


_DECODE = msgspec.json.Decoder(EvalAnswer).decode


def key_of(arm: str, base_url: str, body: bytes, again: int = 0) -> str:
    """Of a request to an arm. `again`: the how manieth of the same prompts it is."""
    whole = b"\0".join([arm.encode(), base_url.encode(), body, b"%d" % again])
    return blake2b(whole, digest_size=_KEY_BYTES).hexdigest()


def encode_line(answer: EvalAnswer) -> bytes:
    """One line of the file."""
    return msgspec.json.encode(answer) + b"\n"


def decode_lines(lines: Iterable[bytes]) -> dict[str, EvalAnswer]:
    """The answers of a file by their key, failures and torn lines left out: both are asked again."""
    found: dict[str, EvalAnswer] = {}
    for line in lines:
        try:
            answer = _DECODE(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if answer.problem is None:
            found[answer.key] = answer
    return found
