"""Request bodies of the four endpoints, read into an `Ask`; unknown fields pass."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import msgspec

from loadtests.prompts import Message, last_user_text
from loadtests.simulator.answers import tokenise
from loadtests.simulator.offers import Choice, toolbox_of
from loadtests.simulator.wire import Api, Ask, WireError

Limit = Annotated[int, msgspec.Meta(ge=1)]
Choices = Annotated[int, msgspec.Meta(ge=1, le=8)]
Alternatives = Annotated[int, msgspec.Meta(ge=0, le=20)]
Objects = tuple[dict[str, Any], ...]


class _Part(msgspec.Struct, frozen=True):
    type: str
    text: str = ""
    # What a tool brought back (Anthropic's tool_result), as text or as parts again.
    content: Any = None


class _Message(msgspec.Struct, frozen=True):
    role: str
    content: str | tuple[_Part, ...] | None = None


class _Item(msgspec.Struct, frozen=True):
    """One input item of the Responses API: a message, or what a tool was asked and brought back."""

    type: str = "message"
    role: str = ""
    content: str | tuple[_Part, ...] | None = None
    output: str | tuple[_Part, ...] | None = None


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class _Chat(msgspec.Struct, frozen=True):
    model: str
    messages: Annotated[tuple[_Message, ...], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    n: Choices | None = None
    logprobs: bool | None = None
    top_logprobs: Alternatives | None = None
    tools: Objects | None = None
    tool_choice: Choice = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None


class _Completion(msgspec.Struct, frozen=True):
    model: str
    prompt: str | Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Limit | None = None
    n: Choices | None = None
    logprobs: Alternatives | None = None


class _Response(msgspec.Struct, frozen=True):
    model: str
    input: str | Annotated[tuple[_Item, ...], msgspec.Meta(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Limit | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    tools: Objects | None = None
    tool_choice: Choice = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    metadata: dict[str, str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    safety_identifier: str | None = None


class _Anthropic(msgspec.Struct, frozen=True):
    model: str
    messages: Annotated[tuple[_Message, ...], msgspec.Meta(min_length=1)]
    max_tokens: Limit
    system: str | tuple[_Part, ...] | None = None
    stream: bool | None = None
    tools: Objects | None = None
    tool_choice: Choice = None
    output_config: dict[str, Any] | None = None


_CHAT: Final = msgspec.json.Decoder(_Chat)
_COMPLETION: Final = msgspec.json.Decoder(_Completion)
_RESPONSE: Final = msgspec.json.Decoder(_Response)
_MESSAGES: Final = msgspec.json.Decoder(_Anthropic)
_ECHOED: Final = (
    "instructions", "metadata", "temperature", "text", "tool_choice", "tools", "top_p", "user", "safety_identifier",
    "parallel_tool_calls", "store",
)  # fmt: skip


def parse(api: Api, body: bytes) -> Ask:
    """Read one request body; unknown fields pass. Raises WireError (400) naming the parameter where it can."""
    try:
        return _PARSERS[api](body)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$.")
        raise WireError(400, f"Invalid request: {text}.", param=path.rstrip("`") or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(400, f"We could not parse the JSON body of your request: {error}.") from None


def _parse_chat(body: bytes) -> Ask:
    chat = _CHAT.decode(body)
    messages = _plain(chat.messages)
    last = messages[-1]
    return Ask(
        Api.CHAT,
        chat.model,
        last_user_text(messages),
        _count(messages),
        bool(chat.stream),
        chat.stream_options is not None and chat.stream_options.include_usage,
        chat.max_completion_tokens or chat.max_tokens,
        chat.n or 1,
        (chat.top_logprobs or 0) if chat.logprobs else None,
        _schema(chat.response_format, "json_schema") if chat.response_format else None,
        toolbox_of(Api.CHAT, chat.tools, chat.tool_choice, parallel=chat.parallel_tool_calls),
        last.content if last.role == "tool" else None,
    )


def _parse_completion(body: bytes) -> Ask:
    completion = _COMPLETION.decode(body)
    prompt = completion.prompt if isinstance(completion.prompt, str) else completion.prompt[0]
    return Ask(
        Api.COMPLETIONS,
        completion.model,
        prompt.strip(),
        len(tokenise(prompt)),
        bool(completion.stream),
        completion.stream_options is not None and completion.stream_options.include_usage,
        completion.max_tokens,
        completion.n or 1,
        completion.logprobs,
    )


def _parse_response(body: bytes) -> Ask:
    response = _RESPONSE.decode(body)
    items = (_Item(role="user", content=response.input),) if isinstance(response.input, str) else response.input
    messages = tuple(Message(item.role, _text(item.content)) for item in items)
    stream = bool(response.stream)
    tool_result = _text(items[-1].output) if items[-1].type.endswith("_output") else None
    return Ask(
        Api.RESPONSES,
        response.model,
        last_user_text(messages),
        _count(messages) + len(tokenise(response.instructions or "")) + len(tokenise(tool_result or "")),
        stream,
        stream,
        response.max_output_tokens,
        schema=_schema((response.text or {}).get("format") or {}, None),
        toolbox=toolbox_of(Api.RESPONSES, response.tools, response.tool_choice, parallel=response.parallel_tool_calls),
        tool_result=tool_result,
        previous_id=response.previous_response_id,
        store=response.store is not False,
        echoed={name: value for name in _ECHOED if (value := getattr(response, name)) is not None},
    )


def _parse_messages(body: bytes) -> Ask:
    asked = _MESSAGES.decode(body)
    messages = _plain(asked.messages)
    output = (asked.output_config or {}).get("format")
    stream = bool(asked.stream)
    return Ask(
        Api.MESSAGES,
        asked.model,
        last_user_text(tuple(message for message in messages if message.content)),
        _count(messages) + len(tokenise(_text(asked.system))),
        stream,
        stream,
        asked.max_tokens,
        schema=_schema(output, None) if output else None,
        toolbox=toolbox_of(Api.MESSAGES, asked.tools, asked.tool_choice, parallel=None),
        tool_result=_tool_result(asked.messages[-1]),
    )


def _tool_result(message: _Message) -> str | None:
    parts = message.content if isinstance(message.content, tuple) else ()
    results = [part.content for part in parts if part.type == "tool_result"]
    if not results:
        return None
    content = results[-1]
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _schema(wanted: Mapping[str, Any], inside: str | None) -> Mapping[str, Any] | None:
    """Return the JSON schema of an answer's format: {} for any object, None for plain text."""
    if wanted.get("type") == "json_object":
        return {}
    if wanted.get("type") != "json_schema":
        return None
    found = (wanted.get(inside) if inside else wanted) or {}
    schema = found.get("schema", {}) if isinstance(found, dict) else {}
    return schema if isinstance(schema, dict) else {}


def _plain(messages: tuple[_Message, ...]) -> tuple[Message, ...]:
    return tuple(Message(message.role, _text(message.content)) for message in messages)


def _text(content: str | tuple[_Part, ...] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content or ())


def _count(messages: tuple[Message, ...]) -> int:
    return sum(len(tokenise(message.content)) for message in messages)


_PARSERS: Final[dict[Api, Callable[[bytes], Ask]]] = {
    Api.CHAT: _parse_chat,
    Api.COMPLETIONS: _parse_completion,
    Api.RESPONSES: _parse_response,
    Api.MESSAGES: _parse_messages,
}
