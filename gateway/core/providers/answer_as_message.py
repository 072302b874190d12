"""A chat completion as the Anthropic message its caller asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from gateway.core.providers.answer_as_chat import unreadable_answer
from gateway.core.providers.chat_turns import object_slice
from gateway.core.providers.slices import UNREADABLE
from gateway.core.sse import Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

STOP_OF_FINISH: Mapping[str, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""Anthropic's word for why generation ended; a word that is not here counts as `end_turn`."""

_ENCODE = msgspec.json.Encoder().encode


class _Cached(msgspec.Struct):
    cached_tokens: Tokens | None = None


class ChatCounts(msgspec.Struct, frozen=True):
    """A chat's token counts."""

    prompt_tokens: Tokens = 0
    completion_tokens: Tokens | None = None
    prompt_tokens_details: _Cached | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: str | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    stop_reason: str | int | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    id: str = ""
    model: str = ""
    usage: ChatCounts | None = None


_DECODE = msgspec.json.Decoder(_Answer).decode


def answer_as_message(body: bytes) -> bytes:
    """A whole answer of `/v1/chat/completions` as one of `/v1/messages`.

    Raises `ApiError` 502 for a body that is no chat completion, or whose tool calls are not JSON objects.
    """
    try:
        answer = _DECODE(body)
    except UNREADABLE:
        raise unreadable_answer() from None
    if not answer.choices:
        raise unreadable_answer()
    choice = answer.choices[0]
    said = choice.message
    stop, sequence = stop_of(
        choice.finish_reason, choice.stop_reason, called=bool(said.tool_calls), refused=bool(said.refusal)
    )
    return _ENCODE(
        {
            **message_head(answer.id, answer.model),
            "content": _blocks(answer.id, said, cut=stop == "max_tokens"),
            "stop_reason": stop,
            "stop_sequence": sequence,
            "usage": message_usage(answer.usage or ChatCounts()),
        }
    )


def message_head(answer_id: str, model: str) -> dict[str, object]:
    """What every message begins with."""
    return {"id": answer_id, "type": "message", "role": "assistant", "model": model}


def message_usage(counts: ChatCounts) -> dict[str, int]:
    """Token counts as Anthropic's callers know them: what came from the cache stands beside the rest of the prompt."""
    details = counts.prompt_tokens_details
    cached = min((details and details.cached_tokens) or 0, counts.prompt_tokens)
    return {
        "input_tokens": counts.prompt_tokens - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": counts.completion_tokens or 0,
    }


def stop_of(finish: str | None, matched: str | int | None, *, called: bool, refused: bool) -> tuple[str, str | None]:
    """(stop reason, stop sequence). `matched`: what vLLM says it stopped at; OpenAI doesn't say.

    A forced tool call ends with `stop` at some upstreams: what was `called` or `refused` goes before it.
    """
    if finish == "stop" and refused:
        return "refusal", None
    if finish == "stop" and called:
        return "tool_use", None
    if finish == "stop" and isinstance(matched, str):
        return "stop_sequence", matched
    return STOP_OF_FINISH.get(finish or "", "end_turn"), None


def _blocks(answer_id: str, said: _Message, *, cut: bool) -> list[object]:
    blocks: list[object] = []
    thoughts = said.reasoning or said.reasoning_content
    if thoughts:
        blocks.append({"type": "thinking", "thinking": thoughts, "signature": ""})
    blocks += [{"type": "text", "text": text} for text in (said.content, said.refusal) if text]
    for at, call in enumerate(said.tool_calls or []):
        arguments = _arguments(call.function.arguments or "", cut=cut)
        if arguments is not None:
            used = call.id or f"{answer_id}_{at}"
            blocks.append({"type": "tool_use", "id": used, "name": call.function.name, "input": arguments})
    return blocks


def _arguments(text: str, *, cut: bool) -> Raw | None:
    """The input of a tool call; None for one that the token limit `cut` off."""
    found = object_slice(text)
    if found is None and not cut:
        raise unreadable_answer()
    return found
