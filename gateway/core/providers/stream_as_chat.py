"""A stream of Anthropic's messages as the chunks of a chat.

The finish chunk, the usage chunk and `[DONE]` are sent together, when the upstream has said that its message is
complete: a stream that breaks off before never looks finished.
"""

from __future__ import annotations

import msgspec

from gateway.core.providers.answer_as_chat import FINISH_OF_STOP, Counts, chat_usage
from gateway.core.providers.slices import UNREADABLE
from gateway.core.providers.translated import Translated, UnreadableEventError

_ENCODE = msgspec.json.Encoder().encode
_DONE = b"data: [DONE]\n\n"
_PING = b": ping\n\n"


class _Block(msgspec.Struct):
    type: str
    id: str = ""
    name: str = ""
    text: str = ""
    thinking: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    id: str = ""
    model: str = ""
    usage: Counts | None = None


class _Event(msgspec.Struct):
    type: str
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: Counts | None = None
    error: msgspec.Raw = msgspec.Raw()


_DECODE = msgspec.json.Decoder(_Event).decode


class StreamAsChat(Translated):
    """One exchange's translation. `created`: Unix seconds; `usage_wanted`: whether the caller asked for that chunk."""

    __slots__ = ("_calls", "_counts", "_created", "_details", "_head", "_input", "_stop", "_stopped", "usage_wanted")

    operation = "chat"

    def __init__(self, *, usage_wanted: bool, created: int, secrets: tuple[str, ...] = ()) -> None:
        super().__init__(secrets)
        self.usage_wanted = usage_wanted
        self._created = created
        self._counts = Counts()
        self._head = b""
        self._calls = -1
        self._input: bytes | None = None
        """What the open tool call's first event said of its input; None once a delta came, or for no tool call."""
        self._stop: str | None = None

    def _take(self, payload: bytes) -> bytes:
        """The chunks of one event of the upstream's."""
        try:
            event = _DECODE(payload)
        except UNREADABLE:
            raise UnreadableEventError from None
        match event.type:
            case "content_block_delta" | "content_block_start" | "content_block_stop":
                return self._take_block(event)
            case "message_start":
                return self._start(event.message or _Message())
            case "message_delta":
                self._note(event)
            case "message_stop":
                self.done = True
                return self._finish()
            case "error":
                return self._fail(event.error)
        return _PING if event.type == "ping" else b""

    def _take_block(self, event: _Event) -> bytes:
        if event.delta is not None:
            return self._delta(event.delta)
        if event.content_block is not None:
            return self._begin(event.content_block)
        return self._close_call()

    def _finish(self) -> bytes:
        """The end of a complete stream, once."""
        if not self._head:
            self._set_head("", "")
        self.finish_reason = FINISH_OF_STOP.get(self._stop or "", "stop")
        chunks = self._close_call() + self._chunk({}, self.finish_reason)
        if self.usage_wanted:
            chunks += b'%b,"choices":[],"usage":%b}\n\n' % (self._head, _ENCODE(chat_usage(self._counts)))
        self._closed = True
        return chunks + _DONE

    def _is_finished(self) -> bool:
        return self._stop is not None

    def _start(self, message: _Message) -> bytes:
        if self._head:
            raise UnreadableEventError
        self._set_head(message.id, message.model)
        self._count(message.usage)
        return self._chunk({"role": "assistant", "content": ""})

    def _begin(self, block: _Block) -> bytes:
        """A block opens: a tool call says its name, others may already say something."""
        if block.type == "text" and block.text:
            return self._content({"content": block.text})
        if block.type == "thinking" and block.thinking:
            return self._content({"reasoning": block.thinking})
        if block.type != "tool_use":
            return b""
        self._calls += 1
        self._input = bytes(block.input)
        function = {"name": block.name, "arguments": ""}
        call = {"index": self._calls, "id": block.id, "type": "function", "function": function}
        return self._content({"tool_calls": [call]})

    def _delta(self, delta: _Delta) -> bytes:
        if delta.text:
            return self._content({"content": delta.text})
        if delta.thinking:
            return self._content({"reasoning": delta.thinking})
        if delta.partial_json:
            self._input = None
            return self._arguments(delta.partial_json)
        return b""

    def _close_call(self) -> bytes:
        """A call without arguments has none to stream; its caller still wants JSON."""
        given, self._input = self._input, None
        if given is None:
            return b""
        try:
            return self._arguments(given.decode())
        except UnicodeDecodeError:
            raise UnreadableEventError from None

    def _arguments(self, text: str) -> bytes:
        return self._content({"tool_calls": [{"index": max(0, self._calls), "function": {"arguments": text}}]})

    def _content(self, delta: dict[str, object]) -> bytes:
        if not self._head:
            raise UnreadableEventError
        self.content_begun = True
        return self._chunk(delta)

    def _chunk(self, delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = b',"usage":null' if self.usage_wanted else b""
        return b'%b,"choices":[%b]%b}\n\n' % (self._head, _ENCODE(choice), usage)

    def _set_head(self, answer_id: str, model: str) -> None:
        same = {"id": answer_id, "object": "chat.completion.chunk", "created": self._created, "model": model}
        self._head = b"data: " + _ENCODE(same)[:-1]

    def _note(self, event: _Event) -> None:
        if event.delta is not None:
            self._stop = event.delta.stop_reason or self._stop
        self._count(event.usage)

    def _count(self, counts: Counts | None) -> None:
        if counts is None:
            return
        merged = self._counts.updated(counts)
        details = counts.output_tokens_details or self._counts.output_tokens_details
        self._counts = Counts(
            merged.input_tokens,
            merged.cache_creation_input_tokens,
            merged.cache_read_input_tokens,
            merged.output_tokens,
            details,
        )
        self.usage = self._counts.usage()
