"""The part of the operator API that is about API keys; role admin throughout."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from rollout.api.problems import ProblemRoute, described
from rollout.core.errors import RolloutError
from rollout.keys import views
from rollout.keys.operations import KeyOperations, no_doubt
from rollout.ports import Clock, Store

Authorize = Callable[[str], Callable[..., Awaitable[str] | str]]
KeyId = Annotated[str, Path(max_length=64)]
_GREATEST_ID = 2**63 - 1  # what a store's row number can be
_PROBLEMS = described(401, 403, 404, 409, 422, 503)


def key_router(
    store: Store,
    clock: Clock,
    authorize: Authorize,
    make_key: Callable[[], str],
    changed: Callable[[], Awaitable[object]],
    *,
    fault: Callable[[], RolloutError | None] = no_doubt,
) -> APIRouter:
    """Make the router to mount under /api/v1. `authorize`: as for `rollout.api.router`.

    `make_key` makes up a new key; `changed` is awaited after each change (`KeyFollower.refresh`); `fault` is what keeps
    that from following (`KeyFollower.last_error`).
    """
    routes = APIRouter(route_class=ProblemRoute, tags=["keys"], responses=_PROBLEMS)
    operations = KeyOperations(store, clock, make_key, changed, fault)
    _add_reads(routes, operations, clock, authorize)
    _add_changes(routes, operations, clock, authorize)
    return routes


def _add_reads(routes: APIRouter, operations: KeyOperations, clock: Clock, authorize: Authorize) -> None:
    admin = [Depends(authorize("admin"))]

    @routes.get("/keys", dependencies=admin)
    async def list_keys(*, dead_too: Annotated[bool, Query(alias="all")] = False) -> views.KeyList:
        records = await operations.read(dead_too=dead_too)
        return views.KeyList(keys=[views.key_view(record, clock.now_s()) for record in records])

    @routes.get("/keys/history", dependencies=admin)
    async def history(
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: Annotated[int | None, Query(ge=1, le=_GREATEST_ID)] = None,
    ) -> views.KeyHistory:
        return views.key_history(await operations.history(limit=limit, before_id=before), limit)


def _add_changes(routes: APIRouter, operations: KeyOperations, clock: Clock, authorize: Authorize) -> None:
    admin = Annotated[str, Depends(authorize("admin"))]

    @routes.post("/keys", status_code=201)
    async def create(order: views.KeyOrder, actor: admin, response: Response) -> views.MadeKey:
        made = await operations.create(
            (order.tenant, order.name),
            order.scope(),
            expires_in_s=order.expires_in_s,
            actor=actor,
            reason=order.reason,
        )
        response.headers["Cache-Control"] = "no-store"
        return views.made_key(made, clock.now_s())

    @routes.post("/keys/{key_id}/rotate", status_code=201)
    async def rotate(key_id: KeyId, wanted: views.Rotation, actor: admin, response: Response) -> views.MadeKey:
        made = await operations.rotate(
            key_id,
            overlap_s=wanted.overlap_s,
            expires_in_s=wanted.expires_in_s,
            force=wanted.force,
            actor=actor,
            reason=wanted.reason,
        )
        response.headers["Cache-Control"] = "no-store"
        return views.made_key(made, clock.now_s())

    @routes.post("/keys/{key_id}/revoke")
    async def revoke(key_id: KeyId, wanted: views.Revocation, actor: admin) -> views.KeyView:
        record = await operations.revoke(key_id, force=wanted.force, actor=actor, reason=wanted.reason)
        return views.key_view(record, clock.now_s())
