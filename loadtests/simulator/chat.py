"""OpenAI's chat completions on the wire."""

from collections.abc import Callable
from typing import Any, Final

from loadtests.simulator.answers import Answer, tokenise
from loadtests.simulator.events import Endpoint, Events, Ident, Part, event, spliced
from loadtests.simulator.logprobs import chat_logprobs
from loadtests.simulator.wire import FINGERPRINT, Ask

DONE: Final = b"data: [DONE]\n\n"

_Chunk = Callable[[dict[str, Any], str | None, int, object], bytes]


def usage(ask: Ask, answer: Answer) -> dict[str, int]:
    """Return the token counts of a chat or text completion."""
    completion = answer.tokens * ask.choices
    return {
        "prompt_tokens": ask.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": ask.prompt_tokens + completion,
    }


def body(ask: Ask, answer: Answer, ident: Ident) -> dict[str, Any]:
    """Return the single body."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.calls:
        message |= {"content": None, "tool_calls": [_call(answer, ident, index) for index in range(len(answer.calls))]}
    logprobs = None if ask.logprobs is None else chat_logprobs(answer.pieces, ask.logprobs)
    choice = {"logprobs": logprobs, "finish_reason": answer.finish.value, "message": message}
    choices = [{"index": index} | choice for index in range(ask.choices)]
    return _head(ask, ident, "chat.completion") | {"choices": choices, "usage": usage(ask, answer)}


def _call(answer: Answer, ident: Ident, index: int) -> dict[str, Any]:
    name, arguments = answer.calls[index]
    return {
        "id": f"call_sim{ident.tail}_{index}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def events(ask: Ask, answer: Answer, ident: Ident) -> Events:
    """Return the stream, role first and `[DONE]` last; usage in a chunk of its own only if asked."""
    head = _head(ask, ident, "chat.completion.chunk")
    tail: dict[str, Any] = {"usage": None} if ask.include_usage else {}

    def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, logprobs: object = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return event(head | {"choices": [choice]} | tail)

    every = range(ask.choices)
    role = {"role": "assistant", "content": None if answer.calls else "", "refusal": None}
    closing = [(Part.FINISH, chunk({}, answer.finish.value, index)) for index in every]
    if ask.include_usage:
        closing.append((Part.USAGE, event(head | {"choices": [], "usage": usage(ask, answer)})))
    return Events(
        [chunk(role, None, index) for index in every],
        _contents(ask, answer, ident, chunk),
        [*closing, (Part.DONE, DONE)],
    )


def _contents(ask: Ask, answer: Answer, ident: Ident, chunk: _Chunk) -> list[bytes]:
    if answer.calls:
        deltas = [delta for index in range(len(answer.calls)) for delta in _call_deltas(answer, ident, index)]
        return [chunk({"tool_calls": [delta]}, None, index, None) for delta in deltas for index in range(ask.choices)]
    if ask.choices == 1 and ask.logprobs is None:
        return spliced(chunk({"content": "\0"}, None, 0, None), answer.pieces)
    return [
        chunk({"content": piece}, None, index, None if ask.logprobs is None else chat_logprobs((piece,), ask.logprobs))
        for piece in answer.pieces
        for index in range(ask.choices)
    ]


def _call_deltas(answer: Answer, ident: Ident, index: int) -> list[dict[str, Any]]:
    """Return one call as deltas: id and name first, then its arguments token by token."""
    call = _call(answer, ident, index)
    name, arguments = answer.calls[index]
    first = {"index": index} | call | {"function": {"name": name, "arguments": ""}}
    return [first, *({"index": index, "function": {"arguments": piece}} for piece in tokenise(arguments))]


def _head(ask: Ask, ident: Ident, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-sim{ident.tail}",
        "object": kind,
        "created": ident.created,
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
    }


ENDPOINT: Final = Endpoint(body, events)
