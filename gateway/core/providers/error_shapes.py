"""One `ApiError`, or an upstream's own error event, in the shape that callers of each operation read.

chat, text_completion and responses answer with OpenAI's object; messages with Anthropic's around the same four keys,
so that both SDK families find what they look for. In a stream, `event:` lines are for those that name their events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.errors import ApiError, render_body
from gateway.core.events import payload_of
from gateway.core.providers.slices import UNSUPPORTED
from gateway.core.wire import redact, redact_word

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENCODE = msgspec.json.Encoder().encode
_DECODE_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_SAID = "The model's server reported an error."
_SERVER_ERRORS_FROM = 500

ANTHROPIC_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's `error.type` by status; any other status from 500 on is `api_error`, below `invalid_request_error`."""

_ANTHROPICS_OWN = frozenset(ANTHROPIC_TYPES.values())
_UNTHREADED = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
"""What has Anthropic's SDKs send the whole conversation again, without a thread."""


class Said(msgspec.Struct, frozen=True):
    """What an upstream's error says, before anything is cut out of it."""

    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


_DECODE_SAID = msgspec.json.Decoder(Said | str).decode


def render_error(operation: str, error: ApiError, request_id: str | None = None) -> bytes:
    """Body of an error answer. `request_id` shows in Anthropic's shape, which has a place for it."""
    if operation != "messages":
        return render_body(error)
    return _ENCODE({**_anthropic(error), "request_id": request_id})


def stream_error(operation: str, error: ApiError, sequence_number: int = 0) -> bytes:
    """The event that ends a broken stream. `sequence_number`: of this event, in a stream of responses."""
    if operation == "messages":
        return b"event: error\ndata: %b\n\n" % _ENCODE(_anthropic(error))
    if operation == "responses":
        said = Said(error.message, error.type, error.param, error.code)
        return b"event: error\ndata: %b\n\n" % _ENCODE(_responses(said, sequence_number))
    return b"data: %b\n\n" % render_body(error)


def redact_chat_event(event: bytes, secrets: tuple[str, ...]) -> bytes:
    """`data: {"error":{four keys}}`, whatever else the upstream's event carried."""
    said = _clean(_said(_fields(event).get("error")), secrets)
    error = {
        "message": said.message,
        "type": said.type or "server_error",
        "param": said.param,
        "code": None if said.code is None else str(said.code),
    }
    return b"data: %b\n\n" % _ENCODE({"error": error})


def redact_messages_event(event: bytes, secrets: tuple[str, ...]) -> bytes:
    """`event: error` of a stream of messages with nothing but a type and a text."""
    said = _clean(_said(_fields(event).get("error")), secrets)
    error = {"type": said.type or "api_error", "message": said.message}
    return b"event: error\ndata: %b\n\n" % _ENCODE({"type": "error", "error": error})


def redact_responses_event(event: bytes, secrets: tuple[str, ...]) -> bytes:
    """An `error` event with its facts only, or a `response.failed` whose response is whole but for the error's text."""
    fields = _fields(event)
    if "response" in fields:
        return _redact_failed(fields, secrets)
    said = _said(fields["error"]) if "error" in fields else _said(msgspec.Raw(_ENCODE(_flat(fields))))
    number = fields.get("sequence_number", msgspec.Raw(b"0"))
    return b"event: error\ndata: %b\n\n" % _ENCODE(_responses(_clean(said, secrets), number))


def said_in(raw: msgspec.Raw | None, secrets: tuple[str, ...]) -> Said:
    """An upstream's `error` value, an object or a text, with secrets, URLs and addresses cut out."""
    return _clean(_said(raw), secrets)


def _redact_failed(fields: dict[str, msgspec.Raw], secrets: tuple[str, ...]) -> bytes:
    try:
        response = _DECODE_FIELDS(fields["response"])
    except _UNREADABLE:
        response = {}
    said = _clean(_said(response.get("error")), secrets)
    code = "server_error" if said.code is None else str(said.code)
    shown = {**response, "error": {"code": code, "message": said.message}}
    return b"event: response.failed\ndata: %b\n\n" % _ENCODE({**fields, "type": "response.failed", "response": shown})


def _flat(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    return {name: fields[name] for name in ("message", "param", "code") if name in fields}


def _anthropic(error: ApiError) -> dict[str, object]:
    fallback = "api_error" if error.status >= _SERVER_ERRORS_FROM else "invalid_request_error"
    kind = error.type if error.type in _ANTHROPICS_OWN else ANTHROPIC_TYPES.get(error.status, fallback)
    inner: dict[str, object] = {"type": kind, "message": error.message, "param": error.param, "code": error.code}
    if error.code == UNSUPPORTED and error.param == "thread":
        inner["details"] = _UNTHREADED
    return {"type": "error", "error": inner}


def _responses(said: Said, sequence_number: int | msgspec.Raw) -> dict[str, object]:
    """The documented flat event, and `error` beside it: what the SDKs raise on, as flat ones pass as plain events."""
    code = None if said.code is None else str(said.code)
    error = {"message": said.message, "type": said.type or "server_error", "param": said.param, "code": code}
    return {
        "type": "error",
        "code": code,
        "message": said.message,
        "param": said.param,
        "sequence_number": sequence_number,
        "error": error,
    }


def _fields(event: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _DECODE_FIELDS(payload_of(event))
    except _UNREADABLE:
        return {}


def _said(raw: msgspec.Raw | None) -> Said:
    if raw is None:
        return Said()
    try:
        said = _DECODE_SAID(raw)
    except _UNREADABLE:
        return Said()
    return Said(said) if isinstance(said, str) else said


def _clean(said: Said, secrets: tuple[str, ...]) -> Said:
    return Said(
        redact(said.message, secrets) if said.message else _SAID,
        said.type and redact_word(said.type, secrets),
        said.param and redact_word(said.param, secrets),
        redact_word(said.code, secrets) if isinstance(said.code, str) else said.code,
    )
