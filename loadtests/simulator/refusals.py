"""Error answers: a refused request in the shape of its endpoint's vendor, and the statuses that faults stand for."""

from email.utils import formatdate
from typing import Any, Final, NamedTuple

import msgspec

from loadtests.simulator.faults import LEAK, ErrorBody, Fault, FaultKind
from loadtests.simulator.reply import Piece, Reply, json_reply
from loadtests.simulator.wire import Api, WireError, error_object

CONTENT_FILTER: Final = "content_filter"


class Words(NamedTuple):
    """What OpenAI says with one error status."""

    message: str
    kind: str
    code: str | None = None


WORDS: Final = {
    400: Words("The request was malformed.", "invalid_request_error"),
    401: Words("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    403: Words("You are not allowed to sample from this model.", "invalid_request_error", "permission_denied"),
    404: Words("The model does not exist or you do not have access to it.", "invalid_request_error", "model_not_found"),
    408: Words("Request timed out.", "timeout"),
    409: Words("The request conflicts with another one.", "conflict"),
    413: Words("The request is too large.", "invalid_request_error", "request_too_large"),
    422: Words("The request was well-formed but could not be followed.", "invalid_request_error"),
    429: Words("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    500: Words("The server had an error while processing your request.", "server_error"),
    502: Words("Bad gateway.", "server_error"),
    503: Words("The engine is currently overloaded, please try again later.", "service_unavailable_error"),
    504: Words("Gateway timed out.", "server_error"),
    529: Words("The service is overloaded.", "overloaded_error"),
}
_OTHER: Final = Words("Something went wrong.", "server_error")
_ANTHROPIC: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def words_of(fault: Fault) -> Words:
    """Return what the error of `fault` says, its secret included if it leaks one."""
    words = WORDS.get(fault.status, _OTHER)
    message = words.message if fault.message is None else fault.message
    return Words(
        f"{message} ({LEAK})" if fault.leak else message, words.kind, words.code if fault.code is None else fault.code
    )


def error_body(api: Api | None, error: WireError) -> dict[str, Any]:
    """Return an error as the endpoint's vendor words it."""
    if api is not Api.MESSAGES:
        return error_object(error.message, error.kind, error.param, error.code)
    kind = _ANTHROPIC.get(error.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}, "request_id": None}


def error_reply(error: WireError, api: Api | None = None) -> Reply:
    """Return the reply to a request that is refused."""
    return json_reply(error_body(api, error), status=error.status, headers=error.headers)


def refusal(fault: Fault, api: Api, unix_s: float) -> Reply | None:
    """Return the error answer a fault stands for, if it stands for one; `unix_s` dates a Retry-After."""
    if fault.kind is FaultKind.CONTEXT_OVERFLOW:
        message = "This model's maximum context length is 8192 tokens. Please reduce the length of the messages."
        return error_reply(WireError(400, message, param="messages", code="context_length_exceeded"), api)
    if fault.kind is FaultKind.CONTENT_REFUSED:
        return json_reply(_azure_refusal(), status=400)
    if fault.kind is FaultKind.REDIRECT:
        status = fault.status if fault.status in range(300, 400) else 307
        return Reply((), status=status, headers=(("location", fault.location),), length=0)
    return _status(fault, api, unix_s) if fault.kind is FaultKind.STATUS else None


def _status(fault: Fault, api: Api, unix_s: float) -> Reply:
    words = words_of(fault)
    headers = _retry_after(fault, unix_s)
    error = WireError(fault.status, words.message, kind=words.kind, code=words.code, headers=headers)
    vendors = error_body(api, error)
    if fault.body is ErrorBody.HTML:
        page = f"<html><head><title>{fault.status}</title></head><body><h1>{words.message}</h1></body></html>\n"
        return _page(page.encode(), "text/html", error)
    if fault.body is ErrorBody.EMPTY:
        return Reply((), status=fault.status, headers=headers, length=0)
    shapes: dict[ErrorBody, object] = {
        ErrorBody.VENDOR: vendors,
        ErrorBody.NESTED: {"error": vendors},
        ErrorBody.DETAIL: {"detail": words.message},
        ErrorBody.STRING: {"error": words.message},
    }
    return _page(msgspec.json.encode(shapes[fault.body]), "application/json", error)


def _page(data: bytes, content_type: str, error: WireError) -> Reply:
    headers = (("content-type", content_type), *error.headers)
    return Reply((Piece(0.0, data),), status=error.status, headers=headers, length=len(data))


def _retry_after(fault: Fault, unix_s: float) -> tuple[tuple[str, str], ...]:
    if fault.retry_after_s is None:
        return ()
    if fault.retry_after_date:
        return (("retry-after", formatdate(unix_s + fault.retry_after_s, usegmt=True)),)
    return (("retry-after", f"{fault.retry_after_s:g}"),)


def _azure_refusal() -> dict[str, Any]:
    """Return what Azure says to a prompt its content filter stops: OpenAI's keys and others, one error in another."""
    spared = {"filtered": False, "severity": "safe"}
    result = {"hate": spared, "jailbreak": {"filtered": False, "detected": False}, "self_harm": spared}
    result |= {"sexual": spared, "violence": {"filtered": True, "severity": "medium"}}
    message = "The response was filtered due to the prompt triggering the content management policy."
    inner = {"code": "ResponsibleAIPolicyViolation", "content_filter_result": result}
    error = {"message": message, "type": None, "param": "prompt", "code": CONTENT_FILTER, "status": 400}
    return {"error": error | {"innererror": inner}}
