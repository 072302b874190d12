"""OpenAI's text completions on the wire."""

from typing import Any, Final

from loadtests.simulator.answers import Answer
from loadtests.simulator.chat import DONE, usage
from loadtests.simulator.events import Endpoint, Events, Ident, Part, event, spliced
from loadtests.simulator.logprobs import text_logprobs
from loadtests.simulator.wire import FINGERPRINT, Ask


def body(ask: Ask, answer: Answer, ident: Ident) -> dict[str, Any]:
    """Return the single body."""
    logprobs = None if ask.logprobs is None else text_logprobs(answer.pieces, ask.logprobs)
    choice = {"text": answer.text, "logprobs": logprobs, "finish_reason": answer.finish.value}
    choices = [{"index": index} | choice for index in range(ask.choices)]
    return _head(ask, ident) | {"choices": choices, "usage": usage(ask, answer)}


def events(ask: Ask, answer: Answer, ident: Ident) -> Events:
    """Return the stream, `[DONE]` last; usage in a chunk of its own only if asked."""
    head = _head(ask, ident)
    tail: dict[str, Any] = {"usage": None} if ask.include_usage else {}

    def chunk(index: int, text: str, finish: str | None, logprobs: object = None) -> bytes:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        return event(head | {"choices": [choice]} | tail)

    if ask.choices == 1 and ask.logprobs is None:
        contents = spliced(chunk(0, "\0", None), answer.pieces)
    else:
        found = [None if ask.logprobs is None else text_logprobs((piece,), ask.logprobs) for piece in answer.pieces]
        told = list(zip(answer.pieces, found, strict=True))
        contents = [chunk(index, piece, None, each) for piece, each in told for index in range(ask.choices)]
    closing = [(Part.FINISH, chunk(index, "", answer.finish.value)) for index in range(ask.choices)]
    if ask.include_usage:
        closing.append((Part.USAGE, event(head | {"choices": [], "usage": usage(ask, answer)})))
    return Events([], contents, [*closing, (Part.DONE, DONE)])


def _head(ask: Ask, ident: Ident) -> dict[str, Any]:
    return {
        "id": f"cmpl-sim{ident.tail}",
        "object": "text_completion",
        "created": ident.created,
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
    }


ENDPOINT: Final = Endpoint(body, events)
