"""OpenAI answers on the wire for chat and text completions: single bodies and server-sent events."""

from typing import Any, Final, NamedTuple

import msgspec

from loadtests.simulator.answers import Answer
from loadtests.simulator.wire import FINGERPRINT, Api, Ask

DONE: Final = b"data: [DONE]\n\n"

_encode: Final = msgspec.json.Encoder().encode


class Ident(NamedTuple):
    """What names one answer: the hexadecimal tail of its ids, and its creation in Unix seconds."""

    tail: str
    created: int


class Events(NamedTuple):
    """The events of one stream by when they are due: before the first token, with each token, after the last."""

    opening: list[bytes]
    contents: list[bytes]
    closing: list[bytes]


def event(payload: object, name: str | None = None) -> bytes:
    """Return one server-sent event with LF framing."""
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + _encode(payload) + b"\n\n"


def usage(ask: Ask, answer: Answer) -> dict[str, int]:
    """Return the token counts of a chat or text completion."""
    completion = len(answer.pieces)
    return {
        "prompt_tokens": ask.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": ask.prompt_tokens + completion,
    }


def body(ask: Ask, answer: Answer, ident: Ident) -> dict[str, Any]:
    """Return the single body of a chat or text completion."""
    chat = ask.api is Api.CHAT
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": answer.finish.value}
    choice |= {"message": message} if chat else {"text": answer.text}
    return {
        **_head(ask, ident, "chat.completion" if chat else "text_completion"),
        "choices": [choice],
        "usage": usage(ask, answer),
    }


def events(ask: Ask, answer: Answer, ident: Ident) -> Events:
    """Return the events of a chat or text completion, `[DONE]` last; usage in a chunk of its own only if asked."""
    chat = ask.api is Api.CHAT
    head = _head(ask, ident, "chat.completion.chunk" if chat else "text_completion")
    tail: dict[str, Any] = {"usage": None} if ask.include_usage else {}

    def chunk(delta: dict[str, Any], text: str, finish: str | None) -> bytes:
        choice = {"index": 0} | ({"delta": delta} if chat else {"text": text})
        return event(head | {"choices": [choice | {"logprobs": None, "finish_reason": finish}]} | tail)

    opening = [chunk({"role": "assistant", "content": "", "refusal": None}, "", None)] if chat else []
    closing = [chunk({}, "", answer.finish.value)]
    if ask.include_usage:
        closing.append(event(head | {"choices": [], "usage": usage(ask, answer)}))
    closing.append(DONE)
    return Events(opening, _spliced(chunk({"content": "\0"}, "\0", None), answer.pieces), closing)


def _head(ask: Ask, ident: Ident, kind: str) -> dict[str, Any]:
    prefix = "chatcmpl" if ask.api is Api.CHAT else "cmpl"
    return {
        "id": f"{prefix}-sim{ident.tail}",
        "object": kind,
        "created": ident.created,
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
    }


def _spliced(template: bytes, pieces: tuple[str, ...]) -> list[bytes]:
    """Put each piece where the template says NUL: encoding the whole chunk for each token would cost ten times more."""
    before, _, after = template.partition(_encode("\0"))
    return [before + _encode(piece) + after for piece in pieces]
