"""OpenAI's Responses API on the wire: the response object and its named stream events."""

from typing import Any, Final

from loadtests.simulator.answers import Answer, Finish, tokenise
from loadtests.simulator.events import Endpoint, Events, Ident, Part, event
from loadtests.simulator.wire import Ask

_INCOMPLETE: Final = {Finish.LENGTH: "max_output_tokens", Finish.CONTENT_FILTER: "content_filter"}


def response_id(ident: Ident) -> str:
    """Return the id a later request names as `previous_response_id`."""
    return f"resp_sim{ident.tail}"


def body(ask: Ask, answer: Answer, ident: Ident) -> dict[str, Any]:
    """Return the finished response object."""
    status = _status(answer)
    reason = _INCOMPLETE.get(answer.finish)
    return _response(ask, ident, status) | {
        "incomplete_details": {"reason": reason} if reason else None,
        "output": _output(answer, ident, status),
        "completed_at": ident.created if status == "completed" else None,
        "usage": {
            "input_tokens": ask.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": answer.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": ask.prompt_tokens + answer.tokens,
        },
    }


def events(ask: Ask, answer: Answer, ident: Ident) -> Events:
    """Return the stream in the official order, each event named by its type and numbered."""
    begun = _response(ask, ident, "in_progress")
    opening: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    first, contents, finish = _calls(answer, ident) if answer.calls else _message(answer, ident)
    done = {"type": f"response.{_status(answer)}", "response": body(ask, answer, ident)}
    opening += first
    count = len(opening)
    ended = count + len(contents)
    closing = [(Part.FINISH, data) for data in _numbered(finish, ended)]
    closing += [(Part.DONE, data) for data in _numbered([done], ended + len(finish))]
    return Events(_numbered(opening, 0), _numbered(contents, count), closing)


_Payloads = list[dict[str, Any]]


def _message(answer: Answer, ident: Ident) -> tuple[_Payloads, _Payloads, _Payloads]:
    place = {"item_id": _message_id(ident), "output_index": 0, "content_index": 0}
    item = _message_item(ident, "in_progress", [])
    opening = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": _part("")},
    ]
    contents = [
        {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []} for piece in answer.pieces
    ]
    (item,) = _output(answer, ident, _status(answer))
    closing: _Payloads = [
        {"type": "response.output_text.done", **place, "text": answer.text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": _part(answer.text)},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    return opening, contents, closing


def _calls(answer: Answer, ident: Ident) -> tuple[_Payloads, _Payloads, _Payloads]:
    """Return the events of calls, one after the other; the last one's end belongs to the closing."""
    payloads: _Payloads = []
    for index, item in enumerate(_output(answer, ident, "completed")):
        place = {"item_id": item["id"], "output_index": index}
        begun = item | {"arguments": "", "status": "in_progress"}
        payloads.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        payloads += [
            {"type": "response.function_call_arguments.delta", **place, "delta": piece}
            for piece in tokenise(item["arguments"])
        ]
        ended = {"name": item["name"], "arguments": item["arguments"]}
        payloads.append({"type": "response.function_call_arguments.done", **place, **ended})
        payloads.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return payloads[:1], payloads[1:-2], payloads[-2:]


def _numbered(payloads: _Payloads, start: int) -> list[bytes]:
    return [
        event(payload | {"sequence_number": number}, payload["type"]) for number, payload in enumerate(payloads, start)
    ]


def _status(answer: Answer) -> str:
    return "incomplete" if answer.finish in _INCOMPLETE else "completed"


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message_id(ident: Ident) -> str:
    return f"msg_sim{ident.tail}"


def _output(answer: Answer, ident: Ident, status: str) -> list[dict[str, Any]]:
    if not answer.calls:
        return [_message_item(ident, status, [_part(answer.text)])]
    return [
        {
            "id": f"fc_sim{ident.tail}_{index}",
            "type": "function_call",
            "status": status,
            "call_id": f"call_sim{ident.tail}_{index}",
            "name": call.name,
            "arguments": call.arguments,
        }
        for index, call in enumerate(answer.calls)
    ]


def _message_item(ident: Ident, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": _message_id(ident),
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _response(ask: Ask, ident: Ident, status: str) -> dict[str, Any]:
    return {
        "id": response_id(ident),
        "object": "response",
        "created_at": ident.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": ask.max_tokens,
        "metadata": {},
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": ask.previous_id,
        "store": ask.store,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": None,
        **ask.echoed,
    }


ENDPOINT: Final = Endpoint(body, events)
