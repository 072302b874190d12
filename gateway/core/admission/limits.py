"""What a key or a tenant may use, what a request is expected to use, and what it costs."""

from __future__ import annotations

import re
from math import ceil
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

Scope = Literal["key", "tenant", "shadow", "judge"]
Quantity = Literal["requests", "tokens", "budget", "concurrent"]

BYTES_PER_TOKEN = 4
COMPLETION_DEFAULT_TOKENS = 1_024
"""Reserved for the answer of a caller who doesn't say how long it may get."""
TOKENS_MAX = 1 << 31
_CHOICES_MAX = 1_024
_COMPLETION_FIELDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_CHOICE_FIELDS = ("best_of", "n")
_MICROUSD_PER_USD = 1_000_000
_PROMPTS_DECODED_MAX = 4_096
_START_OF_LIST = re.compile(rb"\[\s*(.)")
_DECODE_INT = msgspec.json.Decoder(int).decode
_DECODE_LIST = msgspec.json.Decoder(list[msgspec.Raw]).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Limits(NamedTuple):
    """What one key, or all keys of one tenant, may use. None: not limited. Money in millionths of a US dollar."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_max: int | None = None
    budget_microusd_per_day: int | None = None


class Price(NamedTuple):
    """Of one token. Dollars per million tokens are millionths of a dollar per token, so settings carry over as is."""

    input_microusd: float = 0.0
    output_microusd: float = 0.0


class Estimate(NamedTuple):
    """What a request is expected to use at most."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


def estimate(fields: Mapping[str, msgspec.Raw], body_bytes: int) -> Estimate:
    """Guess from the body's size and the length of answer asked for. `fields`: the body's top level, as raw slices.

    What the upstream will refuse anyway (a text where a number is meant) counts as not said.
    """
    completion = COMPLETION_DEFAULT_TOKENS
    for name in _COMPLETION_FIELDS:
        if name in fields:
            asked = _number(fields[name])
            if asked is not None:
                completion = asked
                break
    choices = 1
    for name in _CHOICE_FIELDS:
        if name in fields:
            choices = max(choices, min(_number(fields[name]) or 1, _CHOICES_MAX))
    completion *= choices
    if "prompt" in fields:
        completion *= _prompts(fields["prompt"])
    return Estimate(-(-body_bytes // BYTES_PER_TOKEN), min(completion, TOKENS_MAX))


def cost_microusd(price: Price, prompt_tokens: int, completion_tokens: int) -> int:
    """What the tokens cost, rounded up to a whole millionth of a dollar."""
    return ceil(prompt_tokens * price.input_microusd + completion_tokens * price.output_microusd)


def dearest_microusd(expected: Estimate, *prices: Price) -> int:
    """What the dearest of the upstreams that may answer would cost: failing over then needs no second reservation."""
    return max((cost_microusd(price, *expected) for price in prices), default=0)


def budget_microusd(usd: float | None) -> int | None:
    """A budget in dollars as limits have it."""
    return None if usd is None else round(usd * _MICROUSD_PER_USD)


def _number(raw: msgspec.Raw) -> int | None:
    """A whole number that is no nonsense, else None."""
    try:
        value = _DECODE_INT(raw)
    except _UNREADABLE:
        return None
    return min(value, TOKENS_MAX) if value >= 0 else None


def _prompts(raw: msgspec.Raw) -> int:
    """How many prompts a text completion brings: it may be a list of texts, or of lists of tokens.

    Counted without making an object of each: a body of tokens alone has millions. Too many rather than too few.
    """
    first = _START_OF_LIST.match(raw)
    if first is None:
        return 1
    if first[1] == b"[":
        return bytes(raw).count(b"[") - 1
    if first[1] != b'"':
        return 1
    whole = bytes(raw)
    texts = whole.count(b'"') // 2
    if b'\\"' not in whole or texts > _PROMPTS_DECODED_MAX:
        return texts
    try:
        return len(_DECODE_LIST(raw))
    except _UNREADABLE:
        return 1
