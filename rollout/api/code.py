"""Flags as code, plan and doctor: the part of the operator API that reads whole documents and changes flags by them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from rollout.api import code_views as views
from rollout.api.problems import ProblemRoute, of_fault
from rollout.code_operations import ApplyStopped, CodeOperations
from rollout.core.errors import DocumentRefused, InvalidArgument, RevisionConflict
from rollout.core.keys import ROLES
from rollout.core.model import NAME_PATTERN
from rollout.doctor import Patient, examine
from rollout.follower import Follower
from rollout.ports import Clock, Store
from rollout.surroundings import Surroundings

Authorize = Callable[[str], Callable[..., Awaitable[str] | str]]
FeatureName = Annotated[str, Path(pattern=NAME_PATTERN)]
DOCUMENT_MAX_BYTES = 4 * 1024 * 1024
_DOCUMENT: dict[str, Any] = {
    "requestBody": {
        "description": "a flag document as GET /documents gives it, of all or some features",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


def code_router(
    store: Store, follower: Follower, clock: Clock, authorize: Authorize, around: Surroundings
) -> APIRouter:
    """Make the router to mount under /api/v1."""
    routes = APIRouter(route_class=ProblemRoute, tags=["flags as code"])
    operations = CodeOperations(store, follower, clock, around)
    _add_documents(routes, operations, authorize)
    _add_plan(routes, operations, authorize)
    _add_doctor(routes, Patient(store, follower, clock, around), authorize)
    return routes


def _add_documents(routes: APIRouter, operations: CodeOperations, authorize: Authorize) -> None:
    operator = Annotated[str, Depends(authorize("operator"))]

    @routes.put("/documents", response_model=views.AppliedAnswer, openapi_extra=_DOCUMENT)
    async def apply(
        request: Request,
        actor: operator,
        *,
        dry_run: bool = False,
        reason: Annotated[str, Query(max_length=500, description="why, for the audit log")] = "",
        anew: Annotated[bool, Query(description="ramps that are over begin again, with an unchanged plan too")] = False,
    ) -> views.AppliedAnswer | Response:
        document = await _body(request)
        try:
            done = await operations.apply(document, dry_run=dry_run, actor=actor, reason=reason, anew=anew)
        except DocumentRefused as fault:
            return of_fault(fault, faults=fault.faults)
        except RevisionConflict as fault:
            return of_fault(fault, written=())
        except ApplyStopped as stopped:
            return of_fault(stopped.fault, feature=stopped.feature, written=stopped.written)
        return views.applied_answer(done, dry_run=dry_run)


def _add_plan(routes: APIRouter, operations: CodeOperations, authorize: Authorize) -> None:
    viewer = [Depends(authorize("viewer"))]

    @routes.post("/features/{feature}/plan", dependencies=viewer, openapi_extra=_DOCUMENT)
    async def plan(
        feature: FeatureName,
        request: Request,
        units_per_s: Annotated[float | None, Query(gt=0, le=1e9, allow_inf_nan=False)] = None,
    ) -> views.PlanAnswer:
        return views.plan_answer(await operations.plan(feature, await _body(request), units_per_s))


def _add_doctor(routes: APIRouter, patient: Patient, authorize: Authorize) -> None:
    viewer = [Depends(authorize("viewer"))]

    @routes.get("/doctor", dependencies=viewer)
    async def doctor() -> views.DoctorAnswer:
        return views.doctor_answer(await examine(patient))

    for role in ROLES:
        routes.get(f"/roles/{role}", name=f"has_role_{role}")(_has_role(role, authorize))


def _has_role(role: str, authorize: Authorize) -> Callable[..., views.RoleAnswer]:
    """Make the route that tells whether a key has a role: who has it gets an answer."""
    holder = Annotated[str, Depends(authorize(role))]

    def has_role(actor: holder) -> views.RoleAnswer:
        return views.RoleAnswer(role=role, actor=actor)

    return has_role


async def _body(request: Request) -> bytes:
    """Read a document of bounded size."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > DOCUMENT_MAX_BYTES:
            cause = f"the document is longer than {DOCUMENT_MAX_BYTES} bytes"
            raise InvalidArgument(cause, "apply its features in several documents")
        chunks.append(chunk)
    return b"".join(chunks)
