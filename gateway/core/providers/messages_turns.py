"""Anthropic's system prompt and turns as the messages of a chat. Text is never decoded where it can be copied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from gateway.core.providers import slices
from gateway.core.providers.slices import is_text, items, members, missing, refuse_others, unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping

Message = dict[str, object]
_UPSTREAM = "this upstream"
_ROLES = frozenset({"user", "assistant", "system"})
_MESSAGE_MEMBERS = frozenset({"role", "content"})
# Cache marks change the price only; citations of an earlier answer have no place in a chat.
_TEXT_MEMBERS = frozenset({"type", "text", "cache_control", "citations"})
_IMAGE_MEMBERS = frozenset({"type", "source", "cache_control"})
_USE_MEMBERS = frozenset({"type", "id", "name", "input", "cache_control", "caller"})
# That a tool failed is what its result says.
_RESULT_MEMBERS = frozenset({"type", "tool_use_id", "content", "is_error", "cache_control"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
"""Of earlier answers: a chat has no place for them, and its model made them in words of its own or none."""


def messages_of(system: Raw | None, messages: Raw | None) -> list[Message]:
    """The chat's messages. Raises `ApiError` 400."""
    if messages is None:
        raise missing("messages")
    out: list[Message] = []
    if system is not None:
        content = _content(system, "system")
        if content != []:
            out.append({"role": "system", "content": content})
    for at, each in enumerate(items(messages, "messages")):
        place = f"messages[{at}]"
        fields = members(each, place)
        role = slices.text(fields.get("role"), f"{place}.role")
        if role not in _ROLES:
            raise unsupported(f"{place}.role", f"Messages of role '{role[:40]}' can't be translated for {_UPSTREAM}.")
        refuse_others(fields, _MESSAGE_MEMBERS, place, _UPSTREAM)
        if "content" not in fields:
            raise missing(f"{place}.content")
        out += _turn(role, fields["content"], f"{place}.content")
    return out


def _turn(role: str, content: Raw, place: str) -> list[Message]:
    if is_text(content):
        return [{"role": role, "content": content}]
    if role == "assistant":
        return _assistant(content, place)
    return _said_by_others(role, content, place)


def _said_by_others(role: str, content: Raw, place: str) -> list[Message]:
    """Tool results become messages of their own, ahead of the rest: they answer the message before."""
    results: list[Message] = []
    parts: list[Message] = []
    for here, kind, block in _blocks_of(content, place):
        if kind == "text":
            parts.append(_text_part(block, here))
        elif kind == "image" and role == "user":
            parts.append(_image_part(block, here))
        elif kind == "tool_result" and role == "user":
            results.append(_result(block, here))
        else:
            raise _foreign(here, kind)
    if not parts:
        return results
    return [*results, {"role": role, "content": _plain(parts)}]


def _assistant(content: Raw, place: str) -> list[Message]:
    parts: list[Message] = []
    calls: list[Message] = []
    for here, kind, block in _blocks_of(content, place):
        if kind == "text":
            parts.append(_text_part(block, here))
        elif kind == "tool_use":
            calls.append(_call(block, here))
        elif kind not in _THOUGHTS:
            raise _foreign(here, kind)
    if not (parts or calls):
        return []
    message: Message = {"role": "assistant", "content": _plain(parts) if parts else None}
    if calls:
        message["tool_calls"] = calls
    return [message]


def _blocks_of(content: Raw, place: str) -> list[tuple[str, str, dict[str, Raw]]]:
    """(place, type, members) of each block."""
    found = []
    for at, each in enumerate(items(content, place)):
        here = f"{place}[{at}]"
        block = members(each, here)
        found.append((here, slices.text(block.get("type"), f"{here}.type"), block))
    return found


def _content(raw: Raw, place: str) -> object:
    """A text, or blocks of text only, as a chat's content."""
    if is_text(raw):
        return raw
    parts = []
    for here, kind, block in _blocks_of(raw, place):
        if kind != "text":
            raise _foreign(here, kind)
        parts.append(_text_part(block, here))
    return _plain(parts)


def _plain(parts: list[Message]) -> object:
    """One text stands for itself: not every chat template takes parts."""
    return parts[0]["text"] if len(parts) == 1 and "text" in parts[0] else parts


def _text_part(block: Mapping[str, Raw], place: str) -> Message:
    refuse_others(block, _TEXT_MEMBERS, place, _UPSTREAM)
    if "text" not in block:
        raise missing(f"{place}.text")
    return {"type": "text", "text": block["text"]}


def _image_part(block: Mapping[str, Raw], place: str) -> Message:
    refuse_others(block, _IMAGE_MEMBERS, place, _UPSTREAM)
    if "source" not in block:
        raise missing(f"{place}.source")
    here = f"{place}.source"
    source = members(block["source"], here)
    kind = slices.text(source.get("type"), f"{here}.type")
    if kind == "url":
        url = slices.text(source.get("url"), f"{here}.url")
    elif kind == "base64":
        media_type = slices.text(source.get("media_type"), f"{here}.media_type")
        url = f"data:{media_type};base64,{slices.text(source.get('data'), f'{here}.data')}"
    else:
        raise unsupported(f"{here}.type", f"Images from a '{kind[:40]}' can't be translated for {_UPSTREAM}.")
    return {"type": "image_url", "image_url": {"url": url}}


def _result(block: Mapping[str, Raw], place: str) -> Message:
    refuse_others(block, _RESULT_MEMBERS, place, _UPSTREAM)
    content = _content(block["content"], f"{place}.content") if "content" in block else ""
    call = slices.text(block.get("tool_use_id"), f"{place}.tool_use_id")
    return {"role": "tool", "tool_call_id": call, "content": content or ""}


def _call(block: Mapping[str, Raw], place: str) -> Message:
    refuse_others(block, _USE_MEMBERS, place, _UPSTREAM)
    arguments = block.get("input", Raw(b"{}"))
    members(arguments, f"{place}.input")
    name = slices.text(block.get("name"), f"{place}.name")
    call = slices.text(block.get("id"), f"{place}.id")
    return {"id": call, "type": "function", "function": {"name": name, "arguments": _text_of(arguments, place)}}


def _text_of(raw: Raw, place: str) -> str:
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError:
        raise slices.wrong_type(f"{place}.input", "UTF-8 text") from None


def _foreign(place: str, kind: str) -> Exception:
    return unsupported(f"{place}.type", f"Content of type '{kind[:40]}' can't be translated for {_UPSTREAM}.")
