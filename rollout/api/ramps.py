"""The ramp's commands over HTTP, as routes of the operator API."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Response

from rollout.api import ramp_views as shapes
from rollout.api import views
from rollout.api.answers import Answers
from rollout.api.conditions import FeatureName, Key, Revision
from rollout.api.views import FeatureView
from rollout.core import ramp_commands as commands
from rollout.core.duration import parse_duration
from rollout.core.once import CommandKey
from rollout.core.ramp_table import Event
from rollout.flag_writer import Done
from rollout.operations import Operations, Step

Authorize = Callable[..., Callable[..., Awaitable[str] | str]]
"""Role names (viewer, operator, approver, admin) -> FastAPI dependency that gives the actor's name or raises.

Of several one is enough.
"""

_PATH = "/features/{feature}/ramp"
_PENDING: dict[int | str, dict[str, Any]] = {
    202: {"model": FeatureView, "description": "The store can't be written: it holds on this replica, and is pending"}
}
_PLAIN: Mapping[Event, tuple[Step, str]] = {
    Event.START: (commands.start, "Begin the ramp"),
    Event.RESUME: (commands.resume, "Go on where the pause began"),
    Event.ADVANCE: (commands.advance, "Go one step on without the rest of its proof"),
    Event.RESTART: (commands.restart, "Begin again after a rollback and its cooldown"),
    Event.COMPLETE: (commands.complete, "End the ramp at its present share"),
    Event.ACK: (commands.ack, "Note that somebody looks after a pause or a rollback"),
    Event.END: (commands.end, "Give the ramp up where it stands"),
}


class _Given(NamedTuple):
    """What a command comes with besides its body."""

    feature: str
    actor: str
    revision: int
    key: CommandKey | None


def add_ramp_routes(routes: APIRouter, operations: Operations, answers: Answers, authorize: Authorize) -> None:
    """Add the ramp's verbs."""
    for event in _PLAIN:
        _add_plain(routes, operations, answers, authorize, event)
    _add_with_arguments(routes, operations, answers, authorize)
    _add_stops(routes, operations, answers, authorize)


def _given(actor_of: Callable[..., Awaitable[str] | str]) -> Callable[..., _Given]:
    def given(feature: FeatureName, actor: Annotated[str, Depends(actor_of)], revision: Revision, key: Key) -> _Given:
        return _Given(feature, actor, revision, key)

    return given


def _add_plain(routes: APIRouter, operations: Operations, answers: Answers, authorize: Authorize, event: Event) -> None:
    step, about = _PLAIN[event]
    by_operator = _given(authorize("operator"))

    @routes.post(f"{_PATH}/{event}", response_model=FeatureView, name=f"{event}_ramp", summary=about)
    async def change(
        because: views.Because, given: Annotated[_Given, Depends(by_operator)], response: Response
    ) -> FeatureView | Response:
        return await answers.done(_work(operations, event, step, because, given), response)


def _add_with_arguments(routes: APIRouter, operations: Operations, answers: Answers, authorize: Authorize) -> None:
    by_operator, by_approver = _given(authorize("operator")), _given(authorize("approver"))

    @routes.post(f"{_PATH}/approve", response_model=FeatureView, summary="Approve a step, as a second person")
    async def approve_step(
        asked: shapes.Approve, given: Annotated[_Given, Depends(by_approver)], response: Response
    ) -> FeatureView | Response:
        step = partial(commands.approve, step=asked.step)
        return await answers.done(_work(operations, Event.APPROVE, step, asked, given), response)

    @routes.post(f"{_PATH}/jump", response_model=FeatureView, summary="Go to a step and stay there paused")
    async def jump_to_step(
        asked: shapes.Jump, given: Annotated[_Given, Depends(by_operator)], response: Response
    ) -> FeatureView | Response:
        step = partial(commands.jump, step=asked.step)
        return await answers.done(_work(operations, Event.JUMP, step, asked, given), response)

    @routes.post(f"{_PATH}/extend", response_model=FeatureView, summary="Give the present step more time")
    async def extend_step(
        asked: shapes.Extend, given: Annotated[_Given, Depends(by_operator)], response: Response
    ) -> FeatureView | Response:
        step = partial(commands.extend, seconds=parse_duration(asked.by))
        return await answers.done(_work(operations, Event.EXTEND, step, asked, given), response)


def _work(operations: Operations, event: Event, step: Step, because: views.Because, given: _Given) -> Awaitable[Done]:
    return operations.ramp(
        event,
        given.feature,
        step,
        expected_revision=given.revision,
        actor=given.actor,
        reason=because.reason,
        key=given.key,
    )


def _add_stops(routes: APIRouter, operations: Operations, answers: Answers, authorize: Authorize) -> None:
    operator = Annotated[str, Depends(authorize("operator"))]
    stops = operations.stops

    @routes.post(f"{_PATH}/pause", responses=_PENDING, summary="Stop the automation")
    async def pause_ramp(
        feature: FeatureName, because: views.Because, actor: operator, key: Key, response: Response
    ) -> FeatureView:
        return await answers.stopped(stops.pause(feature, actor=actor, reason=because.reason, key=key), response)

    @routes.post(f"{_PATH}/rollback", responses=_PENDING, summary="Give the share back")
    async def roll_back_ramp(
        feature: FeatureName, because: views.Because, actor: operator, key: Key, response: Response
    ) -> FeatureView:
        return await answers.stopped(stops.roll_back(feature, actor=actor, reason=because.reason, key=key), response)
