"""Early access over HTTP: operators pass wishes on, approvers decide on those of others."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Response

from rollout.api import ramp_views as shapes
from rollout.api.answers import Answers
from rollout.api.conditions import FeatureName, Key
from rollout.api.views import FeatureView
from rollout.core.enrolment import EnrolmentStep
from rollout.operations import Operations


def add_enrolment_routes(
    routes: APIRouter,
    operations: Operations,
    answers: Answers,
    authorize: Callable[[str], Callable[..., Awaitable[str] | str]],
) -> None:
    """Add the early-access list. `authorize`: as for `rollout.api.router`."""
    operator, approver = (Depends(authorize(role)) for role in ("operator", "approver"))

    @routes.post("/features/{feature}/enrolments", response_model=FeatureView, summary="Ask for early access")
    async def request_enrolment(
        feature: FeatureName, asked: shapes.EarlyAccess, actor: Annotated[str, operator], key: Key, response: Response
    ) -> FeatureView | Response:
        work = operations.enrol(
            feature, EnrolmentStep.REQUEST, asked.tenant, asked.user, actor=actor, reason=asked.reason, key=key
        )
        return await answers.done(work, response)

    @routes.post("/features/{feature}/enrolments/decision", response_model=FeatureView, summary="Decide on a wish")
    async def decide_enrolment(
        feature: FeatureName,
        asked: shapes.EarlyAccessDecision,
        actor: Annotated[str, approver],
        key: Key,
        response: Response,
    ) -> FeatureView | Response:
        step = EnrolmentStep(asked.decision)
        work = operations.enrol(feature, step, asked.tenant, asked.user, actor=actor, reason=asked.reason, key=key)
        return await answers.done(work, response)
