"""What was asked, as a reader would see it, out of a request's body of any of the four operations.

For a judge, never on the request path. Pictures and the like are named by their type; calls of tools are written
`name(arguments)`, as in `gateway.core.answer_text`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DECODE = msgspec.json.Decoder(dict[str, Any]).decode
_WORD_MAX_CHARS = 40
_FIRST, _LAST = 100, 300
"""Of the turns of a conversation, of the parts of a turn: a judge reads some ten thousand characters anyway."""
_FORMATS = ("response_format", "text")
"""Where the form of the answer is asked for: chat, responses."""


def request_text(operation: str, body: bytes) -> str | None:
    """Turn by turn, `role:` and what it said; None for a body in which nothing can be read."""
    try:
        fields = _DECODE(body)
        turns = [f"{role}:\n{text}" for role, text in _TURNS[operation](fields) if text]
        return "\n\n".join([*turns, *_wishes(fields)]) if turns else None
    except _UNREADABLE:
        return None


def turns_of(operation: str, body: bytes) -> list[tuple[str, str]]:
    """Role and text of each turn that has one; none for a body in which nothing can be read."""
    try:
        return [(role, text) for role, text in _TURNS[operation](_DECODE(body)) if text]
    except _UNREADABLE:
        return []


def _chat(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for message in _list(fields.get("messages")):
        if isinstance(message, dict):
            yield _word(message.get("role")), _joined(_text(message.get("content")), _calls(message))


def _prompt(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    prompt = fields.get("prompt")
    yield "user", _text(prompt[:1] if isinstance(prompt, list) else prompt)


def _input(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "system", _text(fields.get("instructions"))
    asked = fields.get("input")
    if isinstance(asked, str):
        yield "user", asked
    for item in _list(asked):
        if isinstance(item, dict):
            yield _word(item.get("role") or item.get("type")), _text(item.get("content", item))


def _messages(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "system", _text(fields.get("system"))
    yield from _chat(fields)


def _wishes(fields: Mapping[str, Any]) -> Iterator[str]:
    """What else an answer has to fit: tools it may call, the form it must have."""
    tools = [_name(tool) for tool in _list(fields.get("tools")) if isinstance(tool, dict)]
    if tools:
        yield f"(tools on offer: {', '.join(tools)})"
    for name in _FORMATS:
        if isinstance(fields.get(name), dict):
            yield f"(form of the answer: {msgspec.json.encode(fields[name]).decode()})"


def _name(tool: Mapping[str, Any]) -> str:
    function = tool.get("function")
    return _word((function if isinstance(function, dict) else tool).get("name") or tool.get("type"))


def _calls(message: Mapping[str, Any]) -> str:
    calls = [call.get("function") for call in _list(message.get("tool_calls")) if isinstance(call, dict)]
    return "\n".join(_called(each, "arguments") for each in calls if isinstance(each, dict))


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return _part(content)
    return _joined(*map(_text, _list(content)))


def _part(part: Mapping[str, Any]) -> str:
    for name in ("text", "refusal", "output"):
        if isinstance(part.get(name), str):
            return str(part[name])
    for name in ("arguments", "input"):
        if name in part:
            return _called(part, name)
    if "content" in part:
        return _text(part["content"])
    return f"[{_word(part.get('type'))}]"


def _called(function: Mapping[str, Any], arguments: str) -> str:
    given = function.get(arguments)
    shown = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    return f"{_word(function.get('name'))}({shown})"


def _joined(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        return []
    missing = len(value) - _FIRST - _LAST
    if missing <= 0:
        return value
    return [*value[:_FIRST], {"role": "(left out)", "content": f"{missing} more"}, *value[-_LAST:]]


def _word(value: object) -> str:
    return value[:_WORD_MAX_CHARS] if isinstance(value, str) and value else "?"


_TURNS: Mapping[str, Callable[[Mapping[str, Any]], Iterator[tuple[str, str]]]] = {
    "chat": _chat,
    "text_completion": _prompt,
    "responses": _input,
    "messages": _messages,
}
