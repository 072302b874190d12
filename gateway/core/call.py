"""A request body and its headers -> `Call`: what the gateway needs to know, and nothing decoded that it doesn't.

The body is split once into raw top-level slices. A rewritten body is put together from the same slices, so a long
prompt is copied, never turned into Python objects, and a key that came twice leaves once.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from gateway.core.errors import bad_body
from gateway.core.response_ids import ELSEWHERE, Place, split
from rollout.core.model import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

UNIT_MAX_CHARS = 512
REQUEST_ID_MAX_CHARS = 128
_RETRIES_MAX_DIGITS = 2
FIELDS_MAX = 10_000
"""Of the top level, about. Beyond, making an object of each would hold up everybody else for seconds."""
_CROWD_FROM_BYTES = 131_072

_DECODE_FIELDS = msgspec.json.Decoder(dict[str, Raw]).decode
_DECODE_STR = msgspec.json.Decoder(str).decode
_ENCODE = msgspec.json.Encoder().encode
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:/=+@-]{1,%d}" % REQUEST_ID_MAX_CHARS)
_TRUE, _FALSE, _NULL = b"true", b"false", b"null"
# Raw slices are checked for their shape only: bad UTF-8 and depth show up when one is decoded.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_USAGE_ONLY = Raw(b'{"include_usage":true}')
_RAW_TRUE = Raw(b"true")
_CONVERSATION_HEADER = b"x-conversation-id"


class _Metadata(msgspec.Struct):
    conversation_id: str | None = None
    user_id: str | None = None


class _Conversation(msgspec.Struct):
    id: str


_DECODE_METADATA = msgspec.json.Decoder(_Metadata).decode
_DECODE_CONVERSATION = msgspec.json.Decoder(_Conversation | str).decode


class _Voluminous(msgspec.Struct):
    """Fields that are long in honest requests."""

    messages: Raw = Raw()
    prompt: Raw = Raw()
    input: Raw = Raw()
    tools: Raw = Raw()
    functions: Raw = Raw()
    response_format: Raw = Raw()


_DECODE_VOLUMINOUS = msgspec.json.Decoder(_Voluminous).decode


class Call(msgspec.Struct, frozen=True, gc=False):
    """One parsed request."""

    fields: dict[str, Raw]
    model: str
    stream: bool
    usage_wanted: bool
    subject: Subject
    place: Place | None = None
    """Where the response is that this call continues, None if it continues none."""

    @property
    def previous(self) -> bytes:
        """The upstream's own id of the response that is continued, as JSON, if the caller's id said its place."""
        place = self.place
        return bytes(self.fields["previous_response_id"]) if place is not None and place.upstream else b""


def parse(
    body: bytes,
    headers: Mapping[bytes, bytes],
    tenant: str | None,
    request: str | None = None,
    operation: str = "chat",
) -> Call:
    """Read what routing needs. `headers`: lower-case names; `request`: its id; `operation`: what is called.

    Raises `ApiError` 400 for what can't be relayed.
    """
    try:
        if len(body) > _CROWD_FROM_BYTES:
            _refuse_crowd(body)
        fields = _DECODE_FIELDS(body)
    except _UNREADABLE:
        raise bad_body("We could not parse the JSON body of your request: send one JSON object.") from None
    raw_model = fields.get("model")
    if raw_model is None:
        raise bad_body("You must provide a model parameter: a feature such as `copilot/summarize`.", param="model")
    model = _text(raw_model)
    if model is None:
        raise bad_body("Invalid type for 'model': expected a string.", param="model", code="invalid_type")
    stream = "stream" in fields and _flag(fields["stream"], "stream")
    return Call(
        fields,
        model,
        stream,
        stream and _usage_wanted(fields.get("stream_options")),
        _subject(fields, headers.get(_CONVERSATION_HEADER), tenant, request),
        _place(fields) if operation == "responses" else None,
    )


def rewrite(call: Call, raw_model: Raw) -> bytes:
    """Body for the upstream: its own model name (JSON text), usage asked for on streams, all else as it came."""
    fields = call.fields
    fields["model"] = raw_model
    if call.stream and not call.usage_wanted:
        fields["stream_options"] = _with_usage(fields.get("stream_options"))
    return _ENCODE(fields)


def raw_text(text: str) -> Raw:
    """A string as a JSON slice."""
    return Raw(_ENCODE(text))


def request_id(sent: bytes | None) -> str | None:
    """The caller's request id if it is short and plain enough to echo and log, else None."""
    if sent is not None and _REQUEST_ID.fullmatch(sent):
        return sent.decode("ascii")
    return None


def client_retries(headers: Mapping[bytes, bytes]) -> int:
    """Retries the official SDKs say they have made."""
    value = headers.get(b"x-stainless-retry-count")
    return int(value) if value and value.isdigit() and len(value) <= _RETRIES_MAX_DIGITS else 0


def _refuse_crowd(body: bytes) -> None:
    """Raise for far too many top-level fields: each has a colon that is in none of the long ones."""
    colons = body.count(b":")
    if colons > FIELDS_MAX:
        known = _DECODE_VOLUMINOUS(body)
        colons -= sum(bytes(getattr(known, name)).count(b":") for name in known.__struct_fields__)
        if colons > FIELDS_MAX:
            raise bad_body("The body has too many fields.", code="object_above_max_properties")


def _text(raw: Raw) -> str | None:
    """A JSON string's value; None for anything else."""
    try:
        return _DECODE_STR(raw)
    except _UNREADABLE:
        return None


def _flag(raw: Raw, name: str) -> bool:
    value = bytes(raw)
    if value == _TRUE:
        return True
    if value in (_FALSE, _NULL):
        return False
    raise bad_body(f"Invalid type for '{name}': expected a boolean.", param=name, code="invalid_type")


def _options(raw: Raw | None) -> dict[str, Raw]:
    if raw is None or bytes(raw) == _NULL:
        return {}
    try:
        return _DECODE_FIELDS(raw)
    except _UNREADABLE:
        text = "Invalid type for 'stream_options': expected an object."
        raise bad_body(text, param="stream_options", code="invalid_type") from None


def _usage_wanted(raw: Raw | None) -> bool:
    return raw is not None and bytes(_options(raw).get("include_usage", Raw(_FALSE))) == _TRUE


def _with_usage(raw: Raw | None) -> Raw:
    options = _options(raw)
    if not options:
        return _USAGE_ONLY
    options["include_usage"] = _RAW_TRUE
    return Raw(_ENCODE(options))


def _subject(
    fields: Mapping[str, Raw], conversation_header: bytes | None, tenant: str | None, request: str | None
) -> Subject:
    """Who is asking, in the contract's order; what has the wrong type counts as absent."""
    conversation = conversation_header.decode("utf-8", "replace").strip() if conversation_header else None
    if not conversation and not _CONVERSATION_NAMES.isdisjoint(fields):
        conversation = _conversation_of_body(fields)
    user = None
    if "safety_identifier" in fields:
        user = _text(fields["safety_identifier"])
    if not user and "user" in fields:
        user = _text(fields["user"])
    if not user and "metadata" in fields:
        user = _metadata(fields["metadata"]).user_id
    if (conversation and len(conversation) > UNIT_MAX_CHARS) or (user and len(user) > UNIT_MAX_CHARS):
        raise bad_body(f"An id is longer than {UNIT_MAX_CHARS} characters.", code="string_above_max_length")
    return Subject(conversation or None, user or None, tenant, request)


def _conversation_of_body(fields: Mapping[str, Raw]) -> str | None:
    for name, read in _CONVERSATION_FIELDS:
        if name in fields:
            found = read(fields[name])
            if found:
                return found
    return None


def _conversation_of_metadata(raw: Raw) -> str | None:
    return _metadata(raw).conversation_id


def _metadata(raw: Raw) -> _Metadata:
    try:
        return _DECODE_METADATA(raw)
    except _UNREADABLE:
        return _NO_METADATA


def _place(fields: dict[str, Raw]) -> Place | None:
    """Where the response or conversation is that the call goes on with; a placed id leaves as the upstream's own."""
    previous = _text(fields["previous_response_id"]) if "previous_response_id" in fields else None
    if previous:
        own, place = split(previous)
        fields["previous_response_id"] = raw_text(own)
        return place
    if "conversation" in fields and _conversation_of_field(fields["conversation"]):
        return ELSEWHERE
    return None


def _conversation_of_field(raw: Raw) -> str | None:
    try:
        value = _DECODE_CONVERSATION(raw)
    except _UNREADABLE:
        return None
    return value if isinstance(value, str) else value.id


_NO_METADATA = _Metadata()
# A response's id is another one each turn: as a unit it would draw a new arm each time, so it is none.
_CONVERSATION_FIELDS = (
    ("metadata", _conversation_of_metadata),
    ("conversation", _conversation_of_field),
)
_CONVERSATION_NAMES = frozenset(name for name, _ in _CONVERSATION_FIELDS)
