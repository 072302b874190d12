"""What a request's head must be, beyond what the parser sees to: none that two readers may read in two ways.

The parser (llhttp, strict) refuses folded lines, bare CR and LF, control characters, blanks around names, and
contradicting or repeated lengths. Its leniencies are closed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.http.limits import CallerLimits

# Whoever repeats one of these wants one reader to take the first and another the last.
_SINGLE = frozenset(
    b"host content-length transfer-encoding content-type content-encoding expect authorization api-key x-api-key"
    b" x-request-id x-conversation-id traceparent idempotency-key".split()
)
_SINGLE_PREFIXES = (b"x-glidepath-", b"x-stainless-", b"openai-", b"anthropic-")
_VERSIONS = ("1.1", "1.0")
_SCHEMES = (b"http://", b"https://")


def bad_http(message: str) -> ApiError:
    """400 for what is no acceptable HTTP request."""
    return ApiError(400, message, "invalid_request_error", code="bad_http")


def head_too_large(limits: CallerLimits) -> ApiError:
    """431 for the size of a head or the number of its lines."""
    text = f"The request's head is too large: at most {limits.headers_max} headers, {limits.head_max_bytes} bytes."
    return ApiError(431, text, "invalid_request_error", code="head_too_large")


def body_too_large(size_max: int) -> ApiError:
    """413 for a body that is, or says it is, larger than `size_max` bytes."""
    text = f"The request body is larger than {size_max} bytes."
    return ApiError(413, text, "invalid_request_error", code="request_too_large")


def encoded_body() -> ApiError:
    """415 for a compressed body: nothing here would look into it."""
    text = "Compressed request bodies are not accepted: send the body without Content-Encoding."
    return ApiError(415, text, "invalid_request_error", code="unsupported_content_encoding")


def head_size(url: bytes, fields: Mapping[bytes, bytes], repeated: Sequence[tuple[bytes, bytes]]) -> int:
    """Bytes of a head as far as it is known, without separators."""
    return len(url) + sum(map(len, fields)) + sum(map(len, fields.values())) + sum(len(n) + len(v) for n, v in repeated)


def refusal(
    url: bytes,
    version: str,
    fields: Mapping[bytes, bytes],
    repeated: Sequence[tuple[bytes, bytes]],
    limits: CallerLimits,
) -> ApiError | None:
    """Why a head can't be accepted, or None.

    `version`: as "1.1"; `fields`: each header's first line, lower-case names; `repeated`: the further lines.
    """
    if version not in _VERSIONS:
        return ApiError(505, "This server speaks HTTP/1.1.", "invalid_request_error", code="bad_http")
    if len(url) > limits.url_max_bytes:
        text = f"The URL is longer than {limits.url_max_bytes} bytes."
        return ApiError(414, text, "invalid_request_error", code="url_too_long")
    if len(fields) + len(repeated) > limits.headers_max or head_size(url, fields, repeated) > limits.head_max_bytes:
        return head_too_large(limits)
    for name, _ in repeated:
        if name in _SINGLE or name.startswith(_SINGLE_PREFIXES):
            return bad_http(f"The header `{name.decode('ascii')}` came twice.")
    coding = fields.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or version == "1.0"):
        return bad_http("The only Transfer-Encoding accepted is `chunked`, in HTTP/1.1.")
    return bad_http("The header `host` is missing.") if version == "1.1" and b"host" not in fields else None


def origin_form(url: bytes, host: bytes | None) -> bytes | None:
    """The target as path and query; None for what can't be one of ours.

    An absolute target must name the host that the Host header names: two names are two readings.
    """
    if b"#" in url:
        return None
    if url.startswith(b"/"):
        return url
    for scheme in _SCHEMES:
        if url[: len(scheme)].lower() == scheme:
            authority, slash, rest = url[len(scheme) :].partition(b"/")
            return slash + rest if slash and host is not None and authority.lower() == host.lower() else None
    return None


def joined(fields: dict[bytes, bytes], repeated: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """One value per name: the lines of a repeated header are one list (RFC 9110, 5.3)."""
    for name, value in repeated:
        fields[name] += b", " + value
    return fields
