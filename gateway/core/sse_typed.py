"""Views of the streams whose events name their type: responses (`response.*`) and messages (`message_*`, `content_*`).

No event of theirs is left out. There is no `[DONE]`: the last event of its kind says that the stream is complete.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from gateway.core.providers.error_shapes import redact_messages_event, redact_responses_event, stream_error
from gateway.core.sse import Tokens, Usage, WatchedStream

if TYPE_CHECKING:
    from gateway.core.errors import ApiError

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_NO_ERROR = (b"", b"null")
_NO_DELTA = (b"", b"null", b'""')
_SEQUENCE_NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d{1,15})')


class _Counts(msgspec.Struct):
    input_tokens: Tokens = 0
    output_tokens: Tokens = 0


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Response(msgspec.Struct):
    id: str | None = None
    status: str | None = None
    usage: _Counts | None = None
    incomplete_details: _Incomplete | None = None


class _ResponsesEvent(msgspec.Struct):
    type: str = ""
    delta: msgspec.Raw = msgspec.Raw()
    response: _Response | None = None
    error: msgspec.Raw = msgspec.Raw()


_DECODE_RESPONSES = msgspec.json.Decoder(_ResponsesEvent).decode
_COMPLETE = {"response.completed": "completed", "response.incomplete": "incomplete"}
_FAILED = frozenset({"error", "response.failed"})


class ResponsesView(WatchedStream):
    """A stream of `/v1/responses`; `response_id` is known from its first event on.

    The finish reason is the status (`completed`) or, of an incomplete response, why (`max_output_tokens`).
    """

    __slots__ = ("response_id",)

    _error_pattern = re.compile(rb'"error"\s*:\s*[{"]|"type"\s*:\s*"error"')

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__(secrets)
        self.response_id: str | None = None

    def error_event(self, error: ApiError) -> bytes:
        """`event: error`, numbered after the last event that was seen."""
        numbers = [int(n) for whole in self._latest for n in _SEQUENCE_NUMBER.findall(whole)]
        return stream_error("responses", error, max(numbers) + 1 if numbers else 0)

    def _redact(self, event: bytes) -> bytes:
        return redact_responses_event(event, self._secrets)

    def _look(self, payload: bytes) -> bool:
        try:
            event = _DECODE_RESPONSES(payload)
        except _UNREADABLE:
            return False
        if event.type in _FAILED or bytes(event.error) not in _NO_ERROR:
            self.error_seen = True
        elif event.type.endswith(".delta") and bytes(event.delta) not in _NO_DELTA:
            self.content_begun = True
        if event.response is not None:
            self._note(event.type, event.response)
        return False

    def _note(self, kind: str, response: _Response) -> None:
        self.response_id = self.response_id or response.id
        if response.usage is not None:
            self.usage = Usage(response.usage.input_tokens, response.usage.output_tokens)
        if kind in _COMPLETE:
            self.done = True
            details = response.incomplete_details
            self.finish_reason = (details and details.reason) or _COMPLETE[kind]


class MessageCounts(msgspec.Struct, frozen=True):
    """Anthropic's token counts; those of a later event replace earlier ones, name by name."""

    input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None
    cache_read_input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None

    def updated(self, later: MessageCounts) -> MessageCounts:
        """These counts, with what `later` says."""
        return MessageCounts(
            self.input_tokens if later.input_tokens is None else later.input_tokens,
            self.cache_creation_input_tokens
            if later.cache_creation_input_tokens is None
            else later.cache_creation_input_tokens,
            self.cache_read_input_tokens if later.cache_read_input_tokens is None else later.cache_read_input_tokens,
            self.output_tokens if later.output_tokens is None else later.output_tokens,
        )

    def usage(self) -> Usage:
        """What the whole prompt took, cached or not, and what came out."""
        cached = (self.cache_creation_input_tokens or 0) + (self.cache_read_input_tokens or 0)
        return Usage((self.input_tokens or 0) + cached, self.output_tokens or 0)


class _Message(msgspec.Struct):
    usage: MessageCounts | None = None


class _Block(msgspec.Struct):
    type: str = ""


class _MessageDelta(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _MessagesEvent(msgspec.Struct):
    type: str = ""
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _MessageDelta | None = None
    usage: MessageCounts | None = None
    error: msgspec.Raw = msgspec.Raw()


_DECODE_MESSAGES = msgspec.json.Decoder(_MessagesEvent).decode


class MessagesView(WatchedStream):
    """A stream of `/v1/messages`; the finish reason is its `stop_reason`."""

    __slots__ = ("_counts",)

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__(secrets)
        self._counts = MessageCounts()

    def error_event(self, error: ApiError) -> bytes:
        """`event: error` as Anthropic words it."""
        return stream_error("messages", error)

    def _redact(self, event: bytes) -> bytes:
        return redact_messages_event(event, self._secrets)

    def _look(self, payload: bytes) -> bool:
        try:
            event = _DECODE_MESSAGES(payload)
        except _UNREADABLE:
            return False
        if event.type == "error" or bytes(event.error) not in _NO_ERROR:
            self.error_seen = True
        elif event.type == "message_stop":
            self.done = True
        elif event.delta is not None:
            self._note_delta(event.delta)
        elif event.content_block is not None:
            self.content_begun = self.content_begun or event.content_block.type == "tool_use"
        self._count(event.message.usage if event.message is not None else event.usage)
        return False

    def _note_delta(self, delta: _MessageDelta) -> None:
        self.finish_reason = delta.stop_reason or self.finish_reason
        self.content_begun = self.content_begun or bool(delta.text or delta.thinking or delta.partial_json)

    def _count(self, counts: MessageCounts | None) -> None:
        if counts is not None:
            self._counts = self._counts.updated(counts)
            self.usage = self._counts.usage()
