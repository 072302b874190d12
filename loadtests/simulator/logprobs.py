"""Made-up log probabilities: deterministic, in the shapes of both OpenAI endpoints."""

from itertools import accumulate
from typing import Any, Final

_CHOSEN: Final = -0.125
_STEP: Final = -1.5


def chat_logprobs(pieces: tuple[str, ...], alternatives: int) -> dict[str, Any]:
    """Return the log probabilities of chat tokens with `alternatives` each; the chosen token is the first of them."""
    return {
        "content": [_token(piece, 0) | {"top_logprobs": _top(piece, alternatives)} for piece in pieces],
        "refusal": None,
    }


def _token(piece: str, rank: int) -> dict[str, Any]:
    text = piece if not rank else f"{piece}~{rank}"
    return {"token": text, "logprob": _CHOSEN + rank * _STEP, "bytes": list(text.encode("utf-8", "replace"))}


def _top(piece: str, alternatives: int) -> list[dict[str, Any]]:
    return [_token(piece, rank) for rank in range(alternatives)]


def text_logprobs(pieces: tuple[str, ...], alternatives: int) -> dict[str, Any]:
    """Return the log probabilities of text-completion tokens, offsets counted from the first of them."""
    offsets = [0, *accumulate(len(piece) for piece in pieces)][: len(pieces)]
    top = [{each["token"]: each["logprob"] for each in _top(piece, alternatives)} for piece in pieces]
    return {
        "tokens": list(pieces),
        "token_logprobs": [_CHOSEN] * len(pieces),
        "top_logprobs": top if alternatives else None,
        "text_offset": offsets,
    }
