"""Heads on the wire: what goes to an upstream, what comes back to a caller; both are allow-lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from gateway.core.errors import RETRY_AFTER_MAX_S, ApiError
from gateway.core.outcome import CALLER_ERRORS_FROM, REDIRECTS_FROM, SERVER_ERRORS_FROM, Failure, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_TYPE = b"content-type: application/json\r\n"
_TRACE_HEADERS = (b"traceparent", b"tracestate")
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f]")
_SECRET = re.compile(
    r"(?i)(?:bearer\s+)+\S+|[\w+.-]{0,30}://\S*"
    r"|\b(?:sk|pk|gp|gpk|key|api)[-_][A-Za-z0-9_*\-]{6,}|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
    r"|(?<![\w-])(?<![\w-]\.)(?:[\w-]++\.)+[\w-]++:\d{2,5}\b|[^\s:@]{1,64}:[^\s:@]{1,64}@\S+"
)
_REFUSED = (502, "The model's server refused the gateway.", "upstream_auth_failed")
_FAILED = (502, "The model's server failed.", "upstream_error")
_NOT_THE_CALLERS = {
    401: _REFUSED,
    403: _REFUSED,
    404: (502, "The model's server does not know the model.", "upstream_model_missing"),
    405: _REFUSED,
    407: _REFUSED,
    504: (504, "The model's server took too long.", "upstream_timeout"),
}
_PLAIN_WORD = re.compile(r"[a-z][a-z_]{0,63}(?:[.\[][a-z0-9_.\[\]]{0,64})?")
_OVERLOADED = frozenset({503, 529})
_DIGITS_MAX = 10
_NOT_FOUND = 404
_TOO_MANY = 429
_WORDS = {_TOO_MANY: "Too many requests."}
_EMPTY = frozenset({204, 205})


def upstream_head(path: str, host: str, credentials: str) -> bytes:
    """Fixed part of the request head for one endpoint, up to where the per-request lines follow."""
    return (
        f"POST {path} HTTP/1.1\r\nhost: {host}\r\nuser-agent: glidepath\r\naccept-encoding: identity\r\n"
        f"content-type: application/json\r\n{credentials}"
    ).encode("ascii")


def request_lines(
    headers: Mapping[bytes, bytes], request_id: bytes, length: int, traceparent: bytes | None = None
) -> bytes:
    """Rest of the request head. `traceparent`: the gateway's own, instead of the caller's."""
    lines = b"x-request-id: %b\r\ncontent-length: %d\r\n" % (request_id, length)
    if traceparent is not None or b"traceparent" in headers:
        for name in _TRACE_HEADERS:
            value = traceparent if traceparent is not None and name == b"traceparent" else headers.get(name)
            if value is not None and not _UNSAFE.search(value):
                lines += b"%b: %b\r\n" % (name, value)
    return lines + b"\r\n"


def returned_lines(headers: Mapping[bytes, bytes]) -> bytes:
    """Header lines of an upstream's answer that a caller may see."""
    lines = b"content-type: %b\r\n" % headers.get(b"content-type", b"application/json")
    if b"content-encoding" in headers:
        lines += b"content-encoding: %b\r\n" % headers[b"content-encoding"]
    return lines


class _Error(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error | str | None = None
    message: str | None = None
    type: str | None = None
    code: str | int | None = None


_DECODE = msgspec.json.Decoder(_ErrorBody).decode


def upstream_error(status: int, headers: Mapping[bytes, bytes], body: bytes, secrets: tuple[str, ...] = ()) -> ApiError:
    """An upstream's error answer as the caller gets it.

    A 4xx that is the caller's keeps status, code and message; one that is the operator's (key, model name, route) and
    any 5xx become 502, overload 503. `secrets`, whatever looks like one, URLs and addresses are cut out of texts.
    """
    wait_s = retry_after_s(headers)
    if status in _OVERLOADED:
        return unavailable("The model's server is overloaded.", code="upstream_overloaded", retry_after_s=wait_s)
    fixed = _NOT_THE_CALLERS.get(status)
    if fixed is None and not CALLER_ERRORS_FROM <= status < SERVER_ERRORS_FROM:
        fixed = _FAILED
    if fixed is not None:
        return ApiError(fixed[0], fixed[1], "server_error", code=fixed[2])
    error = _read_error(body)
    unsaid = _WORDS.get(status) or f"The model's server refused the request with status {status}."
    text = redact(error.message or unsaid, secrets)
    if status == _TOO_MANY:
        wait_s = 1 if wait_s is None else wait_s
        return ApiError(429, text, "rate_limit_error", code=_code(error, status, secrets), retry_after_s=wait_s)
    kind = redact_word(error.type or "invalid_request_error", secrets)
    param = error.param and redact_word(error.param, secrets)
    return ApiError(status, text, kind, param=param, code=_code(error, status, secrets))


def lost_response(status: int, body: bytes) -> ApiError | None:
    """What a caller is told whose conversation can't go on; None if the answer to it says something else.

    vLLM answers 404 for a response it doesn't have, as for a model.
    """
    if status != _NOT_FOUND or _read_error(body).param == "model":
        return None
    text = "The response that this request continues is not there any more: start anew."
    param, code = "previous_response_id", "previous_response_not_found"
    return ApiError(400, text, "invalid_request_error", param=param, code=code)


def is_answer(status: int, headers: Mapping[bytes, bytes]) -> bool:
    """Whether an API could have sent this: not a redirect, not empty by definition, not a web page."""
    if status in _EMPTY or REDIRECTS_FROM <= status < CALLER_ERRORS_FROM:
        return False
    return status >= CALLER_ERRORS_FROM or headers.get(b"content-type", b"")[:9].lower() != b"text/html"


def broken(failure: Failure, retry_after_s: int | None = None) -> ApiError:
    """An attempt that never became an answer, as the caller gets it."""
    if failure.kind.endswith("timeout"):
        return ApiError(504, "The model's server did not answer in time.", "server_error", code="upstream_timeout")
    if failure.phase is Phase.CONNECT:
        return unavailable(
            "No server for this model can be reached.", code="upstream_unreachable", retry_after_s=retry_after_s
        )
    return ApiError(502, "The connection to the model's server broke.", "server_error", code="upstream_broke")


def unavailable(message: str, *, code: str, retry_after_s: int | None) -> ApiError:
    """503, always with a Retry-After."""
    return ApiError(
        503, message, "server_error", code=code, retry_after_s=1 if retry_after_s is None else retry_after_s
    )


def error_lines(error: ApiError, *, retry_is_useless: bool) -> bytes:
    """Header lines that belong to an error answer."""
    lines = JSON_TYPE
    if error.retry_after_s is not None:
        lines += b"retry-after: %d\r\n" % error.retry_after_s
    if retry_is_useless:
        lines += b"x-should-retry: false\r\n"
    return lines


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """Text of an upstream without keys, URLs and addresses, at most 2 000 characters."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return _SECRET.sub("[redacted]", text[:2000])


def redact_word(text: str, secrets: tuple[str, ...]) -> str:
    """A code or a parameter's name: plain words stay, whatever prefix they have."""
    return text if _PLAIN_WORD.fullmatch(text) and text not in secrets else redact(text, secrets)


def _read_error(body: bytes) -> _Error:
    try:
        parsed = _DECODE(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Error()
    if isinstance(parsed.error, _Error):
        return parsed.error
    return _Error(message=parsed.error or parsed.message, type=parsed.type, code=parsed.code)


def _code(error: _Error, status: int, secrets: tuple[str, ...]) -> str | None:
    """A code that says more than the status; vLLM repeats the status there."""
    if error.code is None or str(error.code) == str(status):
        return None
    return redact_word(str(error.code), secrets)


def retry_after_s(headers: Mapping[bytes, bytes]) -> int | None:
    """Whole seconds of a Retry-After; a date or nonsense counts as absent."""
    value = headers.get(b"retry-after", b"")
    return min(int(value), RETRY_AFTER_MAX_S) if value.isdigit() and len(value) < _DIGITS_MAX else None
