"""The operator API as a FastAPI router. Who may call what is the mounting application's business: `authorize`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from rollout.api import views
from rollout.api.answers import Answers
from rollout.api.code import code_router
from rollout.api.conditions import FeatureName, Key, Revision, etag
from rollout.api.costs import CostReads, add_cost_routes
from rollout.api.enrolments import add_enrolment_routes
from rollout.api.feature_reads import FeatureReads
from rollout.api.problems import ProblemRoute, described
from rollout.api.ramps import Authorize, add_ramp_routes
from rollout.api.store import add_store_routes
from rollout.core.codec import render_document
from rollout.core.errors import UnknownFeature
from rollout.core.evaluate import explain
from rollout.follower import Follower
from rollout.operations import Operations, Restore, nothing_else
from rollout.ports import Clock, Store
from rollout.stops import CapacityOf, unknown_capacity
from rollout.surroundings import Surroundings

__all__ = ["Authorize", "router"]

_NOTHING_KNOWN = Surroundings()
_GREATEST_ID = 2**63 - 1  # what a store's row number can be
_PROBLEMS = described(401, 403, 404, 409, 412, 422, 428, 503)


def router(
    store: Store,
    follower: Follower,
    clock: Clock,
    authorize: Authorize,
    capacity: CapacityOf = unknown_capacity,
    *,
    around: Surroundings = _NOTHING_KNOWN,
    restore: Restore = nothing_else,
) -> APIRouter:
    """Make the router to mount under /api/v1.

    `capacity`: what each side bears, for rollbacks that ask. `around`: what else the mounting process knows. `restore`:
    see `Operations`.
    """
    routes = APIRouter(route_class=ProblemRoute, tags=["rollout"], responses=_PROBLEMS)
    operations = Operations(store, follower, clock, capacity, restore)
    reads = FeatureReads(operations, store, follower, clock)
    answers = Answers(reads, follower)
    _add_reads(routes, operations, follower, reads, authorize)
    _add_changes(routes, operations, answers, authorize)
    add_ramp_routes(routes, operations, answers, authorize)
    add_enrolment_routes(routes, operations, answers, authorize)
    add_store_routes(routes, operations, store, authorize)
    add_cost_routes(routes, CostReads(operations, store, clock, around.prices), authorize)
    routes.include_router(code_router(store, follower, clock, authorize, around))
    return routes


def _add_reads(
    routes: APIRouter, operations: Operations, follower: Follower, reads: FeatureReads, authorize: Authorize
) -> None:
    viewer = [Depends(authorize("viewer"))]
    # Who changes a feature must be able to read at which revision it is.
    who_changes_it_too = [Depends(authorize("viewer", "operator", "approver"))]

    @routes.get("/features", dependencies=who_changes_it_too)
    async def list_features() -> views.FeatureList:
        return await reads.list()

    @routes.get("/features/{feature}", dependencies=who_changes_it_too)
    async def get_feature(feature: FeatureName, response: Response) -> views.FeatureView:
        view = await reads.get(feature)
        response.headers["ETag"] = etag(view.revision)
        return view

    @routes.get("/features/{feature}/history", dependencies=viewer)
    async def history(
        feature: FeatureName,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: Annotated[int | None, Query(ge=1, le=_GREATEST_ID)] = None,
    ) -> views.HistoryPage:
        return views.history_page(await operations.history(feature, limit=limit, before_id=before), limit)

    @routes.post("/features/{feature}/explain", dependencies=viewer)
    async def explain_decision(feature: FeatureName, asked: views.Asked) -> views.ExplanationView:
        snapshot = follower.snapshot
        if feature not in snapshot.features:
            raise UnknownFeature(feature, snapshot.features)
        return views.explanation_view(explain(snapshot, feature, asked.subject()))

    @routes.get("/documents", dependencies=viewer)
    async def documents() -> dict[str, Any]:
        return render_document((await operations.read()).flags)


def _add_changes(routes: APIRouter, operations: Operations, answers: Answers, authorize: Authorize) -> None:
    operator = Annotated[str, Depends(authorize("operator"))]

    @routes.put("/features/{feature}/share", response_model=views.FeatureView)
    async def set_share(  # noqa: PLR0917  called by FastAPI, by name
        feature: FeatureName,
        change: views.ShareChange,
        actor: operator,
        revision: Revision,
        key: Key,
        response: Response,
    ) -> views.FeatureView | Response:
        work = operations.set_share(
            feature, change.millipct(), expected_revision=revision, actor=actor, reason=change.reason, key=key
        )
        return await answers.done(work, response)

    @routes.post("/features/{feature}/kill")
    async def kill(
        feature: FeatureName, because: views.Because, actor: operator, key: Key, response: Response
    ) -> views.KillAnswer:
        return await answers.killed(operations.kill(feature, actor=actor, reason=because.reason, key=key), response)

    @routes.post("/features/{feature}/unkill")
    async def unkill(
        feature: FeatureName, because: views.Because, actor: operator, key: Key, response: Response
    ) -> views.KillAnswer:
        return await answers.killed(operations.unkill(feature, actor=actor, reason=because.reason, key=key), response)
