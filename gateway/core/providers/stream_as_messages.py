"""A stream of a chat's chunks as the events of Anthropic's messages.

`message_delta` and `message_stop` are sent together, when the upstream has said that its stream is complete: the token
counts come after the finish chunk, and a stream that breaks off before never looks finished.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.providers.answer_as_message import ChatCounts, message_head, message_usage, stop_of
from gateway.core.providers.slices import UNREADABLE
from gateway.core.providers.translated import Translated, UnreadableEventError
from gateway.core.sse import Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENCODE = msgspec.json.Encoder().encode
_DONE = b"[DONE]"
_NO_ERROR = (b"", b"null")
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_TEXT, _THINKING = -1, -2
"""What block is open where it is no tool call; those go by the call's index."""
_EMPTY_BLOCKS = {
    _TEXT: {"type": "text", "text": ""},
    _THINKING: {"type": "thinking", "thinking": "", "signature": ""},
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int = 0
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None


class _Event(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    choices: list[_Choice] = []
    usage: ChatCounts | None = None
    error: msgspec.Raw = msgspec.Raw()


_DECODE = msgspec.json.Decoder(_Event).decode


class StreamAsMessages(Translated):
    """One exchange's translation."""

    __slots__ = ("_block", "_called", "_counts", "_finish_said", "_id", "_matched", "_open", "_refused", "_started")

    operation = "messages"

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__(secrets)
        self._id = ""
        self._started = False
        self._block = -1
        self._open: int | None = None
        self._called: set[int] = set()
        self._refused = False
        self._finish_said: str | None = None
        self._matched: str | int | None = None
        self._counts = ChatCounts()

    def _take(self, payload: bytes) -> bytes:
        """The events of one chunk of the upstream's."""
        if payload == _DONE:
            self.done = True
            return self._finish()
        try:
            event = _DECODE(payload)
        except UNREADABLE:
            raise UnreadableEventError from None
        if bytes(event.error) not in _NO_ERROR:
            return self._fail(event.error)
        if event.usage is not None:
            self._counts = event.usage
            self.usage = Usage(event.usage.prompt_tokens, event.usage.completion_tokens or 0)
        out = b""
        if not self._started and (event.choices or event.id):  # Azure's first event is about the prompt
            out = self._start(event.id or "", event.model or "")
        for choice in event.choices:
            if choice.index == 0:
                out += self._choice(choice)
        return out

    def _finish(self) -> bytes:
        """The end of a complete stream, once."""
        out = b"" if self._started else self._start("", "")
        stop, sequence = stop_of(self._finish_said, self._matched, called=bool(self._called), refused=self._refused)
        self.finish_reason = stop
        self._closed = True
        delta = {"stop_reason": stop, "stop_sequence": sequence}
        end = {"type": "message_delta", "delta": delta, "usage": message_usage(self._counts)}
        return out + self._close_block() + _event("message_delta", end) + _STOP

    def _is_finished(self) -> bool:
        return self._finish_said is not None

    def _start(self, answer_id: str, model: str) -> bytes:
        """The message opens. Its prompt's tokens are not known yet: `message_delta` will say them."""
        self._started, self._id = True, answer_id
        message = {
            **message_head(answer_id, model),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": message_usage(self._counts),
        }
        return _event("message_start", {"type": "message_start", "message": message})

    def _choice(self, choice: _Choice) -> bytes:
        out = b"" if choice.delta is None else self._delta(choice.delta)
        if choice.finish_reason is not None:
            self._finish_said, self._matched = choice.finish_reason, choice.stop_reason
        return out

    def _delta(self, delta: _Delta) -> bytes:
        out = b""
        thought = delta.reasoning or delta.reasoning_content
        if thought:
            out += self._say(_THINKING, {"type": "thinking_delta", "thinking": thought})
        if delta.content:
            out += self._say(_TEXT, {"type": "text_delta", "text": delta.content})
        if delta.refusal:
            self._refused = True
            out += self._say(_TEXT, {"type": "text_delta", "text": delta.refusal})
        for call in delta.tool_calls or []:
            out += self._call(call)
        return out

    def _say(self, kind: int, delta: dict[str, object]) -> bytes:
        out = b""
        if self._open != kind:
            out = self._open_block(kind, _EMPTY_BLOCKS[kind])
        return out + self._block_delta(delta)

    def _call(self, call: _Call) -> bytes:
        """A piece of a tool call. The calls of one answer come one after the other, each with its name first."""
        function = call.function or _Function()
        out = b""
        if self._open != call.index:
            if call.index in self._called or call.index < 0 or not function.name:
                raise UnreadableEventError
            self._called.add(call.index)
            used = call.id or f"{self._id}_{call.index}"
            out = self._open_block(call.index, {"type": "tool_use", "id": used, "name": function.name, "input": {}})
        if function.arguments:
            out += self._block_delta({"type": "input_json_delta", "partial_json": function.arguments})
        return out

    def _open_block(self, kind: int, block: Mapping[str, object]) -> bytes:
        out = self._close_block()
        self.content_begun = True
        self._block += 1
        self._open = kind
        start = {"type": "content_block_start", "index": self._block, "content_block": block}
        return out + _event("content_block_start", start)

    def _block_delta(self, delta: dict[str, object]) -> bytes:
        told = {"type": "content_block_delta", "index": self._block, "delta": delta}
        return _event("content_block_delta", told)

    def _close_block(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return _event("content_block_stop", {"type": "content_block_stop", "index": self._block})


def _event(name: str, payload: Mapping[str, object]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _ENCODE(payload))
