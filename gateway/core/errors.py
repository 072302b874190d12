"""What callers of the data plane see when something is wrong: always OpenAI's error object, all four keys."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

_ENCODE = msgspec.json.Encoder().encode
RETRY_AFTER_MAX_S = 120
_NAME_SHOWN_CHARS = 200


class ApiError(Exception):
    """An answer other than 200: HTTP `status`, the object's four fields, and when to come back (seconds).

    `final`: coming back is useless.
    """

    def __init__(
        self,
        status: int,
        message: str,
        type_: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(message)
        self.final = final
        self.status = status
        self.message = message
        self.type = type_
        self.param = param
        self.code = code
        self.retry_after_s = None if retry_after_s is None else max(0, min(retry_after_s, RETRY_AFTER_MAX_S))


FAULT = ApiError(500, "The gateway failed.", "server_error", code="internal_error")
"""A defect of the gateway itself."""


def render_body(error: ApiError) -> bytes:
    """`{"error":{"message","type","param","code"}}` as JSON."""
    return _ENCODE({"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}})


def nearest(name: str, known: Iterable[str], *, count: int = 3) -> list[str]:
    """Names of `known` that look like `name`, best first."""
    # Comparing a name of megabytes would take seconds.
    return get_close_matches(name[:_NAME_SHOWN_CHARS], list(known), n=count, cutoff=0.5)


def unknown_model(name: str, known: Iterable[str]) -> ApiError:
    """404 as OpenAI words it, with the nearest names."""
    near = nearest(name, known)
    hint = f" Did you mean {', '.join(f'`{n}`' for n in near)}?" if near else ""
    text = f"The model `{name[:_NAME_SHOWN_CHARS]}` does not exist or you do not have access to it.{hint}"
    return ApiError(404, text, "invalid_request_error", param="model", code="model_not_found")


def invalid_key() -> ApiError:
    """401: the same words whether a key is missing, unknown, expired or revoked."""
    text = "Incorrect API key provided. Send a Glidepath key as `Authorization: Bearer <key>`."
    return ApiError(401, text, "invalid_request_error", code="invalid_api_key")


def bad_body(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """400 for a body that can't be used."""
    return ApiError(400, message, "invalid_request_error", param=param, code=code)
