"""Anthropic's Messages API on the wire: the message object and its named stream events."""

from typing import Any, Final

import msgspec

from loadtests.simulator.answers import Answer, Finish, tokenise
from loadtests.simulator.events import Endpoint, Events, Ident, Part, event, spliced
from loadtests.simulator.wire import Ask

_STOP_REASONS: Final = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.CONTENT_FILTER: "refusal",
    Finish.TOOL_CALLS: "tool_use",
}


def body(ask: Ask, answer: Answer, ident: Ident) -> dict[str, Any]:
    """Return the finished message."""
    return _message(ask, ident) | {
        "content": _content(answer, ident),
        "stop_reason": _STOP_REASONS[answer.finish],
        "usage": _usage(ask, answer.tokens),
    }


def events(ask: Ask, answer: Answer, ident: Ident) -> Events:
    """Return the stream: start, a ping, each content block from its start to its stop, delta with usage, stop."""
    begun = _message(ask, ident) | {"usage": _usage(ask, 1)}
    opening = [_event({"type": "message_start", "message": begun})]
    ping = _event({"type": "ping"})
    delta = {"stop_reason": _STOP_REASONS[answer.finish], "stop_sequence": None}
    ended = _event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": answer.tokens}})
    blocks = _blocks(answer, ident)
    return Events(
        [*opening, blocks[0], ping],
        blocks[1:-1],
        [(Part.FINISH, blocks[-1]), (Part.FINISH, ended), (Part.DONE, _event({"type": "message_stop"}))],
    )


def _blocks(answer: Answer, ident: Ident) -> list[bytes]:
    if not answer.calls:
        template = _event(_delta(0, {"type": "text_delta", "text": "\0"}))
        return [_start(0, {"type": "text", "text": ""}), *spliced(template, answer.pieces), _stop(0)]
    found: list[bytes] = []
    for index, block in enumerate(_content(answer, ident)):
        template = _event(_delta(index, {"type": "input_json_delta", "partial_json": "\0"}))
        pieces = spliced(template, tokenise(answer.calls[index].arguments))
        found += [_start(index, block | {"input": {}}), *pieces, _stop(index)]
    return found


def _start(index: int, block: dict[str, Any]) -> bytes:
    return _event({"type": "content_block_start", "index": index, "content_block": block})


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def _stop(index: int) -> bytes:
    return _event({"type": "content_block_stop", "index": index})


def _event(payload: dict[str, Any]) -> bytes:
    return event(payload, payload["type"])


def _content(answer: Answer, ident: Ident) -> list[dict[str, Any]]:
    if not answer.calls:
        return [{"type": "text", "text": answer.text}]
    return [
        {
            "type": "tool_use",
            "id": f"toolu_sim{ident.tail}_{index}",
            "name": call.name,
            "input": msgspec.json.decode(call.arguments),
        }
        for index, call in enumerate(answer.calls)
    ]


def _usage(ask: Ask, output: int) -> dict[str, Any]:
    return {
        "input_tokens": ask.prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": output,
    }


def _message(ask: Ask, ident: Ident) -> dict[str, Any]:
    return {
        "id": f"msg_sim{ident.tail}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


ENDPOINT: Final = Endpoint(body, events)
