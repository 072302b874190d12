"""The messages of a chat as Anthropic's: a system prompt, and turns of user and assistant made of blocks.

Text is never decoded where it can be copied. Anthropic's own chat endpoint hoists system messages in the same way.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from gateway.core.errors import bad_body
from gateway.core.providers import slices
from gateway.core.providers.slices import is_text, items, members, missing, refuse_others, unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_UPSTREAM = "an Anthropic upstream"
_EMPTY_TEXT = b'""'
_EMPTY_OBJECT = Raw(b"{}")
_DECODE_OBJECT = msgspec.json.Decoder(dict[str, Raw]).decode
_NO_ID_CHARACTER = re.compile(r"[^A-Za-z0-9_-]")
_DATA_URL = re.compile(r"data:(image/[a-z.+-]{1,40});base64,")
_MESSAGE_MEMBERS = {
    "system": frozenset({"role", "content"}),
    "developer": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "tool": frozenset({"role", "content", "tool_call_id"}),
    # An earlier answer comes back as it was received; its reasoning has no signature that Anthropic would accept.
    "assistant": frozenset(
        {"role", "content", "refusal", "tool_calls", "reasoning", "reasoning_content", "annotations"}
    ),
}
# How finely an image is looked at, and what is cached, are hints.
_TEXT_MEMBERS = frozenset({"type", "text", "prompt_cache_breakpoint"})
_IMAGE_MEMBERS = frozenset({"type", "image_url", "prompt_cache_breakpoint"})
_IMAGE_URL_MEMBERS = frozenset({"url", "detail"})
_CALL_MEMBERS = frozenset({"id", "type", "function", "index"})
_FUNCTION_MEMBERS = frozenset({"name", "arguments"})


class Turn(msgspec.Struct):
    """One message of Anthropic's; `content`: a text as a slice, or blocks."""

    role: str
    content: Raw | list[object]


def turns_of(raw: Raw | None) -> tuple[Raw | list[object] | None, list[Turn]]:
    """(system prompt or None, turns). Raises `ApiError` 400."""
    if raw is None:
        raise missing("messages")
    system: list[object] = []
    turns: list[Turn] = []
    for at, each in enumerate(items(raw, "messages")):
        place = f"messages[{at}]"
        fields = members(each, place)
        role = slices.text(fields.get("role"), f"{place}.role")
        known = _MESSAGE_MEMBERS.get(role)
        if known is None:
            raise unsupported(f"{place}.role", f"Messages of role '{role[:40]}' can't be translated for {_UPSTREAM}.")
        refuse_others(fields, known, place, _UPSTREAM)
        if role in {"system", "developer"}:
            system += _blocks(fields.get("content"), f"{place}.content", _TEXTS)
        else:
            _add(turns, _TURNS[role](fields, place))
    return (system or None), turns


def _add(turns: list[Turn], turn: Turn) -> None:
    """Append; what a user says right after tool results goes with them, as Anthropic wants them in one message."""
    last = turns[-1] if turns else None
    if last is None or last.role != "user" or turn.role != "user" or not _has_results(last):
        if turn.content != []:
            turns.append(turn)
        return
    more = turn.content if isinstance(turn.content, list) else _text_blocks(turn.content)
    turns[-1] = Turn("user", [*last.content, *more])


def _has_results(turn: Turn) -> bool:
    first = turn.content[0] if isinstance(turn.content, list) else None
    return isinstance(first, dict) and first["type"] == "tool_result"


def _user_turn(fields: Mapping[str, Raw], place: str) -> Turn:
    content = fields.get("content")
    if content is not None and is_text(content):
        return Turn("user", content)
    return Turn("user", _blocks(content, f"{place}.content", _PARTS))


def _assistant_turn(fields: Mapping[str, Raw], place: str) -> Turn:
    content = fields.get("content")
    if content is not None and is_text(content) and fields.keys() <= {"role", "content"}:
        return Turn("assistant", [] if memoryview(content) == _EMPTY_TEXT else content)
    blocks = [] if content is None else _blocks(content, f"{place}.content", _SAID)
    if "refusal" in fields:
        blocks += _text_blocks(fields["refusal"])
    if "tool_calls" in fields:
        calls = items(fields["tool_calls"], f"{place}.tool_calls")
        blocks += [_tool_use(call, f"{place}.tool_calls[{at}]") for at, call in enumerate(calls)]
    return Turn("assistant", blocks)


def _tool_turn(fields: Mapping[str, Raw], place: str) -> Turn:
    result: dict[str, object] = {
        "type": "tool_result",
        "tool_use_id": call_id(slices.text(fields.get("tool_call_id"), f"{place}.tool_call_id")),
    }
    content = fields.get("content")
    if content is not None and is_text(content):
        result["content"] = content
    else:
        result["content"] = _blocks(content, f"{place}.content", _TEXTS)
    return Turn("user", [result])


def _tool_use(raw: Raw, place: str) -> dict[str, object]:
    call = members(raw, place)
    kind = slices.text(call["type"], f"{place}.type") if "type" in call else "function"
    if kind != "function":
        raise unsupported(f"{place}.type", f"Tool calls of type '{kind[:40]}' can't be translated for {_UPSTREAM}.")
    refuse_others(call, _CALL_MEMBERS, place, _UPSTREAM)
    if "function" not in call:
        raise missing(f"{place}.function")
    function = members(call["function"], f"{place}.function")
    refuse_others(function, _FUNCTION_MEMBERS, f"{place}.function", _UPSTREAM)
    arguments = slices.text(function.get("arguments"), f"{place}.function.arguments")
    return {
        "type": "tool_use",
        "id": call_id(slices.text(call.get("id"), f"{place}.id")),
        "name": slices.text(function.get("name"), f"{place}.function.name"),
        "input": _arguments(arguments, f"{place}.function.arguments"),
    }


def _arguments(text: str, place: str) -> Raw:
    found = object_slice(text)
    if found is None:
        raise bad_body(f"'{place}' must be a JSON object.", param=place, code="invalid_value")
    return found


def object_slice(text: str) -> Raw | None:
    """The arguments of a tool call, a JSON object in a string, as a slice; {} for none; None if it is no object."""
    text = text.strip()
    if not text:
        return _EMPTY_OBJECT
    try:
        encoded = text.encode()
        _DECODE_OBJECT(encoded)
    except slices.UNREADABLE:
        return None
    except UnicodeEncodeError:
        return None
    return Raw(encoded)


def call_id(text: str) -> str:
    """A tool call's id in the letters Anthropic takes; the same id gives the same one each time."""
    return _NO_ID_CHARACTER.sub("_", text)


def _blocks(
    raw: Raw | None, place: str, readers: Mapping[str, Callable[[Mapping[str, Raw], str], list[object]]]
) -> list[object]:
    """Content as Anthropic's blocks; empty texts, which it refuses, are left out."""
    if raw is None:
        raise missing(place)
    if is_text(raw):
        return _text_blocks(raw)
    blocks: list[object] = []
    for at, each in enumerate(items(raw, place)):
        here = f"{place}[{at}]"
        part = members(each, here)
        kind = slices.text(part.get("type"), f"{here}.type")
        reader = readers.get(kind)
        if reader is None:
            raise unsupported(f"{here}.type", f"Content of type '{kind[:40]}' can't be translated for {_UPSTREAM}.")
        blocks += reader(part, here)
    return blocks


def _text_blocks(raw: Raw) -> list[object]:
    return [] if memoryview(raw) == _EMPTY_TEXT else [{"type": "text", "text": raw}]


def _text_part(part: Mapping[str, Raw], place: str) -> list[object]:
    refuse_others(part, _TEXT_MEMBERS, place, _UPSTREAM)
    if "text" not in part:
        raise missing(f"{place}.text")
    return _text_blocks(part["text"])


def _refusal_part(part: Mapping[str, Raw], place: str) -> list[object]:
    if "refusal" not in part:
        raise missing(f"{place}.refusal")
    return _text_blocks(part["refusal"])


def _image_part(part: Mapping[str, Raw], place: str) -> list[object]:
    refuse_others(part, _IMAGE_MEMBERS, place, _UPSTREAM)
    if "image_url" not in part:
        raise missing(f"{place}.image_url")
    image = members(part["image_url"], f"{place}.image_url")
    refuse_others(image, _IMAGE_URL_MEMBERS, f"{place}.image_url", _UPSTREAM)
    url = slices.text(image.get("url"), f"{place}.image_url.url")
    found = _DATA_URL.match(url)
    if found is not None:
        source = {"type": "base64", "media_type": found[1], "data": url[found.end() :]}
    elif url.startswith(("https://", "http://")):
        source = {"type": "url", "url": url}
    else:
        why = f"'{place}.image_url.url' must be an http(s) URL or a base64 data URL of an image."
        raise unsupported(f"{place}.image_url.url", why)
    return [{"type": "image", "source": source}]


_TEXTS = {"text": _text_part}
_SAID = {"text": _text_part, "refusal": _refusal_part}
_PARTS = {"text": _text_part, "image_url": _image_part}
_TURNS = {"user": _user_turn, "assistant": _assistant_turn, "tool": _tool_turn}
