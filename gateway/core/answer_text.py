"""The text of an answer as a reader would see it, out of a whole answer or stream of any of the four operations.

For comparing answers, never on the request path. Only the first choice counts; a call of a tool is a line
`name(arguments)`, so that an answer which only calls one is no empty text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.events import events_of, payload_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct):
    index: int = 0
    function: _Function | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None
    text: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Item(msgspec.Struct):
    type: str = ""
    content: list[_Part] | None = None
    name: str = ""
    arguments: str = ""


class _Response(msgspec.Struct):
    output: list[_Item]


class _ResponseEvent(msgspec.Struct):
    type: str = ""
    response: msgspec.Raw = msgspec.Raw()


class _Reply(msgspec.Struct):
    content: list[_Part]


class _ReplyDelta(msgspec.Struct):
    text: str | None = None
    partial_json: str | None = None


class _ReplyEvent(msgspec.Struct):
    type: str = ""
    content_block: _Part | None = None
    delta: _ReplyDelta | None = None


_DECODE_COMPLETION = msgspec.json.Decoder(_Completion).decode
_DECODE_RESPONSE = msgspec.json.Decoder(_Response).decode
_DECODE_RESPONSE_EVENT = msgspec.json.Decoder(_ResponseEvent).decode
_DECODE_REPLY = msgspec.json.Decoder(_Reply).decode
_DECODE_REPLY_EVENT = msgspec.json.Decoder(_ReplyEvent).decode
_LAST_OF_RESPONSE = frozenset({"response.completed", "response.incomplete"})


def answer_text(operation: str, body: bytes, *, stream: bool) -> str | None:
    """The text in the caller's answer; None for what is no answer of that operation."""
    try:
        return (_OF_STREAM if stream else _OF_ANSWER)[operation](body)
    except _UNREADABLE:
        return None


def _payloads(body: bytes) -> Iterator[bytes]:
    """What the events of a stream say, `[DONE]` and empty ones left out; the last may lack its blank line."""
    for event in events_of(body + b"\n\n"):
        payload = payload_of(event)
        if payload.startswith(b"{"):
            yield payload


def _called(name: str, arguments: str) -> str:
    return f"{name}({arguments})"


def _joined(text: str, calls: Iterator[str]) -> str:
    return "\n".join([*([text] if text else []), *calls])


def _completion(body: bytes) -> str | None:
    for choice in _DECODE_COMPLETION(body).choices:
        message = choice.message
        if choice.index == 0:
            return (choice.text or "") if message is None else _message(message)
    return None


def _message(message: _Message) -> str:
    functions = [call.function for call in message.tool_calls or () if call.function is not None]
    calls = (_called(each.name or "", each.arguments or "") for each in functions)
    return _joined((message.content or "") + (message.refusal or ""), calls)


def _completion_stream(body: bytes) -> str | None:
    """Deltas put together. A stream without any choice is no answer."""
    texts: list[str] = []
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    seen = False
    for payload in _payloads(body):
        for choice in _DECODE_COMPLETION(payload).choices:
            if choice.index != 0:
                continue
            seen = True
            delta = choice.delta or _Message()
            texts += [choice.text or "", delta.content or "", delta.refusal or ""]
            for call in delta.tool_calls or ():
                function = call.function or _Function()
                names[call.index] = names.get(call.index, "") + (function.name or "")
                arguments[call.index] = arguments.get(call.index, "") + (function.arguments or "")
    return _joined("".join(texts), (_called(names[n], arguments[n]) for n in sorted(names))) if seen else None


def _response(body: bytes | msgspec.Raw) -> str:
    texts: list[str] = []
    calls: list[str] = []
    for item in _DECODE_RESPONSE(body).output:
        if item.type == "message":
            texts += [(part.text or "") + (part.refusal or "") for part in item.content or ()]
        elif item.type == "function_call":
            calls.append(_called(item.name, item.arguments))
    return _joined("".join(texts), iter(calls))


def _response_stream(body: bytes) -> str | None:
    """The last event has the whole response."""
    for payload in _payloads(body):
        event = _DECODE_RESPONSE_EVENT(payload)
        if event.type in _LAST_OF_RESPONSE:
            return _response(event.response)
    return None


def _reply(body: bytes) -> str:
    parts = _DECODE_REPLY(body).content
    calls = (_called(each.name, bytes(each.input).decode()) for each in parts if each.type == "tool_use")
    return _joined("".join(each.text or "" for each in parts if each.type == "text"), calls)


def _reply_stream(body: bytes) -> str | None:
    texts: list[str] = []
    calls: list[list[str]] = []
    begun = False
    for payload in _payloads(body):
        event = _DECODE_REPLY_EVENT(payload)
        begun = begun or event.type == "message_start"
        block, delta = event.content_block, event.delta
        if block is not None and block.type == "tool_use":
            calls.append([block.name])
        elif block is not None:
            texts.append(block.text or "")
        if delta is not None:
            texts.append(delta.text or "")
            if delta.partial_json and calls:
                calls[-1].append(delta.partial_json)
    return _joined("".join(texts), (_called(each[0], "".join(each[1:])) for each in calls)) if begun else None


_OF_ANSWER: Mapping[str, Callable[[bytes], str | None]] = {
    "chat": _completion,
    "text_completion": _completion,
    "responses": _response,
    "messages": _reply,
}
_OF_STREAM: Mapping[str, Callable[[bytes], str | None]] = {
    "chat": _completion_stream,
    "text_completion": _completion_stream,
    "responses": _response_stream,
    "messages": _reply_stream,
}
