"""OpenAI requests as the simulator reads them, and its error objects; no sockets, no clock."""

from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from loadtests.prompts import Message, last_user_text
from loadtests.simulator.answers import tokenise

FINGERPRINT: Final = "fp_simulator"

Limit = Annotated[int, msgspec.Meta(ge=1)]


class Api(StrEnum):
    """The completion endpoints, by path."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    RESPONSES = "/v1/responses"


class Ask(NamedTuple):
    """One request, reduced to what decides its answer."""

    api: Api
    model: str
    question: str
    prompt_tokens: int
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None


class WireError(Exception):
    """A request the simulator refuses, as OpenAI would say it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.body = error_object(message, kind, param, code)


def error_object(message: str, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    """Return an error body with all four of OpenAI's keys."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


class _Part(msgspec.Struct, frozen=True):
    type: str
    text: str = ""


class _Message(msgspec.Struct, frozen=True):
    role: str
    content: str | tuple[_Part, ...] | None = None


class _StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool = False


class _Chat(msgspec.Struct, frozen=True):
    model: str
    messages: Annotated[tuple[_Message, ...], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=1)] | None = None


class _Completion(msgspec.Struct, frozen=True):
    model: str
    prompt: str | Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Limit | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=1)] | None = None


class _Response(msgspec.Struct, frozen=True):
    model: str
    input: str | Annotated[tuple[_Message, ...], msgspec.Meta(min_length=1)]
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Limit | None = None


_CHAT: Final = msgspec.json.Decoder(_Chat)
_COMPLETION: Final = msgspec.json.Decoder(_Completion)
_RESPONSE: Final = msgspec.json.Decoder(_Response)


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
    return Ask(
        Api.CHAT,
        chat.model,
        last_user_text(messages),
        _count(messages),
        bool(chat.stream),
        chat.stream_options is not None and chat.stream_options.include_usage,
        chat.max_completion_tokens or chat.max_tokens,
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
    )


def _parse_response(body: bytes) -> Ask:
    response = _RESPONSE.decode(body)
    messages = (Message("user", response.input),) if isinstance(response.input, str) else _plain(response.input)
    system = len(tokenise(response.instructions or ""))
    stream = bool(response.stream)
    tokens = _count(messages) + system
    return Ask(
        Api.RESPONSES, response.model, last_user_text(messages), tokens, stream, stream, response.max_output_tokens
    )


def _plain(messages: tuple[_Message, ...]) -> tuple[Message, ...]:
    return tuple(Message(message.role, _text(message.content)) for message in messages)


def _text(content: str | tuple[_Part, ...] | None) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content or ())


def _count(messages: tuple[Message, ...]) -> int:
    return sum(len(tokenise(message.content)) for message in messages)


_PARSERS: Final = {Api.CHAT: _parse_chat, Api.COMPLETIONS: _parse_completion, Api.RESPONSES: _parse_response}
