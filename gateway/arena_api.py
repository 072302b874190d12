"""The part of the operator API for people who compare answers; roles voter and operator. Ratings: viewers too."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from msgspec.structs import asdict
from pydantic import BaseModel, ConfigDict, Field

from gateway.arena import Arena
from gateway.core.arena import Verdict
from rollout.api.problems import ProblemRoute
from rollout.core.evidence.bradley_terry import Ratings
from rollout.core.model import NAME_PATTERN

Authorize = Callable[..., Callable[..., Awaitable[str] | str]]
Feature = Annotated[str, Path(pattern=NAME_PATTERN)]
_TICKET_MAX_CHARS = 200
_NO_STORE = "no-store"


class FeaturesView(BaseModel):
    """Features that keep pairs, of those that the key opens."""

    features: list[str]


class MessageView(BaseModel):
    """One turn of the request."""

    role: str
    content: str


class PairView(BaseModel):
    """A pair to vote on; when nothing is left `ticket` is null, and `why` says so.

    What is left and right is drawn for each showing.
    """

    ticket: str | None = None
    messages: list[MessageView] = []
    left: str = ""
    right: str = ""
    why: str = ""


class VoteOrder(BaseModel):
    """A vote on a pair that was shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ticket: Annotated[str, Field(min_length=1, max_length=_TICKET_MAX_CHARS)]
    vote: Verdict


class RatingView(BaseModel):
    """One model against the reference; see `rollout.core.evidence.bradley_terry.Rating`."""

    name: str
    votes: int
    strength: float | None
    lower: float | None
    upper: float | None
    win: float | None
    win_lower: float | None
    win_upper: float | None


class RatingsView(BaseModel):
    """All that people have compared, the best first."""

    feature: str
    reference: str
    voters: int
    votes: int
    ratings: list[RatingView]


class VotedView(BaseModel):
    """What a voter learns after the vote: who answered on which side, and where all stand now."""

    left: str
    right: str
    ratings: RatingsView


def arena_router(arena: Arena, authorize: Authorize) -> APIRouter:
    """Make the router to mount under /api/v1. `authorize`: as for the rollout API."""
    routes = APIRouter(tags=["arena"], route_class=ProblemRoute)
    voter = Annotated[str, Depends(authorize("voter", "operator"))]

    @routes.get("/arena/features")
    async def list_features(request: Request, _: voter) -> FeaturesView:
        opened: frozenset[str] | None = getattr(request.state, "opened", None)
        return FeaturesView(features=[name for name in arena.features() if opened is None or name in opened])

    @routes.get("/features/{feature}/arena/pair")
    async def next_pair(feature: Feature, actor: voter, response: Response) -> PairView:
        response.headers["cache-control"] = _NO_STORE
        shown = await arena.next_pair(feature, actor)
        if shown is None:
            return PairView(why=await arena.why_none(feature, actor))
        messages = [MessageView(**asdict(message)) for message in shown.messages]
        return PairView(ticket=shown.ticket, messages=messages, left=shown.left, right=shown.right)

    @routes.post("/features/{feature}/arena/votes")
    async def vote(feature: Feature, order: VoteOrder, actor: voter) -> VotedView:
        revealed = await arena.vote(feature, actor, order.ticket, order.vote)
        ratings = _view(feature, await arena.ratings(feature))
        return VotedView(left=revealed.left, right=revealed.right, ratings=ratings)

    @routes.get("/features/{feature}/ratings", dependencies=[Depends(authorize("viewer", "operator", "voter"))])
    async def show_ratings(feature: Feature) -> RatingsView:
        return _view(feature, await arena.ratings(feature))

    return routes


def _view(feature: str, found: Ratings) -> RatingsView:
    return RatingsView(
        feature=feature,
        reference=found.reference,
        voters=found.voters,
        votes=found.votes,
        ratings=[RatingView(**each._asdict()) for each in found.ratings],
    )
