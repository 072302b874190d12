"""Domain errors -> RFC 9457 problems: the only place of the rollout package that joins the two."""

import json
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from rollout.core.errors import (
    ApprovalRequired,
    DocumentRefused,
    IdempotencyKeyUsed,
    InvalidArgument,
    InvalidDocument,
    KeyRefused,
    RampRefused,
    RevisionConflict,
    RolloutError,
    ShareIncreaseRefused,
    StaleWriter,
    StoreReset,
    StoreUnavailable,
    UnknownFeature,
    UnknownKey,
)


class PreconditionMissing(RolloutError):  # noqa: N818  named like the faults in core.errors
    """A change without the revision it was made for."""


_RETRY_AFTER_S = 1
# fault -> status, short name, title
_KINDS: dict[type[RolloutError], tuple[int, str, str]] = {
    InvalidArgument: (422, "invalid-argument", "The request can't be meant"),
    UnknownFeature: (404, "unknown-feature", "There is no such feature"),
    UnknownKey: (404, "unknown-key", "There is no such key"),
    KeyRefused: (409, "key-refused", "The rules of keys forbid it"),
    ShareIncreaseRefused: (409, "share-increase-refused", "The share can't be raised now"),
    RampRefused: (409, "ramp-refused", "The ramp's phase doesn't allow it"),
    ApprovalRequired: (409, "approval-required", "A second person must approve it first"),
    IdempotencyKeyUsed: (409, "idempotency-key-used", "The idempotency key belongs to another command"),
    RevisionConflict: (412, "revision-conflict", "Somebody else changed it first"),
    StoreUnavailable: (503, "store-unavailable", "The store is unavailable"),
    StoreReset: (503, "store-reset", "The store has lost data"),
    StaleWriter: (409, "stale-writer", "Another controller has taken over"),
    PreconditionMissing: (428, "precondition-missing", "If-Match is required"),
    DocumentRefused: (422, "document-refused", "The document can't come into force"),
    InvalidDocument: (503, "invalid-document", "The store holds a damaged document"),
}
_OTHER = (500, "failed", "The command failed")
_SCHEMA = {
    "title": "Problem",
    "description": "An error (RFC 9457) with what to do about it.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "hint"],
    "properties": {name: {"type": "string"} for name in ("type", "title", "detail", "hint")}
    | {"status": {"type": "integer"}},
}


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe these answers as problems, for OpenAPI.

    As a schema: FastAPI would make a model of its own for each status of each route, two thirds of a router's making.
    """
    content = {"application/problem+json": {"schema": _SCHEMA}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


class ProblemRoute(APIRoute):
    """A route whose every error answer is a problem."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's handler, dependencies included."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await inner(request)
            except RolloutError as fault:
                return of_fault(fault)
            except RequestValidationError as fault:
                return _of_validation(fault)
            except HTTPException as fault:
                return _of_refusal(fault)

        return handle


def of_fault(fault: RolloutError, **members: object) -> Response:
    """Make the problem of a domain error, with extra members."""
    status, name, title = _KINDS.get(type(fault), _OTHER)
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if status == 503 else None  # noqa: PLR2004  HTTP's number
    return problem(status, name, title, fault.cause, fault.hint, headers=headers, **members)


def problem(
    status: int,
    name: str,
    title: str,
    detail: str,
    hint: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: object,
) -> Response:
    """Make one problem answer."""
    type_ = f"urn:glidepath:problem:{name}"
    body = {"type": type_, "title": title, "status": status, "detail": detail, "hint": hint, **members}
    return Response(json.dumps(body), status, headers, media_type="application/problem+json")


def _of_refusal(fault: HTTPException) -> Response:
    """Dress what the mounting application's authorization raised; its headers matter (WWW-Authenticate)."""
    title = HTTPStatus(fault.status_code).phrase
    hint = getattr(fault, "hint", "")
    return problem(fault.status_code, "refused", title, str(fault.detail), hint, headers=fault.headers)


def _of_validation(fault: RequestValidationError) -> Response:
    first = fault.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    detail = f"{place}: {first['msg']}"
    return problem(422, "invalid-request", "The request is not valid", detail, "see /openapi.json for its shape")
