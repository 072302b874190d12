"""What the endpoints have in common: one request reduced to what decides its answer, and a request refused."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from loadtests.simulator.tools import NO_TOOLS, Toolbox

FINGERPRINT: Final = "fp_simulator"


class Api(StrEnum):
    """The completion endpoints, by path."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    RESPONSES = "/v1/responses"
    MESSAGES = "/v1/messages"


class Ask(NamedTuple):
    """One request, reduced to what decides its answer.

    `logprobs` is the number of alternatives asked for each token, None without log probabilities; `schema` is the
    JSON schema the answer must meet ({} for any object); `tool_result` is set when the last turn brings a tool's
    result; `echoed` are fields the answer repeats.
    """

    api: Api
    model: str
    question: str
    prompt_tokens: int
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    choices: int = 1
    logprobs: int | None = None
    schema: Mapping[str, Any] | None = None
    toolbox: Toolbox = NO_TOOLS
    tool_result: str | None = None
    previous_id: str | None = None
    store: bool = False
    echoed: Mapping[str, Any] = {}


class WireError(Exception):
    """A request the simulator refuses; each endpoint words it in its own shape."""

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
        self.message = message
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = headers


def error_object(message: str, kind: str, param: str | None, code: str | None) -> dict[str, Any]:
    """Return an error body with all four of OpenAI's keys."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
