"""The store as a whole over HTTP: its audit log, and what to do when it has lost data."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse

from rollout.api.ramp_views import LossAnswer
from rollout.api.views import Because
from rollout.cli.audit_export import export_lines
from rollout.operations import Operations
from rollout.ports import FlagStore

_NDJSON = "application/x-ndjson"
_GREATEST_ID = 2**63 - 1  # what a store's row number can be


def add_store_routes(
    routes: APIRouter,
    operations: Operations,
    store: FlagStore,
    authorize: Callable[[str], Callable[..., Awaitable[str] | str]],
) -> None:
    """Add them. `authorize`: as for `rollout.api.router`."""
    viewer, admin = (Depends(authorize(role)) for role in ("viewer", "admin"))

    @routes.get(
        "/audit",
        dependencies=[viewer],
        summary="The audit log of all features as JSON lines, oldest first",
        response_class=StreamingResponse,
        responses={200: {"content": {_NDJSON: {}}}},
    )
    async def audit(after: Annotated[int, Query(ge=0, le=_GREATEST_ID)] = 0) -> Response:
        lines = export_lines(store, after)
        first = await anext(lines, b"")  # a store that is away is a problem, not an answer that breaks off
        return StreamingResponse(_joined(first, lines), media_type=_NDJSON)

    @routes.post("/store/accept-loss", summary="Have every replica take the store as it is after it lost data")
    async def accept_loss(because: Because, actor: Annotated[str, admin]) -> LossAnswer:
        taken = await operations.accept_loss(actor=actor, reason=because.reason)
        return LossAnswer(accepted=taken is not None, version=None if taken is None else taken.version)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for line in rest:
        yield line
