"""Which operation an upstream of each kind serves, on which path, and through which translation: one table.

    operation         vllm, openai, azure                     anthropic
    chat              as it is, /chat/completions             translated, /messages
    text_completion   as it is, /completions                  unsupported
    responses         as it is, /responses                    unsupported
    messages          translated, /chat/completions           as it is, /messages

vLLM has a /v1/messages of its own by now. It is translated all the same, so that all versions, and both arms of a
ramp, answer alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway.core.call import rewrite
from gateway.core.errors import ApiError
from gateway.core.providers.answer_as_chat import answer_as_chat
from gateway.core.providers.answer_as_message import answer_as_message
from gateway.core.providers.chat_request import MAX_TOKENS_DEFAULT, translate_chat_request
from gateway.core.providers.messages_request import translate_messages_request
from gateway.core.providers.slices import UNSUPPORTED, refuse_crowd
from gateway.core.providers.stream_as_chat import StreamAsChat
from gateway.core.providers.stream_as_messages import StreamAsMessages
from gateway.core.sse import StreamView
from gateway.core.sse_typed import MessagesView, ResponsesView

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from msgspec import Raw

    from gateway.core.call import Call
    from gateway.core.sse import View

_ENCODE = msgspec.json.Encoder().encode

KINDS = ("vllm", "openai", "azure", "anthropic")
PATH_OF_OPERATION: Mapping[str, str] = {
    "chat": "/chat/completions",
    "text_completion": "/completions",
    "responses": "/responses",
    "messages": "/messages",
}
"""Of callers below `/v1`, and of upstreams below their base URL."""

_NAMES = {"text_completion": "text completions", "responses": "the responses API"}


class StreamFacts(NamedTuple):
    """What a view of one exchange's stream is made with. `created`: Unix seconds, for chunks that must carry it."""

    usage_wanted: bool
    created: int
    secrets: tuple[str, ...] = ()


class Wire(NamedTuple):
    """How one operation is served by one kind of upstream.

    `body(call, raw_model)` and `answer(body, created)` raise `ApiError`; `answer` is None where bytes pass as they
    are. A translated answer must be whole first, and not compressed.
    """

    path: str
    body: Callable[[Call, Raw], bytes]
    view: Callable[[StreamFacts], View]
    answer: Callable[[bytes, int], bytes] | None = None

    @property
    def translated(self) -> bool:
        """Whether the upstream speaks another operation than the caller."""
        return self.answer is not None


def wire_of(operation: str, kind: str) -> Wire:
    """The table's entry. Raises `ApiError` 400, code `unsupported_by_upstream`, where there is none."""
    wire = WIRES.get((operation, kind))
    if wire is None:
        name = _NAMES.get(operation, operation)
        text = f"The model behind this feature can't serve {name}: its provider ({kind}) has nothing like it."
        raise ApiError(400, text, "invalid_request_error", param="model", code=UNSUPPORTED)
    return wire


def _with_model(call: Call, raw_model: Raw) -> bytes:
    return _ENCODE({**call.fields, "model": raw_model})


def _chat_body(call: Call, raw_model: Raw) -> bytes:
    refuse_crowd(call.fields)
    return translate_chat_request(call.fields, raw_model, MAX_TOKENS_DEFAULT)


def _messages_body(kind: str) -> Callable[[Call, Raw], bytes]:
    def body(call: Call, raw_model: Raw) -> bytes:
        refuse_crowd(call.fields)
        return translate_messages_request(call.fields, raw_model, kind)

    return body


def _completions_view(facts: StreamFacts) -> View:
    return StreamView(usage_wanted=facts.usage_wanted, secrets=facts.secrets)


def _responses_view(facts: StreamFacts) -> View:
    return ResponsesView(facts.secrets)


def _messages_view(facts: StreamFacts) -> View:
    return MessagesView(facts.secrets)


def _chat_of_messages(facts: StreamFacts) -> View:
    return StreamAsChat(usage_wanted=facts.usage_wanted, created=facts.created, secrets=facts.secrets)


def _messages_of_chat(facts: StreamFacts) -> View:
    return StreamAsMessages(facts.secrets)


def _message(body: bytes, created: int) -> bytes:  # noqa: ARG001  a message has no time of its own
    return answer_as_message(body)


_VIEWS: Mapping[str, Callable[[StreamFacts], View]] = {
    "chat": _completions_view,
    "text_completion": _completions_view,
    "responses": _responses_view,
    "messages": _messages_view,
}
_BODIES: Mapping[str, Callable[[Call, Raw], bytes]] = {
    "chat": rewrite,
    "text_completion": rewrite,
    "responses": _with_model,
    "messages": _with_model,
}


def _native(operation: str) -> Wire:
    return Wire(PATH_OF_OPERATION[operation], _BODIES[operation], _VIEWS[operation])


WIRES: Mapping[tuple[str, str], Wire] = {
    **{
        (operation, kind): _native(operation)
        for operation in ("chat", "text_completion", "responses")
        for kind in ("vllm", "openai", "azure")
    },
    **{
        ("messages", kind): Wire(PATH_OF_OPERATION["chat"], _messages_body(kind), _messages_of_chat, _message)
        for kind in ("vllm", "openai", "azure")
    },
    ("messages", "anthropic"): _native("messages"),
    ("chat", "anthropic"): Wire(PATH_OF_OPERATION["messages"], _chat_body, _chat_of_messages, answer_as_chat),
}
