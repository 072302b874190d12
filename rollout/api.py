"""The operator API as a FastAPI router. Who may call what is the mounting application's business: `authorize`."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Response

from rollout import views
from rollout.core.codec import render_document
from rollout.core.errors import InvalidArgument, RevisionConflict, UnknownFeature
from rollout.core.evaluate import explain
from rollout.core.model import NAME_PATTERN, FeatureFlag, Subject
from rollout.follower import Follower
from rollout.operations import Operations
from rollout.ports import Clock, Store
from rollout.problems import PreconditionMissing, ProblemRoute, of_fault

Authorize = Callable[[str], Callable[..., Awaitable[str] | str]]
"""Role name (viewer, operator, approver, admin) -> FastAPI dependency that gives the actor's name or raises."""

FeatureName = Annotated[str, Path(pattern=NAME_PATTERN)]
_ETAG = re.compile(r'"?([0-9]{1,18})"?')
_GREATEST_ID = 2**63 - 1  # what a store's row number can be
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": views.Problem, "content": {"application/problem+json": {}}}
    for status in (401, 403, 404, 409, 412, 422, 428, 503)
}


def router(store: Store, follower: Follower, clock: Clock, authorize: Authorize) -> APIRouter:
    """Make the router to mount under /api/v1."""
    routes = APIRouter(route_class=ProblemRoute, tags=["rollout"], responses=_PROBLEMS)
    operations = Operations(store, follower, clock)
    _add_reads(routes, operations, follower, clock, authorize)
    _add_changes(routes, operations, follower, authorize)
    return routes


def _add_reads(
    routes: APIRouter, operations: Operations, follower: Follower, clock: Clock, authorize: Authorize
) -> None:
    viewer = [Depends(authorize("viewer"))]

    @routes.get("/features", dependencies=viewer)
    async def list_features() -> views.FeatureList:
        read = await operations.read()
        age_s = follower.age_s(clock.now_s())
        error = follower.last_error
        killed = {name: follower.is_killed_locally(name) for name in read.flags}
        return views.FeatureList(
            version=read.version,
            store=read.store,
            age_s=None if age_s == float("inf") else age_s,
            last_error=None if error is None else error.cause,
            features=views.feature_views(read.flags, killed, read.store),
        )

    @routes.get("/features/{feature}", dependencies=viewer)
    async def get_feature(feature: FeatureName, response: Response) -> views.FeatureView:
        read = await operations.read()
        if feature not in read.flags:
            raise UnknownFeature(feature, read.flags)
        flag = read.flags[feature]
        response.headers["ETag"] = _etag(flag)
        return views.feature_view(flag, killed_locally=follower.is_killed_locally(feature), store=read.store)

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
        subject = Subject(asked.conversation, asked.user, asked.tenant, asked.request, asked.attributes)
        return views.explanation_view(explain(snapshot, feature, subject))

    @routes.get("/documents", dependencies=viewer)
    async def documents() -> dict[str, Any]:
        return render_document((await operations.read()).flags)


def _add_changes(routes: APIRouter, operations: Operations, follower: Follower, authorize: Authorize) -> None:
    operator = Annotated[str, Depends(authorize("operator"))]

    @routes.put("/features/{feature}/share", response_model=views.FeatureView)
    async def set_share(
        feature: FeatureName,
        change: views.ShareChange,
        actor: operator,
        response: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> views.FeatureView | Response:
        revision = _revision(if_match)
        try:
            flag = await operations.set_share(
                feature, change.millipct(), expected_revision=revision, actor=actor, reason=change.reason
            )
        except RevisionConflict as fault:
            return _conflict(fault, killed_locally=follower.is_killed_locally(feature))
        response.headers["ETag"] = _etag(flag)
        return views.feature_view(flag, killed_locally=follower.is_killed_locally(feature))

    @routes.post("/features/{feature}/kill")
    async def kill(feature: FeatureName, because: views.Because, actor: operator) -> views.KillAnswer:
        outcome = await operations.kill(feature, actor=actor, reason=because.reason)
        return views.kill_answer(outcome, killed_locally=follower.is_killed_locally(feature))

    @routes.post("/features/{feature}/unkill")
    async def unkill(feature: FeatureName, because: views.Because, actor: operator) -> views.KillAnswer:
        outcome = await operations.unkill(feature, actor=actor, reason=because.reason)
        return views.kill_answer(outcome, killed_locally=follower.is_killed_locally(feature))


def _etag(flag: FeatureFlag) -> str:
    return f'"{flag.revision}"'


def _revision(if_match: str | None) -> int:
    if if_match is None:
        hint = 'read the feature and send its ETag, as in If-Match: "7"'
        raise PreconditionMissing("a change of the share needs the revision it was made for", hint)
    match = _ETAG.fullmatch(if_match.strip())
    if match is None:
        raise InvalidArgument(f"If-Match {if_match!r} is not one revision", 'send a single ETag, as in If-Match: "7"')
    return int(match[1])


def _conflict(fault: RevisionConflict, *, killed_locally: bool) -> Response:
    """Answer 412 with the state now in force, so that the caller can decide anew without another read."""
    if fault.current is None:
        return of_fault(fault)
    current = views.feature_view(fault.current, killed_locally=killed_locally)
    answer = of_fault(fault, current=current.model_dump(mode="json"))
    answer.headers["ETag"] = _etag(fault.current)
    return answer
