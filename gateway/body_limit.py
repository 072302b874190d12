"""A bound on what the operator's port reads before it knows who asks."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_MAX_BYTES = 262_144
_BOUND_THEMSELVES = ("/documents", "/plan")
"""Ends of paths whose routes look at the key first, and read as much as a document may have (`rollout.api.code`)."""


class BodyTooLong(HTTPException):
    """A body beyond the bound. `hint`: what to do about it, for the problem."""

    hint = "send less; flags as code go to /api/v1/documents"

    def __init__(self, most_bytes: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {most_bytes} bytes")


class BodyLimit:
    """ASGI middleware: 413 for a body that says it is larger, or turns out to be."""

    def __init__(self, app: ASGIApp, most_bytes: int = BODY_MAX_BYTES) -> None:
        self._app, self._most = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or scope["path"].endswith(_BOUND_THEMSELVES):
            await self._app(scope, receive, send)
            return
        said = Headers(scope=scope).get("content-length", "")
        is_too_long, read = said.isdecimal() and int(said) > self._most, 0

        async def counted() -> Message:
            nonlocal read
            message = {} if is_too_long else await receive()
            read += len(message.get("body", b""))
            if is_too_long or read > self._most:
                raise BodyTooLong(self._most)
            return message

        await self._app(scope, counted, send)
