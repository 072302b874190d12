"""OpenAI's Responses API on the wire: the response object and its named stream events."""

from typing import Any, Final

from loadtests.simulator.answers import Answer, Finish
from loadtests.simulator.chunks import Events, Ident, event
from loadtests.simulator.wire import Ask

_INCOMPLETE: Final = {Finish.LENGTH: "max_output_tokens", Finish.CONTENT_FILTER: "content_filter"}


def body(ask: Ask, answer: Answer, ident: Ident) -> dict[str, Any]:
    """Return the finished response object."""
    status = _status(answer)
    reason = _INCOMPLETE.get(answer.finish)
    return _response(ask, ident, status) | {
        "incomplete_details": {"reason": reason} if reason else None,
        "output": [_item(ident, status, [_part(answer.text)])],
        "usage": {
            "input_tokens": ask.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": len(answer.pieces),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": ask.prompt_tokens + len(answer.pieces),
        },
    }


def events(ask: Ask, answer: Answer, ident: Ident) -> Events:
    """Return the named events of one response stream; it ends with the response object and has no `[DONE]`."""
    place: dict[str, Any] = {"item_id": f"msg_sim{ident.tail}", "output_index": 0, "content_index": 0}
    begun = _response(ask, ident, "in_progress")
    status = _status(answer)
    opening: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": _item(ident, "in_progress", [])},
        {"type": "response.content_part.added", **place, "part": _part("")},
    ]
    contents = [
        {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []} for piece in answer.pieces
    ]
    closing: list[dict[str, Any]] = [
        {"type": "response.output_text.done", **place, "text": answer.text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": _part(answer.text)},
        {"type": "response.output_item.done", "output_index": 0, "item": _item(ident, status, [_part(answer.text)])},
        {"type": f"response.{status}", "response": body(ask, answer, ident)},
    ]
    first_content, first_closing = len(opening), len(opening) + len(contents)
    return Events(_numbered(opening, 0), _numbered(contents, first_content), _numbered(closing, first_closing))


def _numbered(payloads: list[dict[str, Any]], start: int) -> list[bytes]:
    return [
        event(payload | {"sequence_number": number}, payload["type"]) for number, payload in enumerate(payloads, start)
    ]


def _status(answer: Answer) -> str:
    return "completed" if answer.finish is Finish.STOP else "incomplete"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _item(ident: Ident, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": f"msg_sim{ident.tail}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _response(ask: Ask, ident: Ident, status: str) -> dict[str, Any]:
    return {
        "id": f"resp_sim{ident.tail}",
        "object": "response",
        "created_at": ident.created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": ask.max_tokens,
        "metadata": {},
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
    }
