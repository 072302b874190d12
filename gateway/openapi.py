"""The relay endpoints in the OpenAPI document: they never reach FastAPI, so they are described by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_REQUEST = {
    "type": "object",
    "required": ["model"],
    "properties": {
        "model": {
            "type": "string",
            "description": "A feature, e.g. copilot/summarize",
            "examples": ["copilot/summarize"],
        },
        "stream": {"type": ["boolean", "null"]},
        "user": {"type": "string"},
        "safety_identifier": {"type": "string"},
        "metadata": {"type": "object"},
    },
    "additionalProperties": True,
}
_ERROR_STATUSES = {
    "400": "The body can't be used",
    "401": "No valid key",
    "403": "The key lacks the right",
    "404": "Unknown feature",
    "413": "The body is too large",
    "429": "Too many requests; see Retry-After",
    "502": "The upstream broke",
    "503": "No upstream; see Retry-After",
    "504": "A deadline passed",
}
RELAY_PATHS = {
    "/v1/chat/completions": "Chat completion",
    "/v1/completions": "Text completion",
    "/v1/responses": "Response",
    "/v1/messages": "Message (Anthropic's wire)",
}


def describe_relay(app: FastAPI) -> None:
    """Make `app.openapi()` include the relay endpoints."""
    own = app.openapi

    def whole() -> dict[str, Any]:
        document = own()
        for path, summary in RELAY_PATHS.items():
            document.setdefault("paths", {}).setdefault(path, {"post": _operation(summary)})
        return document

    app.openapi = whole  # type: ignore[method-assign]


def _operation(summary: str) -> dict[str, Any]:
    errors = {
        status: {"description": text, "content": {"application/json": {"schema": _ERROR}}}
        for status, text in _ERROR_STATUSES.items()
    }
    answer = {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {"schema": {"type": "string"}}}
    return {
        "summary": f"{summary}, as its vendor defines it; relayed untouched to the arm the rollout chooses",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
        "responses": {"200": {"description": "The upstream's answer", "content": answer}, **errors},
    }
