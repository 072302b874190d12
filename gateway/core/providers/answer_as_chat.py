"""An Anthropic message as the chat completion its caller asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from gateway.core.errors import ApiError
from gateway.core.providers.slices import UNREADABLE
from gateway.core.sse_typed import MessageCounts

if TYPE_CHECKING:
    from collections.abc import Mapping

FINISH_OF_STOP: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Chat's word for why generation ended; a word that is not here counts as `stop`."""

_ENCODE = msgspec.json.Encoder().encode


class Block(msgspec.Struct):
    """One block of an answer's content."""

    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: Raw = Raw(b"{}")


class ThinkingCount(msgspec.Struct):
    """How many of the tokens that came out were thought."""

    thinking_tokens: int | None = None


class Counts(MessageCounts, frozen=True):
    """Token counts of a whole answer."""

    output_tokens_details: ThinkingCount | None = None


class _Answer(msgspec.Struct):
    content: list[Block]
    id: str = ""
    model: str = ""
    stop_reason: str | None = None
    usage: Counts = Counts()


_DECODE = msgspec.json.Decoder(_Answer).decode


def answer_as_chat(body: bytes, created: int) -> bytes:
    """A whole answer of `/v1/messages` as one of `/v1/chat/completions`. `created`: Unix seconds.

    Raises `ApiError` 502 for a body that is no message.
    """
    try:
        answer = _DECODE(body)
    except UNREADABLE:
        raise unreadable_answer() from None
    choice = {
        "index": 0,
        "message": _message(answer.content),
        "logprobs": None,
        "finish_reason": FINISH_OF_STOP.get(answer.stop_reason or "", "stop"),
    }
    return _ENCODE(
        {
            "id": answer.id,
            "object": "chat.completion",
            "created": created,
            "model": answer.model,
            "choices": [choice],
            "usage": chat_usage(answer.usage),
        }
    )


def unreadable_answer() -> ApiError:
    """502: the upstream sent something else than its API says."""
    text = "The model's server sent an answer that can't be read."
    return ApiError(502, text, "server_error", code="upstream_bad_answer")


def chat_usage(counts: MessageCounts) -> dict[str, object]:
    """Token counts as chat callers know them: the prompt's include what came from the cache or went into it."""
    total = counts.usage()
    shown: dict[str, object] = {
        "prompt_tokens": total.prompt_tokens,
        "completion_tokens": total.completion_tokens,
        "total_tokens": total.prompt_tokens + total.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cache_read_input_tokens or 0},
    }
    details = counts.output_tokens_details if isinstance(counts, Counts) else None
    if details is not None and details.thinking_tokens is not None:
        shown["completion_tokens_details"] = {"reasoning_tokens": details.thinking_tokens}
    return shown


def _message(blocks: list[Block]) -> dict[str, object]:
    """Texts joined, thoughts as `reasoning` (vLLM's name), tool calls; a chat has no place for other blocks."""
    texts = [block.text for block in blocks if block.type == "text"]
    thoughts = "".join(block.thinking for block in blocks if block.type == "thinking")
    calls = [_call(block) for block in blocks if block.type == "tool_use"]
    content = "".join(texts) if texts or not calls else None
    message: dict[str, object] = {"role": "assistant", "content": content, "refusal": None}
    if thoughts:
        message["reasoning"] = thoughts
    if calls:
        message["tool_calls"] = calls
    return message


def _call(block: Block) -> dict[str, object]:
    try:
        arguments = bytes(block.input).decode()
    except UnicodeDecodeError:
        raise unreadable_answer() from None
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}
